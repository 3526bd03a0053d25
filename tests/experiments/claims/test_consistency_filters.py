"""Bop with other filters than its average: identities with Bop, and a scalar loop of the vote."""

from typing import Any

import numpy as np
import pytest
import torch

from optimizers import METHODS
from optimizers.core import BadHyper
from tests.support.plugins import CLAIMS, plugin
from tests.support.rules import assert_same_signs, random_gradients, random_signs, take_steps
from tests.support.training import Training

PLUGIN = plugin(CLAIMS / "consistency_filters.py")


def run(rule: Any, gradients: Any) -> torch.Tensor:
    weight = random_signs().requires_grad_()
    return take_steps(weight, rule.optimizer([weight]), gradients)


def test_the_last_gradient_is_bop_at_gamma_one() -> None:
    ours = Training(PLUGIN.last_gradient(threshold=1e-3)).trajectory(20)
    assert torch.equal(ours, Training(METHODS["bop"](gamma=1.0, threshold=1e-3)).trajectory(20))
    assert (ours[1:-1] != ours[2:]).any()


def test_without_a_threshold_one_vote_of_one_is_that_too() -> None:
    gradients = random_gradients(steps=100)
    gradients[::7] = 0.0  # no vote
    bop = run(METHODS["bop"](gamma=1.0, threshold=0.0), gradients)
    assert_same_signs(run(PLUGIN.last_gradient(threshold=0.0), gradients), bop)
    assert_same_signs(run(PLUGIN.agreement(window=1, agreeing=1.0), gradients), bop)


def test_the_average_of_signs_equals_a_scalar_loop() -> None:
    gradients = random_gradients()
    gradients[100:110, ::3] = 0.0
    w, m, expected = random_signs().tolist(), [0.0] * gradients.shape[1], []
    for row in gradients.tolist():
        for i, g in enumerate(row):
            m[i] += 0.1 * ((g > 0) - (g < 0) - m[i])
            if w[i] * m[i] > 0.3:
                w[i] = -w[i]
        expected.append(list(w))
    ours = run(PLUGIN.sign_average(gamma=0.1, threshold=0.3), gradients)
    assert_same_signs(ours, expected)
    sizes = np.random.default_rng(1).uniform(0.5, 1.5, gradients.shape)
    assert_same_signs(run(PLUGIN.sign_average(gamma=0.1, threshold=0.3), gradients * sizes), ours)


def vote_loop(signs: list[float], gradients: Any, window: int, needed: int) -> Any:
    w, after = list(signs), []
    for step in range(len(gradients)):
        recent = gradients[max(0, step + 1 - window) : step + 1].tolist()
        for i in range(len(w)):
            if sum(row[i] * w[i] > 0 for row in recent) >= needed:
                w[i] = -w[i]
        after.append(list(w))
    return after


@pytest.mark.parametrize(("window", "agreeing", "needed"), [(5, 0.8, 4), (25, 0.56, 14), (7, 1.0, 7)])
def test_the_vote_equals_a_scalar_loop(window: int, agreeing: float, needed: int) -> None:
    gradients = random_gradients()
    gradients[100:110, ::3] = 0.0
    expected = vote_loop(random_signs().tolist(), gradients, window, needed)
    assert_same_signs(run(PLUGIN.agreement(window=window, agreeing=agreeing), gradients), expected)


def test_impossible_values_are_refused() -> None:
    with pytest.raises(BadHyper, match="window must be >= 1"):
        PLUGIN.agreement(window=0)
    with pytest.raises(BadHyper, match="agreeing must lie in"):
        PLUGIN.agreement(agreeing=1.5)
    with pytest.raises(BadHyper, match="threshold must be >= 0"):
        PLUGIN.last_gradient(threshold=-1.0)
    with pytest.raises(BadHyper, match="threshold must be >= 0"):
        PLUGIN.sign_average(threshold=-1.0)
    with pytest.raises(BadHyper, match="gamma must lie in"):
        PLUGIN.sign_average(gamma=0.0)

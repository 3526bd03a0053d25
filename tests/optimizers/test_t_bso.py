"""T-BSO against a scalar loop, and its exact relations to Bop and Bop2ndOrder."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from optimizers import METHODS
from optimizers.core import BadHyper
from tests.support.rules import (
    assert_same_signs,
    flips_in,
    random_gradients,
    random_signs,
    run,
    start,
    take_steps,
)

SETTINGS = [(0.1, 0.01, 0.0), (0.1, 0.01, 0.3), (0.02, 0.3, 0.05), (1.0, 0.1, 0.8)]  # gamma, sigma, threshold


def loop(gradients: np.ndarray, gamma: float, sigma: float, tau: float) -> list[list[float]]:
    w = random_signs(gradients.shape[1]).tolist()
    m, v, after = [0.0] * len(w), 0.0, []
    for gradient in gradients.tolist():
        v = (1 - sigma) * v + sigma * sum(g * g for g in gradient) / len(gradient)
        for i, g in enumerate(gradient):
            m[i] = (1 - gamma) * m[i] + gamma * g
            if w[i] * m[i] / (math.sqrt(v) + 1e-10) > tau:
                w[i] = -w[i]
        after.append(list(w))
    return after


@pytest.mark.parametrize(("gamma", "sigma", "threshold"), SETTINGS)
def test_equals_a_scalar_loop(gamma: float, sigma: float, threshold: float) -> None:
    gradients = random_gradients()
    found = run("t-bso", gradients, gamma=gamma, sigma=sigma, threshold=threshold)
    assert_same_signs(found, loop(gradients, gamma, sigma, threshold))


@pytest.mark.parametrize("factor", [2.0**-20, 2.0**20])
def test_the_scale_of_a_layers_gradients_has_no_effect(factor: float) -> None:
    gradients = random_gradients()
    settings: dict[str, Any] = dict(gamma=0.1, sigma=0.01, threshold=0.3)
    assert_same_signs(run("t-bso", factor * gradients, **settings), run("t-bso", gradients, **settings))


@pytest.mark.parametrize("sigma", [1e-5, 0.3])
def test_at_threshold_zero_it_is_bop(sigma: float) -> None:
    gradients = random_gradients()
    found = run("t-bso", gradients, gamma=0.05, sigma=sigma, threshold=0.0)
    assert_same_signs(found, run("bop", gradients, gamma=0.05, threshold=0.0))


def test_a_layer_of_one_weight_is_bop_with_a_second_moment() -> None:
    gradients = random_gradients(count=1)
    settings: dict[str, Any] = dict(gamma=0.1, sigma=0.02, threshold=0.2)
    assert_same_signs(run("t-bso", gradients, **settings), run("bop-second-order", gradients, **settings))


def test_with_a_constant_square_it_is_bop_at_a_threshold_in_its_units() -> None:
    """Gradients of size 3, so that v is 9 from the first step on at sigma 1."""
    gradients = 3.0 * np.sign(random_gradients())
    found = run("t-bso", gradients, gamma=0.05, sigma=1.0, threshold=0.1)
    assert_same_signs(found, run("bop", gradients, gamma=0.05, threshold=0.3))


def test_the_order_of_weights_within_a_layer_has_no_effect() -> None:
    gradients, order = random_gradients(), np.random.default_rng(3).permutation(60)
    settings: dict[str, Any] = dict(gamma=0.1, sigma=0.01, threshold=0.3)
    signs = random_signs()
    expected = run("t-bso", gradients, signs, **settings)[:, order]
    assert_same_signs(run("t-bso", gradients[:, order], signs[order], **settings), expected)


def test_each_layer_has_its_own_square() -> None:
    """Gradients of two layers at two scales: each flips as if it were alone."""
    gradients = random_gradients()
    settings: dict[str, Any] = dict(gamma=0.1, sigma=0.01, threshold=0.3)
    expected = run("t-bso", gradients, **settings)
    small, large = (random_signs().requires_grad_() for _ in range(2))
    optimizer = METHODS["t-bso"](**settings).optimizer([small, large])
    for gradient in torch.from_numpy(gradients):
        small.grad, large.grad = 1e-6 * gradient, 1e6 * gradient
        optimizer.step()
    assert torch.equal(small.detach(), expected[-1]) and torch.equal(large.detach(), expected[-1])


def test_the_published_threshold_decides_nothing() -> None:
    """From the first step on, in which half of all weights flip, the signs are those of threshold 0."""
    gradients = random_gradients(steps=1500)
    found = run("t-bso", gradients, gamma=1e-3, sigma=1e-5, threshold=5e-7)
    assert_same_signs(found, run("t-bso", gradients, gamma=1e-3, sigma=1e-5, threshold=0.0))
    assert 0.3 < float((found[0] != random_signs()).double().mean()) < 0.7


def test_a_layer_without_a_gradient_stays() -> None:
    weight, optimizer = start("t-bso", random_signs(), threshold=0.0)
    after = take_steps(weight, optimizer, np.zeros((5, 60)))
    assert flips_in(after) == 0 and torch.equal(after[0], random_signs())


@pytest.mark.parametrize(("name", "value"), [("gamma", 0.0), ("sigma", 1.5), ("threshold", -1.0)])
def test_impossible_values(name: str, value: float) -> None:
    with pytest.raises(BadHyper, match=name):
        METHODS["t-bso"](**{name: value})

"""Momentum within a band: its two ends to the bit, the way between against a scalar loop."""

import math
from typing import Any

import pytest
import torch

from optimizers import METHODS
from optimizers.core import BadHyper
from tests.support.plugins import CLAIMS, plugin
from tests.support.rules import COUNT, assert_same_signs, random_gradients, take_steps
from tests.support.training import Training

BANDED = plugin(CLAIMS / "momentum_band.py").momentum_band


@pytest.mark.parametrize("habits", [{}, {"glorot_rate": True, "weight_decay": 1e-3, "clip": None}])
def test_an_infinite_band_is_momentum(habits: dict[str, Any]) -> None:
    ours = Training(BANDED(lr=0.1, momentum=0.9, band=math.inf, **habits))
    theirs = Training(METHODS["latent-momentum"](lr=0.1, momentum=0.9, **habits))
    assert torch.equal(ours.trajectory(15), theirs.trajectory(15))
    assert all(torch.equal(*pair) for pair in zip(ours.everything(), theirs.everything(), strict=True))


@pytest.mark.parametrize("habits", [{}, {"glorot_rate": True, "weight_decay": 1e-3, "clip": None}])
def test_a_band_of_zero_is_sgd_at_the_effective_rate(habits: dict[str, Any]) -> None:
    ours = Training(BANDED(lr=0.125, momentum=0.875, band=0.0, **habits))
    theirs = Training(METHODS["latent-sgd"](lr=1.0, **habits))
    assert torch.equal(ours.trajectory(15), theirs.trajectory(15))
    assert all(torch.equal(*pair) for pair in zip(ours.stored(), theirs.stored(), strict=True))


def test_on_the_other_side_the_ends_change_places() -> None:
    momentum, sgd = METHODS["latent-momentum"](lr=0.125, momentum=0.875), METHODS["latent-sgd"](lr=1.0)
    for band, theirs in ((0.0, momentum), (math.inf, sgd)):
        ours = BANDED(lr=0.125, momentum=0.875, band=band, side="outside")
        assert torch.equal(Training(ours).trajectory(15), Training(theirs).trajectory(15))


def loop(start: list[float], gradients: Any, lr: float, beta: float, band: float, inside: bool) -> Any:
    w, b, after = list(start), [0.0] * len(start), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            b[i] = beta * b[i] + g
            if (abs(w[i]) < band) == inside:
                w[i] -= lr * b[i]
            else:
                w[i] -= lr / (1 - beta) * b[i]
                b[i] = 0.0
        after.append(list(w))
    return after


@pytest.mark.parametrize("side", ["inside", "outside"])
def test_between_the_ends_it_equals_a_scalar_loop(side: str) -> None:
    gradients, start = random_gradients(), torch.linspace(-0.5, 0.5, COUNT, dtype=torch.float64)
    start[0] = 0.3  # at its edge a weight is outside
    weight = start.clone().requires_grad_()
    rule = BANDED(lr=0.01, momentum=0.8, band=0.3, side=side, clip=None)
    found = take_steps(weight, rule.optimizer([weight]), gradients)
    by_hand = loop(start.tolist(), gradients, 0.01, 0.8, 0.3, side == "inside")
    expected = torch.tensor(by_hand, dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    assert_same_signs(found.sign(), expected.sign())
    assert (expected.abs() < 0.3).any() and (expected.abs() > 0.3).any()


def test_each_gradient_moves_a_weight_by_the_same_amount_in_all() -> None:
    gradients = random_gradients(steps=60)
    gradients[20:] = 0.0  # then all that momentum still holds is paid
    weight = torch.zeros(COUNT, dtype=torch.float64, requires_grad=True)
    rule = BANDED(lr=0.01, momentum=0.3, band=0.02, clip=None)
    after = take_steps(weight, rule.optimizer([weight]), gradients)
    moved = torch.as_tensor(-0.01 / 0.7 * gradients.sum(0))
    torch.testing.assert_close(after[-1], moved, atol=1e-12, rtol=1e-12)


def test_a_negative_band_is_refused() -> None:
    with pytest.raises(BadHyper, match="band must be >= 0"):
        BANDED(band=-1.0)

"""Stochastic rounding against a scalar loop with the same draws, its mean, and its exact limits."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.core import BadHyper
from optimizers.stochastic_rounding import flip_probability, rounded
from suite.experiment.plan import is_latent_free
from suite.training.step import state_tensors
from tests.support.rules import assert_same_signs, random_gradients, random_signs, run

NAMES = ["stochastic-rounding", "stochastic-rounding-adam"]


class Sgd:
    def direction(self, gradient: float) -> float:
        return gradient


class Adam:
    """Kingma and Ba, Algorithm 1, for one number; eps is 1e-6."""

    def __init__(self) -> None:
        self.m, self.v, self.t = 0.0, 0.0, 0

    def direction(self, gradient: float) -> float:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient**2
        return self.m / (1 - 0.9**self.t) / (math.sqrt(self.v / (1 - 0.999**self.t)) + 1e-6)


def loop(
    base: type[Sgd] | type[Adam], gradients: np.ndarray, lr: float, decay: float, kappa: float | None
) -> list[list[float]]:
    """Round to +1 with probability (1 + x)/2; or change the level with probability tanh(kappa |D|/2)."""
    w = random_signs(gradients.shape[1]).tolist()
    bases, after = [base() for _ in w], []
    for step, gradient in enumerate(gradients.tolist()):
        draws = torch.rand(
            len(w), dtype=torch.float64, generator=torch.Generator().manual_seed(step)
        ).tolist()
        for i, g in enumerate(gradient):
            d = lr * bases[i].direction(g) + lr * decay * w[i]
            if kappa is None:
                to_plus = min(max((1 + (w[i] - d)) / 2, 0.0), 1.0)
                flips = draws[i] < (to_plus if w[i] < 0 else 1 - to_plus)
            else:
                flips = w[i] * d > 0 and (abs(d) >= 2 or draws[i] < math.tanh(kappa * abs(d) / 2))
            w[i] = -w[i] if flips else w[i]
        after.append(list(w))
    return after


@pytest.mark.parametrize("kappa", [None, 3.0])
@pytest.mark.parametrize("decay", [0.0, 0.5])
@pytest.mark.parametrize(
    ("name", "base", "lr"), [("stochastic-rounding", Sgd, 0.1), ("stochastic-rounding-adam", Adam, 0.1)]
)
def test_equals_a_scalar_loop(name: str, base: Any, lr: float, decay: float, kappa: float | None) -> None:
    gradients = random_gradients()
    settings: dict[str, Any] = dict(lr=lr, weight_decay=decay, kappa=kappa)
    assert_same_signs(run(name, gradients, **settings), loop(base, gradients, lr, decay, kappa))


def steps(count: int = 400) -> tuple[Tensor, Tensor]:
    """Weights, and steps of all sizes from -3 to 3."""
    weight = torch.where(torch.arange(count) % 2 == 0, 1.0, -1.0).double()
    return weight, torch.linspace(-3.0, 3.0, count, dtype=torch.float64)


def test_the_mean_is_the_clipped_step_of_sgd() -> None:
    weight, step = steps()
    torch.manual_seed(0)
    draws = torch.stack([rounded(weight, step, 1.0, 0.0, None) for _ in range(4000)])
    expected = (weight - step).clamp(-1.0, 1.0)
    assert float((draws.mean(0) - expected).abs().max()) < 5 / math.sqrt(4000)
    certain = expected.abs() == 1.0
    assert bool(certain.any()) and torch.equal(draws[:, certain], expected[certain].expand(4000, -1))


@pytest.mark.parametrize("kappa", [None, 3.0])
def test_a_step_outwards_never_flips_and_one_of_two_inwards_always_does(kappa: float | None) -> None:
    weight, step = steps()
    chance = flip_probability(weight, step, kappa)
    assert bool((chance[weight * step <= 0] == 0).all()) and bool((chance[weight * step >= 2] == 1).all())
    between = (weight * step > 0) & (weight * step < 2)
    assert bool(((chance > 0) & (chance < 1))[between].all())
    assert torch.equal(flip_probability(-weight, -step, kappa), chance)


def test_at_a_large_rate_it_is_bop_without_memory() -> None:
    gradients = random_gradients()
    found = run("stochastic-rounding", gradients, lr=1e9)
    assert_same_signs(found, run("bop", gradients, gamma=1.0, threshold=0.0))


def test_kappa_scales_small_steps_to_third_order() -> None:
    weight = torch.ones(50, dtype=torch.float64)
    step = torch.linspace(0.0, 0.2, 50, dtype=torch.float64)
    off = (flip_probability(weight, step, 3.0) - flip_probability(weight, 3.0 * step, None)).abs()
    assert bool((off <= (3.0 * step / 2.0) ** 3 / 3.0 + 1e-16).all()) and float(off.max()) > 1e-3


def test_a_rate_of_zero_flips_nothing() -> None:
    weight, step = steps()
    assert torch.equal(rounded(weight, step, 0.0, 0.5, 3.0), weight)


def test_decay_flips_at_random_though_nothing_pushes() -> None:
    weight = torch.ones(20_000, dtype=torch.float64)
    torch.manual_seed(0)
    share = float((rounded(weight, torch.zeros_like(weight), 0.2, 0.5, None) < 0).double().mean())
    assert share == pytest.approx(0.2 * 0.5 / 2, abs=0.01)


def test_nothing_but_the_sign_is_kept_under_sgd() -> None:
    assert all(is_latent_free(METHODS[name]()) for name in NAMES)
    weight = random_signs().requires_grad_()
    optimizer = METHODS["stochastic-rounding"]().optimizer([weight])
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    assert state_tensors(optimizer) == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("hyper", "value"), [("lr", 0.0), ("weight_decay", -0.1), ("kappa", 0.0)])
def test_impossible_values(name: str, hyper: str, value: float) -> None:
    with pytest.raises(BadHyper, match=hyper):
        METHODS[name](**{hyper: value})

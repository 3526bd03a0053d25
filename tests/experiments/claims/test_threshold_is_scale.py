"""A higher threshold is a smaller gradient, a second moment a threshold for each weight: where to the bit."""

import math
from typing import Any

import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.bop_second_order import second_order_update
from tests.support.plugins import CLAIMS, plugin
from tests.support.rules import assert_same_signs, random_gradients, random_signs, take_steps
from tests.support.training import Training

PLUGIN = plugin(CLAIMS / "threshold_is_scale.py")


def test_an_eighth_of_the_gradient_is_eight_times_the_threshold() -> None:
    scaled, bop, unscaled = (
        Training(rule).trajectory(25)
        for rule in (
            PLUGIN.scaled_bop(gamma=0.1, threshold=1e-5, gradient_scale=0.125),
            METHODS["bop"](gamma=0.1, threshold=8e-5),
            METHODS["bop"](gamma=0.1, threshold=1e-5),
        )
    )
    assert torch.equal(scaled, bop)
    assert not torch.equal(scaled, unscaled)
    assert (bop[1:-1] != bop[2:]).any()


def test_at_a_scale_of_one_it_is_bop() -> None:
    hypers = {"gamma": 0.1, "threshold": 1e-5}
    ours, theirs = Training(PLUGIN.scaled_bop(**hypers)), Training(METHODS["bop"](**hypers))
    assert [ours.step() for _ in range(10)] == [theirs.step() for _ in range(10)]
    assert all(torch.equal(*pair) for pair in zip(ours.everything(), theirs.everything(), strict=True))


def scaled_loop(signs: list[float], gradients: Any, gamma: float, tau: float, scale: float) -> Any:
    w, m, after = list(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            m[i] = (1 - gamma) * m[i] + gamma * scale * g
            w[i] = -w[i] if w[i] * m[i] > tau else w[i]
        after.append(list(w))
    return after


def weight_threshold_loop(signs: list[float], gradients: Any, gamma: float, sigma: float, tau: float) -> Any:
    w, m, v, after = list(signs), [0.0] * len(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            m[i] = (1 - gamma) * m[i] + gamma * g
            v[i] = (1 - sigma) * v[i] + sigma * g * g
            w[i] = -w[i] if w[i] * m[i] > tau * (math.sqrt(v[i]) + 1e-10) else w[i]
        after.append(list(w))
    return after


def run(rule: Any, gradients: Any) -> Tensor:
    weight = random_signs().requires_grad_()
    return take_steps(weight, rule.optimizer([weight]), gradients)


def test_both_equal_scalar_loops() -> None:
    gradients, signs = random_gradients(), random_signs().tolist()
    found = run(PLUGIN.scaled_bop(gamma=0.1, threshold=0.05, gradient_scale=0.3), gradients)
    assert_same_signs(found, scaled_loop(signs, gradients, 0.1, 0.05, 0.3))
    found = run(PLUGIN.bop_weight_threshold(gamma=0.1, sigma=0.02, threshold=0.1), gradients)
    assert_same_signs(found, weight_threshold_loop(signs, gradients, 0.1, 0.02, 0.1))


def differing(threshold: float) -> int:
    """How many weights the two forms treat differently, of averages within 3 bits of the threshold."""
    square = torch.rand(20_000, generator=torch.Generator().manual_seed(0)) ** 4
    exact = threshold * (square.double().sqrt() + 1e-10)
    average = exact.float()
    differing = 0
    for _ in range(3):  # from the nearest float upwards, then from there downwards
        average = torch.nextafter(average, torch.tensor(math.inf))
    for _ in range(7):
        # Rates of 1 and 0: the average is the gradient, the square stays.
        states = (torch.ones_like(square), torch.zeros_like(square), square, average, 1.0, 0.0, threshold)
        ours, theirs = PLUGIN.weight_threshold_update(*states)[0], second_order_update(*states)[0]
        differing += int((ours != theirs).sum())
        average = torch.nextafter(average, torch.tensor(-math.inf))
    return differing


def test_the_two_forms_agree_for_all_floats_at_a_power_of_two() -> None:
    assert differing(2.0**-20) == differing(1.0) == 0
    assert differing(1e-6) > 0  # in the last bit, as the docstring says


def test_the_two_forms_train_alike() -> None:
    hypers = {"gamma": 0.05, "sigma": 0.01, "threshold": 2.0**-3}
    ours = Training(PLUGIN.bop_weight_threshold(**hypers)).trajectory(25)
    assert torch.equal(ours, Training(METHODS["bop-second-order"](**hypers)).trajectory(25))
    assert (ours[1:-1] != ours[2:]).any()

"""AdaSTE against a scalar loop in the form of its code, its double well, and its exact limits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.adaste import SLOPES, DoubleWell, adaptive_slope, steepness, well
from optimizers.core import BadHyper, WeightRule, sign
from suite.training.step import set_progress
from tests.support.rules import flips_in, random_gradients, random_signs, run

STEPS, COUNT = 400, 60
BETAS = [0.01, 1.0, 10.0, 50.0, 100.0]


def scalar_well(theta: float, beta: float) -> float:
    side = 1.0 if theta >= 0 else -1.0
    return max(-1.0, min(1.0, (theta + beta * 1.01 * side) / (1 + beta)))


def symmetric_slope(theta: float, g: float, beta: float, eps: float) -> float:
    """By the difference quotient over the smallest perturbation that reaches the jump at zero."""
    side = 1.0 if theta >= 0 else -1.0
    binary = beta >= 100
    flat = abs(theta) >= 1 - 0.01 * beta
    if abs(g) <= eps or (g * side < 0 and not flat):
        return 1.0 if binary else 1 / (1 + beta)
    if g * side < 0:
        return 0.0
    beyond = scalar_well(-1e-300 * side, beta)  # just on the other side of the jump
    return max(0.0, min(0.5, abs(scalar_well(theta, beta) - beyond) / abs(theta)))


def released_slope(theta: float, g: float, beta: float, eps: float) -> float:
    """Case by case as in the released code."""
    flat, binary = abs(theta) >= 1 - 0.01 * beta, 0.01 * beta >= 1
    outwards = (g < -eps and theta > 0) or (g > eps and theta < 0)
    if abs(g) <= eps or (outwards and not flat):
        return 1.0 if binary else 1 / (1 + beta)
    if outwards:
        return 0.0
    if flat and binary:
        return min(0.5, 1 / abs(theta))
    if flat:
        return min(0.5, (1 + 2 * beta + 0.01 * beta) / ((1 + beta) * abs(theta)))
    return max(0.0, min(0.5, (2 * beta * 1.01 - theta) / ((1 + beta) * abs(theta))))


SCALAR: dict[str, Callable[[float, float, float, float], float]] = {
    "symmetric": symmetric_slope,
    "released": released_slope,
}


def pairs() -> tuple[Tensor, Tensor]:
    """Stored numbers on both sides of every bound, each with gradients of both signs and of several sizes."""
    theta = torch.cat([torch.linspace(-3, 3, 61), torch.tensor([-40.0, 40.0])]).double()
    theta = theta[theta != 0]
    gradients = torch.tensor([-2.0, -1e-3, -1e-4, 1e-4, 1e-3, 2.0]).double()
    stored, g = torch.meshgrid(theta, gradients, indexing="ij")
    return stored, g


@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize("eps", [0.0, 1e-3])
@pytest.mark.parametrize("beta", BETAS)
def test_the_slope_equals_the_scalar_cases(beta: float, eps: float, slopes: str) -> None:
    theta, g = pairs()
    expected = [
        SCALAR[slopes](t, each, beta, eps)
        for t, each in zip(theta.flatten().tolist(), g.flatten().tolist(), strict=True)
    ]
    assert adaptive_slope(theta, g, beta, eps, slopes).flatten().tolist() == pytest.approx(
        expected, rel=1e-12
    )


@pytest.mark.parametrize("beta", BETAS)
def test_the_weight_is_the_minimum_of_its_double_well(beta: float) -> None:
    grid = torch.linspace(-1.0, 1.0, 200_001, dtype=torch.float64)
    theta = torch.tensor([-3.0, -1.0, -0.5, -0.01, 0.01, 0.3, 0.99, 2.0], dtype=torch.float64)
    found = well(theta, beta)
    for t, w in zip(theta, found, strict=True):
        energy = (grid - t) ** 2 / 2 + beta / 2 * (grid - 1.01 * sign(grid)) ** 2
        assert float(w) == pytest.approx(float(grid[energy.argmin()]), abs=2e-5)
    assert (found.abs() == 1.0).tolist() == (theta.abs() >= 1 - 0.01 * beta).tolist()


def test_only_the_symmetric_slopes_are_symmetric() -> None:
    theta, g = pairs()
    for beta in BETAS:
        one, other = (adaptive_slope(sign * theta, sign * g, beta, 0.0, "symmetric") for sign in (1, -1))
        assert torch.equal(one, other)
    one, other = (adaptive_slope(sign * theta, sign * g, 0.1, 0.0, "released") for sign in (1, -1))
    assert not torch.equal(one, other)


def walk(rule: WeightRule, start: Tensor, gradients: np.ndarray) -> Tensor:
    """The stored numbers after each step of a training whose gradient depends on the weight that is read."""
    theta = start.clone().requires_grad_()
    optimizer, after = rule.optimizer([theta]), []
    assert isinstance(rule.read, DoubleWell)
    for step, noise in enumerate(torch.from_numpy(gradients)):
        set_progress(optimizer, [rule.read], epoch=1, progress=step / len(gradients))
        theta.grad = None
        weight = rule.read(theta)
        ((noise * weight).sum() + 0.15 * weight.square().sum()).backward()
        optimizer.step()
        after.append(theta.detach().clone())
    return torch.stack(after)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize(("lr", "strength", "eps"), [(0.05, 3.0, 0.0), (0.2, 1.0, 0.2), (0.01, 50.0, 0.0)])
def test_equals_a_scalar_loop(lr: float, strength: float, eps: float, slopes: str, momentum: float) -> None:
    gradients = random_gradients(STEPS, COUNT)
    begin = 0.5 * random_signs(COUNT)
    expected = []
    for theta, noises in zip(begin.tolist(), gradients.T.tolist(), strict=True):
        average, path = 0.0, []
        for step, noise in enumerate(noises):
            beta = min(0.01 * math.exp(math.log(1e4) * step / STEPS / 0.5), 100.0)
            g = noise + 0.3 * scalar_well(theta, beta)
            pull = strength * SCALAR[slopes](theta, g, beta, eps) * g + theta
            average = momentum * average + (1 - momentum) * pull
            theta -= lr * average / (1 - momentum ** (step + 1))
            path.append(theta)
        expected.append(path)
    rule = METHODS["adaste"](
        lr=lr, strength=strength, eps=eps, slopes=slopes, momentum=momentum, binary_at=0.5
    )
    found = walk(rule, begin, gradients)
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64).T, rtol=1e-6, atol=1e-9)
    assert flips_in(sign(found)) > COUNT


def test_beta_grows_as_released_and_stays_when_the_weights_are_binary() -> None:
    """Times 1.05 in each of 700 epochs: 1/a after 189."""
    assert [steepness(epoch / 700, 189 / 700) for epoch in (0, 1, 10)] == pytest.approx(
        [0.01, 0.01 * 1.05, 0.01 * 1.05**10], rel=3e-3
    )
    assert steepness(0.27, 0.27) == steepness(0.9, 0.27) == 100.0
    theta = torch.linspace(-3, 3, 100)
    assert torch.equal(well(theta, 100.0), sign(theta))


def test_where_every_gradient_passes_and_weights_are_binary_it_is_bop_at_threshold_zero() -> None:
    """theta <- (1 - lr) theta - lr N² g is Bop's average with gamma = lr that starts at -theta0/N²."""
    gradients, lr, strength = random_gradients(), 0.05, 4.0
    rule = METHODS["adaste"](lr=lr, strength=strength, eps=1e9, momentum=0.0, binary_at=1e-9)
    theta = (2.0 * random_signs()).requires_grad_()
    optimizer, read, after = rule.optimizer([theta]), rule.read, []
    assert isinstance(read, DoubleWell)
    read.progress = 0.5
    average = -theta.detach() / strength
    bop = []
    for gradient in torch.from_numpy(gradients):
        theta.grad = None
        read(theta).backward(gradient)
        optimizer.step()
        after.append(sign(theta.detach()))
        average = torch.lerp(average, gradient, lr)
        bop.append(sign(-average))
    assert torch.equal(torch.stack(after), torch.stack(bop)) and flips_in(torch.stack(after)) > COUNT


def test_a_saturated_weight_that_is_pushed_outwards_moves_by_the_decay_alone() -> None:
    rule = METHODS["adaste"](lr=0.1, momentum=0.0)
    theta = torch.tensor([5.0, -5.0], dtype=torch.float64, requires_grad=True)
    rule.read(theta).backward(torch.tensor([-3.0, 3.0], dtype=torch.float64))
    rule.optimizer([theta]).step()
    assert theta.tolist() == pytest.approx([4.5, -4.5], rel=1e-12)


def test_at_the_published_strength_the_slope_no_longer_adapts() -> None:
    """After one step all weights are saturated, and gradients above eps hardly pass."""
    setting = {name: value for name, value in METHODS["adaste"].presets["cifar10"].items() if name != "lr"}
    rule = METHODS["adaste"](lr=3e-4, **setting)
    torch.manual_seed(0)
    theta = rule.start(torch.randn(500, dtype=torch.float64)).requires_grad_()
    optimizer = rule.optimizer([theta])
    for _ in range(2):
        theta.grad = None
        rule.read(theta).backward(3e-4 * torch.randn(500, dtype=torch.float64))
        optimizer.step()
    assert float(theta.detach().abs().median()) > 1e4
    large = torch.full((500,), 2e-3, dtype=torch.float64)
    assert float(adaptive_slope(theta.detach(), large, 0.01, 1e-3, "released").median()) < 1e-4
    assert float(adaptive_slope(theta.detach(), 0.1 * large, 0.01, 1e-3, "released").min()) == 1 / 1.01


def test_the_signs_are_those_of_latent_sgd_where_nothing_adapts() -> None:
    """With every gradient let through, a sum with decay: latent SGD with weight decay and step lr N²."""
    gradients = random_gradients()
    rule = METHODS["adaste"](lr=0.05, strength=4.0, eps=1e9, momentum=0.0, binary_at=1e-9)
    theta = random_signs().requires_grad_()
    optimizer, read, after = rule.optimizer([theta]), rule.read, []
    assert isinstance(read, DoubleWell)
    read.progress = 0.5
    for gradient in torch.from_numpy(gradients):
        theta.grad = None
        read(theta).backward(gradient)
        optimizer.step()
        after.append(theta.detach().clone())
    latent = run("latent-sgd", gradients, lr=0.2, weight_decay=0.25, clip=None, pseudo_gradient="identity")
    assert torch.equal(sign(torch.stack(after)), sign(latent))


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.0), ("strength", -1.0), ("binary_at", 0.0), ("momentum", 1.0), ("eps", -1e-3), ("slopes", "x")],
)
def test_impossible_values(name: str, value: float | str) -> None:
    with pytest.raises(BadHyper, match=name):
        METHODS["adaste"](**{name: value})

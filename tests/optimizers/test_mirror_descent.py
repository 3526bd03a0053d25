"""Mirror descent and proximal mean-field against scalar loops in the form of their papers."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from optimizers import METHODS
from optimizers.core import BadHyper, Timed, WeightRule, sign
from optimizers.mirror_descent import SharpeningTanh, sharpness
from suite.models.blocks.layers import binary_layers
from suite.training.step import set_progress
from tests.support.training import Training

STEPS, COUNT = 400, 100
PULL = 0.3  # the gradient depends on the weight as read, so a wrong reading changes the result
SETTINGS = [(0.02, 10.0), (0.05, 3.0), (0.005, 50.0)]  # lr, beta_end


def noises(seed: int = 0) -> np.ndarray:
    """Noise around a slow wave with its own phase for each weight: (steps, weights)."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 6, COUNT)
    return np.sin(np.arange(STEPS)[:, None] / 40 + phase) + random.normal(size=(STEPS, COUNT))


def initial() -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(-0.3, 0.3, COUNT))


class ScalarAdam:
    """Adam's step for one number, to be subtracted: lr times m over the root of v, bias corrected."""

    def __init__(self, eps: float = 1e-8) -> None:
        self.m, self.v, self.t, self.eps = 0.0, 0.0, 0, eps

    def step(self, gradient: float) -> float:
        self.t += 1
        self.m = 0.9 * self.m + 0.1 * gradient
        self.v = 0.999 * self.v + 0.001 * gradient * gradient
        return self.m / (1.0 - 0.9**self.t) / (math.sqrt(self.v / (1.0 - 0.999**self.t)) + self.eps)


def run(rule: WeightRule, start: Tensor) -> tuple[Tensor, Tensor]:
    """The stored values after each step and the weights read in it."""
    stored = start.clone().requires_grad_()
    optimizer, after, read = rule.optimizer([stored]), [], []
    timed = [rule.read] if isinstance(rule.read, Timed) else []
    for step, noise in enumerate(torch.from_numpy(noises())):
        set_progress(optimizer, timed, epoch=1, progress=step / STEPS)
        weight = rule.read(stored)
        optimizer.zero_grad()
        ((noise * weight).sum() + PULL / 2.0 * weight.square().sum()).backward()
        optimizer.step()
        read.append(weight.detach().clone())
        after.append(stored.detach().clone())
    return torch.stack(after), torch.stack(read)


Loop = Callable[[float, list[float], float, float], tuple[list[float], list[float]]]


def md_tanh_s(u: float, noise: list[float], lr: float, beta_end: float) -> tuple[list[float], list[float]]:
    adam, stored, read = ScalarAdam(), [], []
    for step, wave in enumerate(noise):
        beta = math.exp(math.log(beta_end) * step / STEPS)
        weight = math.tanh(beta * u)
        u -= lr * adam.step(wave + PULL * weight)
        stored.append(u)
        read.append(weight)
    return stored, read


def md_tanh(u: float, noise: list[float], lr: float, beta_end: float) -> tuple[list[float], list[float]]:
    """In the space of the weight, as in the paper and in the released code."""
    adam, stored, read = ScalarAdam(), [], []
    weight = math.tanh(u)
    for step, wave in enumerate(noise):
        read.append(weight)
        beta = math.exp(math.log(beta_end) * step / STEPS)
        odds = (1.0 + weight) / (1.0 - weight)
        odds *= math.exp(-2.0 * lr * beta * adam.step(wave + PULL * weight))
        weight = (odds - 1.0) / (odds + 1.0)
        stored.append(0.5 * math.log(odds))
    return stored, read


def pmf(u: float, noise: list[float], lr: float, beta_end: float) -> tuple[list[float], list[float]]:
    """With a number for each label, each with its own Adam and weight decay; (a - b)/2 is stored."""
    labels, adams, stored, read = [u, -u], [ScalarAdam(), ScalarAdam()], [], []
    for step, wave in enumerate(noise):
        beta = math.exp(math.log(beta_end) * step / STEPS)
        exponentials = [math.exp(beta * label) for label in labels]
        p, q = (value / sum(exponentials) for value in exponentials)
        weight = p - q
        gradient = wave + PULL * weight
        jacobian = (beta * (p * (1.0 - p) + p * q), beta * (-q * p - q * (1.0 - q)))
        for i in (0, 1):
            labels[i] -= lr * adams[i].step(gradient * jacobian[i] + 1e-4 * labels[i])
        stored.append((labels[0] - labels[1]) / 2.0)
        read.append(weight)
    return stored, read


def md_softmax(u: float, noise: list[float], lr: float, beta_end: float) -> tuple[list[float], list[float]]:
    """MD-softmax over -1 and +1: a share of each label, times the exponential of its own Adam's step."""
    shares, stored = [(1.0 - math.tanh(u)) / 2.0, (1.0 + math.tanh(u)) / 2.0], []
    adams, read = [ScalarAdam(), ScalarAdam()], []
    for step, wave in enumerate(noise):
        beta = math.exp(math.log(beta_end) * step / STEPS)
        weight = shares[1] - shares[0]
        gradient = wave + PULL * weight
        for i, level in enumerate((-1.0, 1.0)):
            shares[i] *= math.exp(-lr * beta * adams[i].step(level * gradient))
        shares = [share / sum(shares) for share in shares]
        stored.append(0.5 * math.log(shares[1] / shares[0]))
        read.append(weight)
    return stored, read


def md_softmax_s(u: float, noise: list[float], lr: float, beta_end: float) -> tuple[list[float], list[float]]:
    """MD-softmax-S over -1 and +1: a number for each label, its gradient straight through the softmax."""
    labels, adams, stored, read = [-u, u], [ScalarAdam(), ScalarAdam()], [], []
    for step, wave in enumerate(noise):
        beta = math.exp(math.log(beta_end) * step / STEPS)
        exponentials = [math.exp(beta * label) for label in labels]
        weight = (exponentials[1] - exponentials[0]) / sum(exponentials)
        gradient = wave + PULL * weight
        for i, level in enumerate((-1.0, 1.0)):
            labels[i] -= lr * adams[i].step(level * gradient)
        stored.append((labels[1] - labels[0]) / 2.0)
        read.append(weight)
    return stored, read


LOOPS: dict[str, Loop] = {"md-tanh-s": md_tanh_s, "md-tanh": md_tanh, "pmf": pmf}


OVER_TWO_LABELS: dict[str, Loop] = {"md-tanh-s": md_softmax_s, "md-tanh": md_softmax}


@pytest.mark.parametrize(
    ("name", "loop"),
    [*LOOPS.items(), *OVER_TWO_LABELS.items()],
    ids=[*LOOPS, "md-tanh-s is md-softmax-s", "md-tanh is md-softmax"],
)
@pytest.mark.parametrize(("lr", "beta_end"), SETTINGS)
def test_equals_the_scalar_loop(name: str, loop: Loop, lr: float, beta_end: float) -> None:
    columns = zip(initial().tolist(), noises().T.tolist(), strict=True)
    loops = [loop(u, noise, lr, beta_end) for u, noise in columns]
    stored, read = (torch.tensor(column, dtype=torch.float64).T for column in zip(*loops, strict=True))
    found_stored, found_read = run(METHODS[name](lr=lr, beta_end=beta_end), initial())
    assert int((sign(found_stored) != sign(stored)).sum()) == 0
    assert torch.allclose(found_stored, stored, rtol=1e-6, atol=1e-9)
    assert torch.allclose(found_read, read, rtol=1e-6, atol=1e-9)
    assert int((sign(stored[1:]) != sign(stored[:-1])).sum()) > COUNT / 2


@pytest.mark.parametrize("beta_end", [1.0, 30.0, 2e4])
def test_beta_grows_from_one_by_the_same_factor_in_every_step(beta_end: float) -> None:
    beta = [sharpness(step / 10, beta_end) for step in range(11)]
    assert (beta[0], beta[-1]) == (1.0, pytest.approx(beta_end))
    growth = [b / a for a, b in itertools.pairwise(beta)]
    assert growth == pytest.approx([growth[0]] * 10)


def test_the_default_ends_of_beta_are_those_of_the_released_schedules() -> None:
    assert METHODS["md-tanh-s"].defaults["beta_end"] == pytest.approx(1.02 ** (100_000 / 200), rel=0.05)
    assert METHODS["md-tanh"].defaults["beta_end"] == pytest.approx(1.01 ** (100_000 / 100), rel=0.05)
    assert METHODS["pmf"].defaults["beta_end"] == min(1.1 ** (100_000 / 1_000), 10_000)


# --- identities ---


def test_with_a_constant_beta_both_forms_of_mirror_descent_are_the_same() -> None:
    one, other = (Training(METHODS[name](beta_end=1.0)) for name in ("md-tanh", "md-tanh-s"))
    expected = one.trajectory(40)
    assert torch.equal(other.trajectory(40), expected)
    assert not torch.equal(expected[0], expected[-1])


def test_with_a_growing_beta_they_are_not() -> None:
    one, other = (Training(METHODS[name]()) for name in ("md-tanh", "md-tanh-s"))
    assert not torch.equal(one.trajectory(40), other.trajectory(40))


@pytest.mark.parametrize("name", ["md-tanh", "md-tanh-s"])
@pytest.mark.parametrize("progress", [0.0, 0.4])
def test_mirror_descent_passes_the_gradient_at_the_weight_unchanged(name: str, progress: float) -> None:
    read = METHODS[name](beta_end=100.0).read
    assert isinstance(read, SharpeningTanh)
    read.progress = progress
    stored = torch.tensor([-3.0, -0.1, 0.0, 0.5], requires_grad=True)
    gradient = torch.tensor([1.0, -2.0, 0.5, 3.0])
    read(stored).backward(gradient)
    assert stored.grad is not None
    assert torch.equal(stored.grad, gradient)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5])
def test_the_gradient_of_pmf_is_the_chain_rule_through_its_tanh(progress: float) -> None:
    read = METHODS["pmf"](beta_end=100.0).read
    assert isinstance(read, SharpeningTanh)
    read.progress = progress
    stored = torch.linspace(-0.4, 0.4, 41, dtype=torch.float64, requires_grad=True)
    gradient = torch.randn(41, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    read(stored).backward(gradient)
    assert stored.grad is not None
    beta = 100.0**progress
    expected = [
        g * beta * (1.0 - math.tanh(beta * u) ** 2)
        for u, g in zip(stored.tolist(), gradient.tolist(), strict=True)
    ]
    assert stored.grad.tolist() == pytest.approx(expected, rel=1e-9)


def test_at_full_saturation_pmf_no_longer_moves_a_weight_but_mirror_descent_does() -> None:
    for name, moves in (("pmf", False), ("md-tanh", True), ("md-tanh-s", True)):
        rule = METHODS[name](**({"weight_decay": 0.0} if name == "pmf" else {}))
        stored = torch.tensor([12.0, -12.0], requires_grad=True)
        optimizer = rule.optimizer([stored])
        rule.read(stored).backward(torch.tensor([1.0, -1.0]))
        optimizer.step()
        assert (stored.tolist() != [12.0, -12.0]) == moves, name


def test_a_weight_returns_from_minus_one_unlike_in_the_released_form_of_md_tanh_in_float32() -> None:
    rule, lr = METHODS["md-tanh"](lr=0.1, beta_end=1.0), 0.1
    dual = torch.tensor([-12.0], requires_grad=True)
    optimizer = rule.optimizer([dual])
    released = np.tanh(np.float32(-12.0))
    assert released == rule.read(dual).item() == -1.0
    for _ in range(200):  # a constant gradient: every step of Adam is lr
        optimizer.zero_grad()
        rule.read(dual).backward(torch.tensor([-1.0]))
        optimizer.step()
        odds = (np.float32(1.0) + released) / (np.float32(1.0) - released + np.float32(1e-20))
        odds = odds * np.exp(np.float32(2.0 * lr))
        released = (odds - np.float32(1.0)) / (odds + np.float32(1.0) + np.float32(1e-20))
    assert released == -1.0
    assert rule.read(dual).item() == pytest.approx(1.0, abs=1e-3)


# --- the optimizers and the rules ---


def test_the_steps_of_md_tanh_grow_with_beta_and_its_learning_rate_does_not_change() -> None:
    dual = torch.zeros(1, requires_grad=True)
    optimizer = METHODS["md-tanh"](lr=1e-3, beta_end=100.0).optimizer([dual])
    moved = []
    for progress in (0.0, 0.5, 1.0):
        set_progress(optimizer, [], epoch=1, progress=progress)
        dual.grad, before = torch.ones(1), dual.item()
        optimizer.step()
        moved.append(before - dual.item())
        assert optimizer.param_groups[0]["lr"] == 1e-3
    assert moved == pytest.approx([1e-3, 1e-2, 1e-1], rel=1e-4)


@pytest.mark.parametrize("name", LOOPS)
def test_at_the_start_weights_are_read_through_a_soft_tanh_and_evaluated_by_their_signs(name: str) -> None:
    rule = METHODS[name]()
    start = rule.start(initial())
    assert torch.equal(start, initial())
    assert torch.allclose(rule.read(start), torch.tanh(initial()))
    assert rule.deploy is sign
    assert rule.read is not METHODS[name]().read  # each training has its own time


def test_at_the_end_the_weight_as_read_is_nearly_the_sign() -> None:
    for name in ("md-tanh-s", "pmf"):
        training = Training(METHODS[name]())
        training.trajectory(99)
        layer = next(layer for _, layer in binary_layers(training.model))
        with torch.no_grad():
            distance = (layer.read(layer.weight) - layer.binary_weight()).abs()
        assert distance.median().item() < 1e-3, name


def test_the_settings_of_adam_are_those_of_the_papers() -> None:
    for name, eps, decay in (("md-tanh-s", 1e-8, 0.0), ("md-tanh", 1e-8, 0.0), ("pmf", 2e-8, 2e-4)):
        optimizer = METHODS[name]().optimizer([torch.zeros(1)])
        assert isinstance(optimizer, Adam)
        (group,) = optimizer.param_groups
        assert (group["lr"], group["betas"], group["eps"]) == (1e-3, (0.9, 0.999), eps)
        assert group["weight_decay"] == decay


@pytest.mark.parametrize("name", LOOPS)
@pytest.mark.parametrize(("hyper", "value"), [("lr", 0.0), ("beta_end", 0.5), ("beta_end", math.nan)])
def test_refuses_impossible_settings(name: str, hyper: str, value: float) -> None:
    with pytest.raises(BadHyper, match=f"{hyper} must .*not {value}") as error:
        METHODS[name](**{hyper: value})
    assert error.value.name == hyper


def test_refuses_a_negative_weight_decay() -> None:
    with pytest.raises(BadHyper, match=r"weight_decay must be >= 0, not -0\.1"):
        METHODS["pmf"](weight_decay=-0.1)

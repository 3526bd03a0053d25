"""Bop against a literal loop of Algorithm 2, and the identities that hold for it exactly."""

import copy
import io
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.bop import Bop, bop_update
from optimizers.core import BadHyper, sign
from suite.experiment.build import apply_schedules
from suite.records.schedules import Linear
from tests.support.training import Training

STEPS, COUNT = 500, 150
SETTINGS = [(0.1, 0.0), (0.1, 0.05), (0.01, 0.005), (0.7, 0.6), (1.0, 0.5)]  # gamma, threshold
SHAPES = [(3,), (1,), (64, 33), (8, 4, 3, 3)]


def random_gradients(*shape: int, seed: int = 0) -> np.ndarray:
    """Noise around a slow wave with its own phase for each weight, so that weights flip and flip back."""
    random = np.random.default_rng(seed)
    steps = np.arange(shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return np.sin(steps / 40 + random.uniform(0, 6, shape[1:])) + random.normal(size=shape)


def random_signs(*shape: int, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).choice([-1.0, 1.0], shape))


def algorithm_2(start: list[float], gradients: np.ndarray, gamma: float, tau: float) -> list[list[float]]:
    """The paper's algorithm, one weight at a time: the weights after each step."""
    w, m, after = list(start), [0.0] * len(start), []
    for gradient in gradients.tolist():
        for i in range(len(w)):
            m[i] = (1 - gamma) * m[i] + gamma * gradient[i]
            if abs(m[i]) > tau and (m[i] > 0) == (w[i] > 0):
                w[i] = -w[i]
        after.append(list(w))
    return after


def run_bop(start: Tensor, gradients: np.ndarray | Tensor, gamma: float, threshold: float) -> Tensor:
    """The weights after each step of the Optimizer class, (steps, weights)."""
    weight = start.clone().requires_grad_()
    optimizer = Bop([weight], gamma, threshold)
    after = []
    for gradient in torch.as_tensor(gradients, dtype=start.dtype):
        weight.grad = gradient
        optimizer.step()
        after.append(weight.detach().clone())
    return torch.stack(after)


def one_step(weight: float, average: float, gradient: float, gamma: float, threshold: float) -> float:
    """The new weight after one step; the pure function and the class must agree."""
    tensor = torch.tensor([weight], requires_grad=True)
    optimizer = Bop([tensor], gamma, threshold)
    optimizer.state[tensor]["average"] = torch.tensor([average])
    tensor.grad = torch.tensor([gradient])
    optimizer.step()
    pure, _ = bop_update(
        torch.tensor([weight]), torch.tensor([average]), torch.tensor([gradient]), gamma, threshold
    )
    assert pure.item() == tensor.item()
    return tensor.item()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(("gamma", "threshold"), SETTINGS)
def test_equals_the_scalar_loop_of_algorithm_2(gamma: float, threshold: float, dtype: torch.dtype) -> None:
    start, gradients = random_signs(COUNT), random_gradients(STEPS, COUNT)
    expected = torch.tensor(algorithm_2(start.tolist(), gradients, gamma, threshold))
    found = run_bop(start.to(dtype), gradients, gamma, threshold)
    assert int((found != expected).sum()) == 0
    flips = int((expected[1:] != expected[:-1]).sum())
    assert flips > COUNT  # otherwise the comparison proves little


@pytest.mark.parametrize(("gamma", "threshold"), SETTINGS)
def test_the_class_equals_the_pure_function_bit_for_bit(gamma: float, threshold: float) -> None:
    pure = [(random_signs(*shape).float(), torch.zeros(shape)) for shape in SHAPES]
    weights = [weight.clone().requires_grad_() for weight, _ in pure]
    weights[-1].data = weights[-1].data.to(memory_format=torch.channels_last)  # as in training
    optimizer = Bop(weights, gamma, threshold)
    for step in range(100):
        gradients = [torch.from_numpy(random_gradients(1, *s, seed=step)[0]).float() for s in SHAPES]
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = gradient
        optimizer.step()
        pure = [bop_update(w, m, g, gamma, threshold) for (w, m), g in zip(pure, gradients, strict=True)]
        for weight, (expected, average) in zip(weights, pure, strict=True):
            assert torch.equal(weight, expected)
            assert torch.equal(optimizer.state[weight]["average"], average)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_tensors_in_blocks_equal_the_pure_function_bit_for_bit(
    dtype: torch.dtype, layout: torch.memory_format, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("optimizers.bop.BLOCK", 1000)  # several blocks, the last one shorter
    random = torch.Generator().manual_seed(0)
    start = sign(torch.randn(19, 11, 3, 5, generator=random, dtype=dtype))
    weight = start.contiguous(memory_format=layout).clone().requires_grad_()
    optimizer, average = Bop([weight], gamma=0.3, threshold=0.2), torch.zeros_like(start)
    for _ in range(30):
        weight.grad = torch.randn(start.shape, generator=random, dtype=dtype)
        optimizer.step()
        start, average = bop_update(start, average, weight.grad, 0.3, 0.2)
        assert torch.equal(weight, start)
        assert torch.equal(optimizer.state[weight]["average"], average)


@pytest.mark.parametrize(("scale", "dtype"), [(2.0**10, torch.float32), (100.0, torch.float64)])
def test_smaller_gradients_are_a_larger_threshold(scale: float, dtype: torch.dtype) -> None:
    start, gradients = random_signs(COUNT).to(dtype), random_gradients(STEPS, COUNT)
    small = run_bop(start, gradients / scale, 0.1, 0.05)
    assert torch.equal(small, run_bop(start, gradients, 0.1, 0.05 * scale))
    assert not torch.equal(small, run_bop(start, gradients, 0.1, 0.05))


def test_a_smaller_loss_is_a_larger_threshold_in_a_whole_training() -> None:
    scale = 2.0**10
    scaled = Training(METHODS["bop"](gamma=0.1, threshold=1e-3 / scale))
    scaled.real.param_groups[0]["eps"] /= scale  # Adam's eps is in units of the gradient too
    plain = Training(METHODS["bop"](gamma=0.1, threshold=1e-3))
    expected = plain.trajectory(60)
    assert torch.equal(scaled.trajectory(60, loss_scale=1.0 / scale), expected)
    assert not torch.equal(expected[0], expected[-1])
    unscaled = Training(METHODS["bop"](gamma=0.1, threshold=1e-3))
    assert not torch.equal(unscaled.trajectory(60, loss_scale=1.0 / scale), expected)


def unnormalised(
    start: np.ndarray, gradients: np.ndarray, gamma: float, threshold: float
) -> list[np.ndarray]:
    """A discounted sum n of gradients in place of the average m = gamma·n, with the threshold over gamma."""
    w, n, after = start, np.zeros_like(start), []
    for gradient in gradients:
        n = (1 - gamma) * n + gradient
        w = np.where(w * n > threshold / gamma, -w, w)
        after.append(w)
    return after


def hysteresis(start: np.ndarray, gradients: np.ndarray, gamma: float, threshold: float) -> list[np.ndarray]:
    """A Schmitt trigger: every strong average sets the weight to the opposite sign, whatever it was."""
    w, m, after = start, np.zeros_like(start), []
    for gradient in gradients:
        m = (1 - gamma) * m + gamma * gradient
        w = np.where(np.abs(m) > threshold, -np.sign(m), w)
        after.append(w)
    return after


@pytest.mark.parametrize("form", [unnormalised, hysteresis])
@pytest.mark.parametrize(("gamma", "threshold"), SETTINGS)
def test_other_forms_of_the_same_rule(form: Callable, gamma: float, threshold: float) -> None:
    start, gradients = random_signs(COUNT), random_gradients(STEPS, COUNT)
    expected = np.stack(form(start.numpy(), gradients, gamma, threshold))
    assert np.array_equal(run_bop(start, gradients, gamma, threshold).numpy(), expected)


@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_at_equality_the_weight_stays(weight: float) -> None:
    at = 0.5 * weight  # gamma·g is the threshold
    above = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0)).item() * weight
    assert one_step(weight, 0.0, at, gamma=0.5, threshold=0.25) == weight
    assert one_step(weight, 0.0, above, gamma=0.5, threshold=0.25) == -weight
    assert one_step(weight, 0.0, -above, gamma=0.5, threshold=0.25) == weight


@pytest.mark.parametrize("threshold", [0.0, -0.0])
@pytest.mark.parametrize("average", [0.0, -0.0])
@pytest.mark.parametrize("gradient", [0.0, -0.0])
@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_a_dead_gradient_flips_nothing_at_threshold_zero(
    weight: float, gradient: float, average: float, threshold: float
) -> None:
    assert one_step(weight, average, gradient, gamma=0.1, threshold=threshold) == weight


@pytest.mark.parametrize("gradient", [1e-45, -1e-45, 1e-39, 3e38])
@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_the_smallest_and_the_largest_averages_count(weight: float, gradient: float) -> None:
    expected = -weight if gradient * weight > 0.0 else weight
    assert one_step(weight, 0.0, gradient, gamma=1.0, threshold=0.0) == expected


def test_a_weight_stays_plus_or_minus_one_whatever_the_gradient() -> None:
    weight = torch.tensor([1.0, -1.0, 1.0, -1.0], requires_grad=True)
    optimizer = Bop([weight])
    weight.grad = torch.tensor([math.nan, math.nan, math.inf, -math.inf])
    optimizer.step()
    assert weight.abs().tolist() == [1.0] * 4
    assert weight.tolist()[2:] == [-1.0, 1.0]  # infinite gradients with the same signs


def test_the_average_starts_at_zero_and_counts_before_the_test() -> None:
    weight = torch.ones(2, requires_grad=True)
    optimizer = Bop([weight], gamma=0.25, threshold=0.5)
    weight.grad = torch.tensor([4.0, 1.0])  # averages 1.0 and 0.25: without gamma, both would flip
    optimizer.step()
    assert weight.tolist() == [-1.0, 1.0]
    assert optimizer.state[weight]["average"].tolist() == [1.0, 0.25]


def test_a_flip_does_not_reset_the_average() -> None:
    weight = torch.ones(1, requires_grad=True)
    optimizer = Bop([weight], gamma=0.25, threshold=0.5)
    seen = []
    for gradient in (4.0, -4.0, -4.0, -4.0):
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        seen.append((weight.item(), optimizer.state[weight]["average"].item()))
    # From 1 the average must fall below -0.5 before the weight flips back; from 0 one step would be enough.
    assert seen == [(-1.0, 1.0), (-1.0, -0.25), (1.0, -1.1875), (1.0, -1.890625)]


@pytest.mark.parametrize(("gamma", "threshold"), [(0.1, 0.05), (0.01, 0.005), (0.3, 0.6), (0.02, 0.02)])
def test_a_flip_lasts_as_long_as_the_threshold_says_whatever_the_gradients(
    gamma: float, threshold: float
) -> None:
    """With gradients of at most G, the next flip of the same weight comes after more than so many steps.

    After a flip w·m < -threshold, and it must exceed the threshold: the distance from G shrinks by at most
    1 - gamma in a step, from more than G + threshold to less than G - threshold.
    """
    gradients = np.clip(random_gradients(STEPS, COUNT), -1.5, 1.5)  # so G is 1.5

    def least(g: float) -> float:
        return math.log((g + threshold) / (g - threshold)) / -math.log1p(-gamma)

    after = run_bop(random_signs(COUNT), gradients, gamma, threshold).numpy()
    gaps = [gap for weight in after.T for gap in np.diff(np.flatnonzero(np.diff(weight)))]
    assert len(gaps) > 100 and min(gaps) > least(1.5)
    # No bound is larger: a gradient of full size against each flip turns the weight back as soon as that.
    start, pushes = torch.ones(1, dtype=torch.float64), []
    weight, average = start, torch.zeros(1, dtype=torch.float64)
    for _ in range(STEPS):
        pushes.append(weight.clone() * 1.5)
        weight, average = bop_update(weight, average, pushes[-1], gamma, threshold)
    turns = np.flatnonzero(np.diff(run_bop(start, torch.stack(pushes), gamma, threshold)[:, 0].numpy()))
    assert least(1.5) < min(np.diff(turns)) <= math.ceil(least(1.5)) + 1


@pytest.mark.parametrize("value", [0.5, 0.0, 2.0, math.nan])
def test_refuses_weights_that_are_not_binary(value: float) -> None:
    with pytest.raises(ValueError, match="weights of -1 and \\+1"):
        Bop([torch.tensor([1.0, -1.0]), torch.tensor([1.0, value])])


@pytest.mark.parametrize("gamma", [0.0, -0.1, 1.5, math.nan])
def test_refuses_a_gamma_outside_its_range(gamma: float) -> None:
    with pytest.raises(ValueError, match="gamma must lie in"):
        Bop([torch.ones(1)], gamma=gamma)


@pytest.mark.parametrize("threshold", [-1e-9, math.nan])
def test_refuses_a_negative_threshold(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold must be"):
        Bop([torch.ones(1)], threshold=threshold)


@pytest.mark.parametrize(("name", "value"), [("gamma", 0.0), ("gamma", 1.5), ("threshold", -1e-9)])
def test_the_method_names_the_impossible_value_with_the_message_of_the_class(name: str, value: float) -> None:
    with pytest.raises(BadHyper) as of_method:
        METHODS["bop"](**{name: value})
    with pytest.raises(ValueError) as of_class:
        Bop([torch.ones(1)], **{name: value})
    assert of_method.value.name == name
    assert str(of_method.value) == str(of_class.value)


def test_a_weight_without_a_gradient_does_not_change() -> None:
    moved, alone = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    optimizer = Bop([alone, moved], gamma=1.0, threshold=0.0)
    moved.grad = torch.ones(3)
    optimizer.step()
    assert (moved.tolist(), alone.tolist()) == ([-1.0] * 3, [1.0] * 3)
    assert alone not in optimizer.state


def test_a_step_without_any_gradient_does_nothing() -> None:
    weight = torch.ones(3, requires_grad=True)
    Bop([weight]).step()
    assert weight.tolist() == [1.0] * 3


def test_a_state_dict_taken_in_mid_training_continues_bit_for_bit() -> None:
    gradients = torch.from_numpy(random_gradients(60, 8, 6)).float()

    def advance(weight: Tensor, optimizer: Bop, part: Tensor) -> None:
        for gradient in part:
            weight.grad = gradient
            optimizer.step()

    weight = random_signs(8, 6).float().requires_grad_()
    optimizer = Bop([weight], gamma=0.1, threshold=0.05)
    advance(weight, optimizer, gradients[:30])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    resumed_weight = copy.deepcopy(weight.detach()).requires_grad_()
    resumed = Bop([resumed_weight], gamma=0.5, threshold=0.5)  # both settings come from the state too
    resumed.load_state_dict(torch.load(file, weights_only=True))
    before = resumed_weight.detach().clone()
    advance(weight, optimizer, gradients[30:])
    advance(resumed_weight, resumed, gradients[30:])
    assert torch.equal(resumed_weight, weight)
    assert torch.equal(resumed.state[resumed_weight]["average"], optimizer.state[weight]["average"])
    assert not torch.equal(resumed_weight, before)


def test_gamma_and_threshold_follow_a_schedule() -> None:
    start, gradients = random_signs(COUNT), random_gradients(100, COUNT)
    weight = start.clone().requires_grad_()
    optimizer = Bop([weight], gamma=0.9, threshold=0.9)
    w, m = start.numpy(), np.zeros(COUNT)
    for step, gradient in enumerate(gradients):
        gamma, threshold = 0.5 - 0.004 * step, 0.1 + 0.002 * step
        schedules = {"gamma": Linear(0.5, 0.1), "threshold": Linear(0.1, 0.3)}
        apply_schedules(optimizer, schedules, step / 100)
        weight.grad = torch.from_numpy(gradient)
        optimizer.step()
        m = (1 - gamma) * m + gamma * gradient
        w = np.where(w * m > threshold, -w, w)
        assert np.array_equal(weight.detach().numpy(), w)

"""The flip controls against scalar loops of the papers' formulas, in whole steps, and exact identities."""

import functools
import io
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.core import WeightRule, sign
from optimizers.core.latent.flip_control import (
    FLIP_CONTROL,
    awakened_gradient,
    dampening_gradient,
    dampening_strength,
    freezing_threshold,
    freezing_update,
    oscillation_update,
    scaled_gradient,
    tracked_flips,
)
from optimizers.core.latent.transforms import TRANSFORMS
from suite.experiment.build import apply_schedules
from suite.models.blocks.layers import binary_layers
from suite.records.schedules import Linear
from suite.training.step import set_progress
from tests.support.training import Training

# Without a state, with torch's own, with ours and a decoupled decay. The contract of the methods tries each
# control in every method: that it changes the training, there and in the groups, and that it resumes.
KINDS = ["latent-sgd", "latent-adam", "latent-lion"]
each_kind = pytest.mark.parametrize("method", KINDS)
ALL: dict[str, Any] = dict(ags=0.02, sad=1e-2, dampen=1e-2, freeze=0.03)
OWN_STATE = {"tracker", "oscillations", "has_flipped", "sign_average", "frozen"}
OUTPUTS, INPUTS, STEPS = 4, 25, 400


def gradients_around_a_wave() -> np.ndarray:
    """(steps, outputs, inputs): noise around waves, so that weights flip at many rates; one row is tiny."""
    random = np.random.default_rng(0)
    phase = random.uniform(0, 6, (1, OUTPUTS, INPUTS))
    wave = np.sin(np.arange(STEPS).reshape(-1, 1, 1) / 15 + phase)
    sizes = np.array([1.0, 0.3, 1e-3, 1e-8]).reshape(1, OUTPUTS, 1)
    return sizes * (wave + random.normal(size=(STEPS, OUTPUTS, INPUTS)))


def latents_after_each_step(
    rule: WeightRule, start: Tensor, gradients: np.ndarray
) -> tuple[np.ndarray, dict]:
    """(steps, outputs, inputs), and the state at the end; progress grows as in a training."""
    weight = start.clone().requires_grad_()
    optimizer = rule.optimizer([weight])
    path = []
    for step, gradient in enumerate(gradients):
        set_progress(optimizer, [], epoch=1, progress=step / len(gradients))
        weight.grad = torch.from_numpy(gradient.copy())
        optimizer.step()
        path.append(weight.detach().clone().numpy())
    return np.stack(path), optimizer.state[weight]


def scalar_sgd(
    start: list[list[float]],
    gradients: np.ndarray,
    lr: float,
    ags: float | None = None,
    sad: float | None = None,
    dampen: float | None = None,
    freeze: float | None = None,
) -> tuple[np.ndarray, int, int]:
    """Plain SGD with the controls, one weight at a time: the path, the number of flips, of frozen weights."""
    w = [list(row) for row in start]
    rows, columns = range(len(w)), range(len(w[0]))
    tracker, f, flipped_before, frozen = ([[0.0 for _ in columns] for _ in rows] for _ in range(4))
    average: list[list[float]] = [[math.nan for _ in columns] for _ in rows]
    path, flips = [], 0
    for step, gradient in enumerate(gradients.tolist()):
        wave = (1 - math.cos(math.pi * (step / len(gradients) - 0.25) / 0.75)) / 2
        begun = step >= len(gradients) / 4
        for i in rows:
            g = gradient[i]
            if dampen is not None:
                strength = dampen * wave / len(w[i]) if begun else 0.0
                clipped = [max(-1.0, min(1.0, value)) for value in w[i]]
                target = [1.0 if value >= 0 else -1.0 for value in w[i]]
                g = [g[j] - 2 * strength * (target[j] - clipped[j]) for j in columns]
            if ags is not None:
                norm = max(1e-6, math.sqrt(sum(value * value for value in g)))
                of_weights = max(1e-3, math.sqrt(sum(value * value for value in w[i])))
                if norm / of_weights < ags:
                    g = [value * ags * of_weights / norm for value in g]
            for j in columns:
                before = w[i][j]
                total = g[j] + (sad * before if sad is not None and tracker[i][j] < 1e-4 else 0.0)
                if not frozen[i][j]:
                    w[i][j] = before - lr * total
                flip = (w[i][j] >= 0) != (before >= 0)
                flips += flip
                tracker[i][j] = 0.999 * tracker[i][j] + 0.001 * flip
                if freeze is not None:
                    threshold = freeze - (freeze - freeze / 10) * wave if begun else 1.0
                    now = 1.0 if w[i][j] >= 0 else -1.0
                    f[i][j] = 0.999 * f[i][j] + (0.001 if flip and flipped_before[i][j] else 0.0)
                    flipped_before[i][j] = max(flipped_before[i][j], float(flip))
                    if begun and math.isnan(average[i][j]):
                        average[i][j] = now  # the released code starts it with the annealed threshold
                    if not frozen[i][j] and f[i][j] > threshold:
                        frozen[i][j] = 1.0
                        w[i][j] = abs(w[i][j]) * (1 if average[i][j] >= 0 else -1)
                    average[i][j] = 0.999 * average[i][j] + 0.001 * now
        path.append([list(row) for row in w])
    return np.array(path), flips, int(sum(map(sum, frozen)))


@pytest.mark.parametrize(
    "controls",
    [
        {"ags": 0.3},
        {"sad": 0.5},
        {"dampen": 12.0},
        {"freeze": 0.006},
        {"freeze": 0.006, "dampen": 5.0},
        {"ags": 0.3, "sad": 0.5, "dampen": 7.0, "freeze": 0.006},
    ],
    ids=str,
)
def test_a_whole_step_equals_the_scalar_loop(controls: dict[str, Any]) -> None:
    gradients = gradients_around_a_wave()
    start = torch.from_numpy(np.random.default_rng(1).uniform(-0.2, 0.2, (OUTPUTS, INPUTS)))
    rule = METHODS["latent-sgd"](lr=0.03, clip=None, **controls)
    found, _ = latents_after_each_step(rule, start, gradients)
    expected, flips, frozen = scalar_sgd(start.tolist(), gradients, 0.03, **controls)
    assert int(((found >= 0) != (expected >= 0)).sum()) == 0
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-11)
    assert flips > 100
    assert frozen > 10 if "freeze" in controls else frozen == 0
    plain, *_ = scalar_sgd(start.tolist(), gradients, 0.03)
    assert int(((plain >= 0) != (expected >= 0)).sum()) > 100  # the controls have an effect


# --- each control by itself ---


def test_the_dampening_gradient_is_the_derivative_of_its_penalty() -> None:
    weight = torch.tensor([[-1.7, -1.0, -0.6, -0.01], [0.01, 0.4, 1.0, 2.5]], dtype=torch.float64)

    def penalty(w: np.ndarray) -> np.ndarray:  # each weight's part in the mean over its output's four
        return 0.3 / 4 * (np.where(w < 0, -1.0, 1.0) - np.clip(w, -1, 1)) ** 2

    w = weight.numpy()
    numerical = (penalty(w + 1e-6) - penalty(w - 1e-6)) / 2e-6
    np.testing.assert_allclose(dampening_gradient(weight, 0.3).numpy(), numerical, atol=1e-6)
    assert dampening_gradient(torch.zeros(1, 1), 0.5).item() == -1.0  # the sign of zero is +1


def test_the_schedules_of_dampening_and_freezing() -> None:
    at = (0.0, 0.25, 0.625, 1.0)
    assert [dampening_strength(0.4, p) for p in at] == pytest.approx([0.0, 0.0, 0.2, 0.4])
    assert 0.0 < dampening_strength(0.4, 0.4375) < 0.1  # slowly at first
    assert [freezing_threshold(0.1, p) for p in at] == pytest.approx([math.inf, 0.1, 0.055, 0.01])
    assert freezing_threshold(0.1, 0.4375) > 0.0775


@pytest.mark.parametrize("shape", [(50, 8), (50, 2, 2, 2)])
def test_ags_bounds_the_ratio_from_below_and_does_not_change_large_gradients(shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    weight = torch.randn(shape, generator=random, dtype=torch.float64)
    sizes = 10.0 ** torch.linspace(-5, 1, 50, dtype=torch.float64).reshape(-1, *[1] * (len(shape) - 1))
    gradient = sizes * torch.randn(shape, generator=random, dtype=torch.float64)
    scaled = scaled_gradient(gradient, weight, 0.05)
    before = gradient.flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1)
    after = scaled.flatten(1).norm(dim=1) / weight.flatten(1).norm(dim=1)
    small = before < 0.05
    assert 5 < int(small.sum()) < 45
    torch.testing.assert_close(after[small], torch.full_like(after[small], 0.05))
    assert torch.equal(scaled[~small], gradient[~small])
    directions = torch.nn.functional.cosine_similarity(scaled.flatten(1), gradient.flatten(1))
    torch.testing.assert_close(directions, torch.ones_like(directions))


def test_ags_at_its_edges() -> None:
    at = torch.tensor([[0.5, 0.0]])
    assert torch.equal(
        scaled_gradient(at, torch.tensor([[0.0, 1.0]]), 0.5), at
    )  # the ratio is delta: no change
    dead = torch.zeros(1, 2)
    assert torch.equal(scaled_gradient(dead, torch.ones(1, 2), 0.5), dead)
    # Norms count as 1e-6 and 1e-3 at least: this gradient is raised by 0.1 * 1 / 1e-6 alone.
    tiny = scaled_gradient(torch.tensor([[1e-9, 0.0]]), torch.tensor([[1.0, 0.0]]), 0.1)
    assert tiny[0, 0].item() == pytest.approx(1e-9 * 0.1 / 1e-6)
    small = scaled_gradient(torch.tensor([[1e-5, 0.0]]), torch.tensor([[1e-5, 0.0]]), 0.1)
    assert small[0, 0].item() == pytest.approx(0.1 * 1e-3)


def test_sad_acts_on_weights_whose_tracker_is_below_its_threshold() -> None:
    tracker = torch.tensor([0.0, 0.99e-4, 1e-4, 0.5])
    weight, gradient = torch.tensor([2.0, -2.0, 2.0, 2.0]), torch.full((4,), 0.25)
    assert awakened_gradient(gradient, weight, tracker, 0.5).tolist() == [1.25, -0.75, 0.25, 0.25]


def test_the_tracker_of_one_flip_falls_silent_after_2302_steps() -> None:
    tracker = tracked_flips(torch.zeros(1, dtype=torch.float64), torch.tensor([True]))
    assert tracker.item() == pytest.approx(0.001)
    steps = 0
    while tracker.item() >= 1e-4:
        tracker = tracked_flips(tracker, torch.tensor([False]))
        steps += 1
    assert steps == math.ceil(math.log(0.1) / math.log(0.999))


def one_step_of_counting(**changes: float) -> list[float]:
    """A weight that flips for the second time, with f = 0.5 so far."""
    values = dict(oscillations=0.5, has_flipped=1.0, flipped=1.0) | changes
    f, before, flipped = (torch.tensor([value], dtype=torch.float64) for value in values.values())
    return [tensor.item() for tensor in oscillation_update(f, before, flipped > 0)]


def test_a_step_of_counting_oscillations() -> None:
    assert one_step_of_counting() == pytest.approx([0.5005, 1.0])
    assert one_step_of_counting(flipped=0.0) == pytest.approx([0.4995, 1.0])
    assert one_step_of_counting(has_flipped=0.0) == pytest.approx([0.4995, 1.0])
    assert one_step_of_counting(has_flipped=0.0, flipped=0.0)[1] == 0.0


def one_step_of_freezing(**changes: float) -> list[float]:
    """A weight that is now -1, with f = 0.5, at threshold 0.4."""
    values = dict(average=-0.5, frozen=0.0, oscillations=0.5, signs=-1.0) | changes
    tensors = [torch.tensor([value], dtype=torch.float64) for value in values.values()]
    return [tensor.item() for tensor in freezing_update(*tensors, threshold=0.4)]


def test_a_step_of_freezing() -> None:
    assert one_step_of_freezing() == pytest.approx([-0.5005, -1.0])
    assert one_step_of_freezing(signs=1.0)[0] == pytest.approx(-0.4985)
    # The sign of this step moves the average below zero, but too late to count.
    assert one_step_of_freezing(average=0.0005)[1] == 1.0
    assert one_step_of_freezing(average=0.0)[1] == 1.0
    assert one_step_of_freezing(oscillations=0.1)[1] == 0.0
    assert one_step_of_freezing(oscillations=0.4)[1] == 0.0  # f is the threshold: the weight is free
    assert one_step_of_freezing(frozen=1.0)[1] == 1.0  # forever, whatever the average becomes
    assert one_step_of_freezing(frozen=1.0, oscillations=0.0)[1] == 1.0


def test_the_average_sign_starts_with_the_threshold_after_a_quarter_of_the_training() -> None:
    """A weight that starts at +1 and is -1 when the threshold comes is frozen at -1 at once."""
    weight = torch.tensor([[0.5]], requires_grad=True)
    optimizer = METHODS["latent-sgd"](lr=1.0, clip=None, freeze=1e-3).optimizer([weight])
    for step, gradient in enumerate([1.0, -1.0, 1.0]):  # to -0.5, 0.5, -0.5
        set_progress(optimizer, [], epoch=1, progress=0.05 * step)
        weight.grad = torch.tensor([[gradient]])
        optimizer.step()
    assert "sign_average" not in optimizer.state[weight]
    set_progress(optimizer, [], epoch=1, progress=0.25)
    weight.grad = torch.zeros(1, 1)
    optimizer.step()
    state = optimizer.state[weight]
    assert (state["sign_average"].item(), state["frozen"].item()) == (-1.0, -1.0)


@each_kind
@pytest.mark.parametrize("transform", [None, "xnor", "bi_half"])
def test_frozen_weights_never_move_again(method: str, transform: str | None) -> None:
    """Neither by momentum nor by weight decay; the deployed sign is fixed too, if it is the weight's own."""
    rule = METHODS[method](lr=0.05, clip=None, weight_decay=0.01, freeze=0.002, transform=transform)
    assert rule.deploy is not None
    weight = torch.from_numpy(np.random.default_rng(1).uniform(-0.2, 0.2, (6, 30))).requires_grad_()
    optimizer = rule.optimizer([weight])
    random = torch.Generator().manual_seed(0)
    held = torch.full_like(weight, torch.nan)  # the values at which weights were frozen
    set_progress(optimizer, [], epoch=1, progress=0.25)
    for _ in range(200):
        weight.grad = torch.randn(6, 30, generator=random, dtype=torch.float64)
        optimizer.step()
        frozen = optimizer.state[weight]["frozen"]
        is_frozen, now = frozen != 0, weight.detach()
        held = torch.where(held.isnan() & is_frozen, now, held)
        assert torch.equal(now[~held.isnan()], held[~held.isnan()]) and bool(is_frozen[~held.isnan()].all())
        assert bool((now * frozen > 0)[is_frozen].all())
        if transform != "bi_half":
            assert bool((rule.deploy(weight) * frozen > 0)[is_frozen].all())
    assert int(held.isnan().logical_not().sum()) > 15


def test_a_frozen_weight_of_exactly_zero_has_the_sign_at_which_it_is_frozen() -> None:
    weight = torch.tensor([[-0.5]], requires_grad=True)
    optimizer = METHODS["latent-sgd"](lr=1.0, freeze=0.02).optimizer([weight])
    states = ("oscillations", "has_flipped", "sign_average", "frozen")
    values = (0.9, 1.0, -0.9, 0.0)
    optimizer.state[weight] = {n: torch.full((1, 1), v) for n, v in zip(states, values, strict=True)}
    weight.grad = torch.tensor([[-0.5]])
    set_progress(optimizer, [], epoch=1, progress=0.25)
    optimizer.step()
    assert sign(weight).item() == -1.0
    assert abs(weight.item()) < 1e-30


@pytest.mark.parametrize("control", ["sad", "freeze"])
def test_a_flip_is_a_change_of_the_deployed_sign(control: str) -> None:
    """The largest weight of a filter becomes the smallest: two signs of bi_half change, all stay positive."""
    rule = METHODS["latent-sgd"](lr=1.0, clip=None, transform="bi_half", **{control: 0.3})
    weight = torch.tensor([[1.0, 2.0, 3.0, 4.0]], requires_grad=True)
    optimizer = rule.optimizer([weight])
    weight.grad = torch.tensor([[0.0, 0.0, 0.0, 3.5]])
    if control == "sad":
        weight.grad -= 0.3 * weight.detach()
    else:
        set_progress(optimizer, [], epoch=1, progress=0.25)
    optimizer.step()
    state = optimizer.state[weight]
    found = state["tracker" if control == "sad" else "has_flipped"]
    assert (found > 0).tolist() == [[False, True, False, True]]
    if control == "freeze":
        assert state["sign_average"].tolist() == [[-1.0, 1.0, 1.0, -1.0]]


# --- in every method ---


@each_kind
def test_without_controls_a_step_is_the_plain_one_bit_for_bit(method: str) -> None:
    """A control that is off has no effect, and neither has one with strength zero."""
    expected = Training(METHODS[method]()).trajectory(20)
    off = dict.fromkeys(FLIP_CONTROL)
    assert torch.equal(Training(METHODS[method](**off)).trajectory(20), expected)
    nothing = dict(ags=0.0, sad=0.0, dampen=0.0, freeze=1.0)
    training, plain = Training(METHODS[method](**nothing)), Training(METHODS[method]())
    assert [training.step() for _ in range(20)] == [plain.step() for _ in range(20)]
    for (_, a), (_, b) in zip(binary_layers(training.model), binary_layers(plain.model), strict=True):
        assert torch.equal(a.weight, b.weight)


@functools.cache
def trained_latents(method: str, **controls: float) -> Tensor:
    """All latent weights of a small network after 70 steps."""
    rate = 5.0 if method == "latent-sgd" else 0.02
    training = Training(METHODS[method](lr=rate, **controls))
    for _ in range(70):
        training.step()
    return torch.cat([layer.weight.detach().flatten() for _, layer in binary_layers(training.model)])


@each_kind
@pytest.mark.parametrize("control", FLIP_CONTROL)
def test_each_control_changes_the_training_and_is_an_entry_of_the_groups(method: str, control: str) -> None:
    value = {"ags": 10.0, "sad": 0.5, "dampen": 1.0, "freeze": 5e-4}[control]
    assert not torch.equal(trained_latents(method, **{control: value}), trained_latents(method))
    weight = torch.ones(2, 2, requires_grad=True)
    optimizer = METHODS[method](**{control: value}).optimizer([weight])
    (group,) = optimizer.param_groups
    assert group[control] == value
    assert ("progress" in group) == (control in ("dampen", "freeze"))
    assert not {name for name in FLIP_CONTROL if name in group} - {control}
    apply_schedules(optimizer, {control: Linear(value, 0.0)}, 0.5)
    assert group[control] == value / 2


@pytest.mark.parametrize(
    ("method", "transform"),
    [*((name, None) for name in KINDS), *(("latent-adam", name) for name in TRANSFORMS)],
)
def test_with_all_controls_on_a_resumed_training_continues_bit_for_bit(
    method: str, transform: str | None
) -> None:
    """Interrupted in the middle, on the convolutional network, whose weights are channels-last."""

    def built(seed: int) -> Training:
        rate = 1.0 if method == "latent-sgd" else 0.02
        rule = METHODS[method](lr=rate, transform=transform, **{**ALL, "freeze": 0.0005})
        training = Training(rule, "convnet", seed=seed)
        training.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return training

    training, resumed = built(1), built(2)
    for _ in range(30):
        training.step()
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (training.model, training.weights, training.real)], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    for part, state in zip((resumed.model, resumed.weights, resumed.real), states, strict=True):
        part.load_state_dict(state)
    resumed.steps = training.steps
    assert [resumed.step() for _ in range(30)] == [training.step() for _ in range(30)]
    frozen = 0
    for (_, a), (_, b) in zip(binary_layers(training.model), binary_layers(resumed.model), strict=True):
        assert torch.equal(a.weight, b.weight)
        own, again = training.weights.state[a.weight], resumed.weights.state[b.weight]
        assert own.keys() == again.keys()
        assert own.keys() >= OWN_STATE
        assert all(torch.equal(own[name], again[name]) for name in own)
        assert all(tensor.dtype == torch.float32 for tensor in own.values())
        frozen += int((own["frozen"] != 0).sum())
    assert frozen > 0


@each_kind
def test_torchs_own_state_starts_as_without_the_controls(method: str) -> None:
    def names(controls: dict[str, Any]) -> set[str]:
        weight = torch.ones(2, 2, requires_grad=True)
        optimizer = METHODS[method](**controls).optimizer([weight])
        weight.grad = torch.ones(2, 2)
        set_progress(optimizer, [], epoch=1, progress=0.25)
        optimizer.step()
        return set(optimizer.state[weight])

    assert names({}) == names(ALL) - OWN_STATE
    assert names(ALL) > OWN_STATE or method == "latent-sgd"


def test_lions_average_and_that_of_the_signs_are_separate() -> None:
    weight = torch.full((2, 2), 0.5, requires_grad=True)
    optimizer = METHODS["latent-lion"](lr=1e-3, freeze=0.1).optimizer([weight])
    weight.grad = torch.ones(2, 2)
    set_progress(optimizer, [], epoch=1, progress=0.25)
    optimizer.step()
    assert optimizer.state[weight]["average"].unique().item() == pytest.approx(0.01)
    assert optimizer.state[weight]["sign_average"].unique().item() == 1.0


def test_the_controls_change_neither_the_given_gradient_nor_weights_without_one() -> None:
    moved, alone = torch.full((2, 3), 0.5, requires_grad=True), torch.full((2, 3), 0.5, requires_grad=True)
    optimizer = METHODS["latent-adam"](**ALL).optimizer([moved, alone])
    gradient = torch.full((2, 3), 1e-3)
    moved.grad = gradient
    set_progress(optimizer, [], epoch=1, progress=0.5)
    optimizer.step()
    assert torch.equal(gradient, torch.full((2, 3), 1e-3))
    assert torch.equal(alone, torch.full((2, 3), 0.5)) and alone not in optimizer.state
    assert not torch.equal(moved, alone)

"""The latent family against scalar loops of its formulas; Theorem 1 of Helwegen et al. on real networks."""

import functools
import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.bop import Bop
from optimizers.core import BadHyper, pseudo_gradient, reads_the_sign, sign
from optimizers.core.latent.rule import LATENT as HABITS
from optimizers.core.latent.rule import glorot_rate_scale
from optimizers.core.pseudo_gradients import Ede
from optimizers.latent import LatentLion, LatentSGD, lion_update
from suite.experiment.build import apply_schedules
from suite.models.blocks.layers import binary_layers
from suite.records.schedules import Linear
from tests.support.training import Training

LR = {
    "latent-sgd": 0.03,
    "latent-momentum": 0.01,
    "latent-nesterov": 0.01,
    "latent-adam": 0.03,
    "latent-adamw": 0.03,
    "latent-adamax": 0.06,
    "latent-lion": 0.02,
    "binarynet-adam": 0.03,
}
LATENT = list(LR)
DECOUPLED = ["latent-adamw", "latent-lion"]  # their decay does not pass through the filter
KINDS = ["latent-sgd", "latent-adam", "latent-lion"]  # linear, normalised, signs alone with a decoupled decay
# A dense layer 2 <- 3 and a convolution 2 <- 1 of 2x2, with BinaryNet's sqrt((fan in + fan out) / 1.5).
SHAPES = {(2, 3): math.sqrt((3 + 2) / 1.5), (2, 1, 2, 2): math.sqrt((1 * 4 + 2 * 4) / 1.5)}
STEPS = 200


def sgd(momentum: float) -> Iterator[float]:
    """A generator that receives gradients and yields the step per unit of learning rate."""
    buffer, update = None, 0.0
    while True:
        gradient = yield update
        buffer = gradient if buffer is None else momentum * buffer + gradient
        update = buffer


def adam(beta1: float, beta2: float, eps: float) -> Iterator[float]:
    m = v = update = 0.0
    for t in itertools.count(1):
        gradient = yield update
        m = beta1 * m + (1 - beta1) * gradient
        v = beta2 * v + (1 - beta2) * gradient**2
        update = (m / (1 - beta1**t)) / (math.sqrt(v / (1 - beta2**t)) + eps)


def nesterov(momentum: float) -> Iterator[float]:
    buffer, update = None, 0.0
    while True:
        gradient = yield update
        buffer = gradient if buffer is None else momentum * buffer + gradient
        update = gradient + momentum * buffer


def adamax(beta1: float, beta2: float, eps: float) -> Iterator[float]:
    m = largest = update = 0.0
    for t in itertools.count(1):
        gradient = yield update
        m = beta1 * m + (1 - beta1) * gradient
        largest = max(beta2 * largest, abs(gradient) + eps)
        update = m / (1 - beta1**t) / largest


def lion(beta1: float, beta2: float) -> Iterator[float]:
    m = update = 0.0
    while True:
        gradient = yield update
        ahead = beta1 * m + (1 - beta1) * gradient
        m = beta2 * m + (1 - beta2) * gradient
        update = (ahead > 0) - (ahead < 0)


def filter_of(method: str) -> Any:
    return {
        "latent-sgd": sgd(0.0),
        "latent-momentum": sgd(0.8),
        "latent-nesterov": nesterov(0.8),
        "latent-adam": adam(0.9, 0.99, 1e-7),
        "latent-adamw": adam(0.9, 0.99, 1e-7),
        "latent-adamax": adamax(0.9, 0.99, 1e-7),
        "latent-lion": lion(0.9, 0.95),
        "binarynet-adam": adam(0.9, 0.99, 1e-8),
    }[method]


HYPERS: dict[str, dict[str, float]] = {
    "latent-sgd": {},
    "latent-momentum": {"momentum": 0.8},
    "latent-nesterov": {"momentum": 0.8},
    "latent-lion": {"beta1": 0.9, "beta2": 0.95},
}


def hypers_of(method: str) -> dict[str, float]:
    return HYPERS.get(method, {"beta1": 0.9, "beta2": 0.99})


def latent_path(
    method: str, start: float, gradients: list[float], rate: float, decay: float, clip: float | None
) -> list[float]:
    """One latent weight after each step: decay (coupled or decoupled), filter, step, clip."""
    weight, path, state = start, [], filter_of(method)
    next(state)
    for gradient in gradients:
        if method in DECOUPLED:
            weight = weight * (1 - rate * decay) - rate * state.send(gradient)
        else:
            weight -= rate * state.send(gradient + decay * weight)
        if clip is not None:
            weight = max(-clip, min(clip, weight))
        path.append(weight)
    return path


@pytest.mark.parametrize(  # each pair of values of two of them
    ("clip", "decay", "glorot_rate"),
    [(None, 0.0, False), (None, 0.05, True), (0.2, 0.0, True), (0.2, 0.05, False)],
)
@pytest.mark.parametrize("method", LATENT)
def test_equals_a_scalar_loop(method: str, clip: float | None, decay: float, glorot_rate: bool) -> None:
    random = np.random.default_rng(0)
    rule = METHODS[method](
        lr=LR[method],
        clip=clip,
        weight_decay=decay,
        glorot_rate=glorot_rate,
        init_scale=0.25,
        **hypers_of(method),
    )
    initial = [torch.from_numpy(random.uniform(-1, 1, shape)) for shape in SHAPES]
    weights = [rule.start(tensor).requires_grad_() for tensor in initial]
    optimizer = rule.optimizer(weights)
    wave = np.sin(np.arange(STEPS) / 15)
    gradients = [
        random.normal(size=(STEPS, *shape)) + wave.reshape(-1, *[1] * len(shape)) for shape in SHAPES
    ]
    paths: list[list[Tensor]] = [[] for _ in SHAPES]
    for step in range(STEPS):
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.from_numpy(gradient[step].copy())
        optimizer.step()
        for weight, path in zip(weights, paths, strict=True):
            path.append(weight.detach().flatten().clone())
    largest, mismatches, flips = 0.0, 0, 0
    for shape, tensor, gradient, path in zip(SHAPES, initial, gradients, paths, strict=True):
        rate = LR[method] * (SHAPES[shape] if glorot_rate else 1.0)
        found = torch.stack(path).numpy()
        for i, first in enumerate(tensor.flatten().tolist()):
            start = 0.25 * first * (SHAPES[shape] / 2 if method == "binarynet-adam" else 1.0)
            start = start if clip is None else max(-clip, min(clip, start))
            expected = latent_path(
                method, start, gradient.reshape(STEPS, -1)[:, i].tolist(), rate, decay, clip
            )
            np.testing.assert_allclose(found[:, i], expected, rtol=1e-10, atol=1e-12)
            signs = np.asarray(expected) >= 0
            mismatches += int(((found[:, i] >= 0) != signs).sum())
            flips += int((signs[1:] != signs[:-1]).sum())
        largest = max(largest, np.abs(found).max())
    assert mismatches == 0
    assert flips > 20, flips
    assert largest == 0.2 if clip is not None else largest > 0.2  # the clip is effective, or absent


def keras_adam(w: float, gradients: list[float], lr: float, eps: float, placed: str) -> list[float]:
    """The latent weight after each step; eps added where Keras and Lasagne add it, or where torch does."""
    m, v, path = 0.0, 0.0, []
    for t, g in enumerate(gradients, 1):
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        if placed == "keras":
            w -= lr * math.sqrt(1 - 0.999**t) / (1 - 0.9**t) * m / (math.sqrt(v) + eps)
        else:
            w -= lr * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + eps)
        path.append(w)
    return path


@pytest.mark.parametrize(("method", "eps"), [("latent-adam", 1e-7), ("binarynet-adam", 1e-8)])
def test_keras_placement_of_eps_matters_where_gradients_are_small(method: str, eps: float) -> None:
    """Gradients of three times eps: the steps are several times shorter at first, and other weights flip."""
    steps, count, random = 200, 60, np.random.default_rng(0)
    wave = np.sin(np.arange(steps)[:, None] / 8 + random.uniform(0, 6, count))
    gradients = 3 * eps * (wave + random.normal(size=(steps, count)))
    start = random.uniform(-0.01, 0.01, count)
    flips, signs = {}, {}
    for placed in ("keras", None):
        rule = METHODS[method](lr=1e-3, glorot_rate=False, eps_placement=placed)
        weight = torch.from_numpy(start).clone().requires_grad_()
        optimizer, path = rule.optimizer([weight]), []
        for gradient in torch.from_numpy(gradients):
            weight.grad = gradient
            optimizer.step()
            path.append(weight.detach().clone())
        loops = zip(start.tolist(), gradients.T.tolist(), strict=True)
        expected = np.array([keras_adam(w, g, 1e-3, eps, placed or "torch") for w, g in loops]).T
        np.testing.assert_allclose(torch.stack(path).numpy(), expected, rtol=1e-9, atol=1e-13)
        signs[placed] = np.concatenate([start[None], expected]) >= 0
        flips[placed] = int((signs[placed][1:] != signs[placed][:-1]).sum())
        assert optimizer.param_groups[0]["eps"] == eps
    assert count < flips["keras"] < 0.9 * flips[None]
    assert float((signs["keras"] != signs[None]).mean()) > 0.05


def test_glorot_rate_scale_is_binarynets() -> None:
    assert [glorot_rate_scale(torch.empty(shape)) for shape in SHAPES] == pytest.approx(list(SHAPES.values()))
    assert glorot_rate_scale(torch.empty(128, 3, 3, 3)) == pytest.approx(math.sqrt((27 + 1152) / 1.5))


# --- Theorem 1: (C·learning rate, C·start) gives the same binary weights, where nothing has a scale ---


@functools.cache
def trajectory(method: str, factor: float, steps: int = 30, **hypers: Any) -> Tensor:
    """The binary weights of a small network with batch norm, learning rate and start times `factor`."""
    rate = factor * {"latent-sgd": 0.5, "latent-momentum": 0.1, "latent-nesterov": 0.1}.get(method, 0.02)
    settings = dict(clip=None, pseudo_gradient="identity", weight_decay=0.0) | hypers
    rule = METHODS[method](lr=rate, init_scale=factor, **settings)
    return Training(rule).trajectory(steps)


@pytest.mark.parametrize("factor", [2.0**-6, 8.0])
@pytest.mark.parametrize("method", LATENT)
def test_theorem_1_holds_bit_for_bit(method: str, factor: float) -> None:
    plain = trajectory(method, 1.0)
    assert torch.equal(trajectory(method, factor), plain)
    assert int((plain[1:] != plain[:-1]).sum()) > 100  # weights did flip


@pytest.mark.parametrize("method", KINDS)
def test_theorem_1_holds_on_a_convolutional_network_with_glorot_rates(method: str) -> None:
    def signs(factor: float) -> Tensor:
        settings = dict(clip=None, pseudo_gradient="identity", weight_decay=0.0, glorot_rate=True)
        rule = METHODS[method](lr=0.05 * factor, init_scale=factor, **settings)
        return Training(rule, "convnet").trajectory(20)

    plain = signs(1.0)
    assert torch.equal(signs(4.0), plain)
    assert not torch.equal(plain[0], plain[-1])


@pytest.mark.parametrize("method", KINDS)
@pytest.mark.parametrize(
    "condition",
    [{"clip": 1.0}, *[{"pseudo_gradient": name} for name in ("clipped", "approx_sign", "swish_sign")]],
    ids=str,
)
def test_theorem_1_breaks_without_its_conditions(method: str, condition: dict[str, Any]) -> None:
    scaled, plain = (trajectory(method, factor, steps=15, **condition) for factor in (8.0, 1.0))
    assert not torch.equal(scaled, plain)


@pytest.mark.parametrize("method", KINDS)
def test_a_clip_or_a_decay_scaled_along_restores_theorem_1(method: str) -> None:
    assert torch.equal(trajectory(method, 8.0, clip=8.0 * 0.25), trajectory(method, 1.0, clip=0.25))
    assert not torch.equal(
        trajectory(method, 1.0, clip=0.25), trajectory(method, 1.0)
    )  # this clip is effective
    decayed = trajectory(method, 1.0, weight_decay=0.25)
    assert torch.equal(trajectory(method, 8.0, weight_decay=0.25 / 8), decayed)
    assert not torch.equal(trajectory(method, 8.0, weight_decay=0.25), decayed)


def test_sgd_with_weight_decay_is_bop_at_threshold_zero() -> None:
    """The latent weight is -average / weight_decay: identity I4, so Bop must start from that average."""
    lr, decay, count, steps = 0.1, 0.02, 100, 2000
    random = np.random.default_rng(0)
    latent = torch.from_numpy(random.uniform(-1, 1, count)).requires_grad_()
    binary = sign(latent.detach()).requires_grad_()
    sgd_optimizer = LatentSGD([dict(params=[latent], bound=None, lr_scale=1.0)], lr, weight_decay=decay)
    bop = Bop([binary], gamma=lr * decay, threshold=0.0)
    bop.state[binary]["average"] = -decay * latent.detach()
    mismatches = flips = 0
    for gradient in torch.from_numpy(random.normal(size=(steps, count))):
        before = binary.detach().clone()
        latent.grad = binary.grad = gradient
        sgd_optimizer.step()
        bop.step()
        mismatches += int((sign(latent.detach()) != binary).sum())
        flips += int((before != binary).sum())
    assert mismatches == 0
    assert flips > 1000


# --- the step and its groups, and refused values ---


@pytest.mark.parametrize("method", LATENT)
def test_every_method_hands_all_its_habits_to_the_common_rule(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed: dict[str, Any] = {}
    monkeypatch.setattr("optimizers.latent.latent_rule", lambda _, habits, **settings: handed.update(habits))
    values: dict[str, Any] = {name: object() for name in HABITS}
    METHODS[method](**values)
    assert handed == values


@pytest.mark.parametrize("method", LATENT)
def test_a_scheduled_learning_rate_survives_the_step_under_glorot_rates(method: str) -> None:
    rule = METHODS[method](glorot_rate=True)
    weights = [rule.start(torch.full(shape, 0.5)).requires_grad_() for shape in SHAPES]
    optimizer = rule.optimizer(weights)
    for progress in (0.0, 0.5, 0.75):
        apply_schedules(optimizer, {"lr": Linear(1.0, 0.0)}, progress)
        for weight in weights:
            weight.grad = torch.ones_like(weight)
        optimizer.step()
        assert [group["lr"] for group in optimizer.param_groups] == [1.0 - progress] * 2


@pytest.mark.parametrize("method", LATENT)
@pytest.mark.parametrize("clip", [1.0, 0.3])
def test_no_latent_weight_is_ever_beyond_the_clip(method: str, clip: float) -> None:
    rule = METHODS[method](lr=10.0, clip=clip, init_scale=5.0)
    weight = rule.start(torch.linspace(-1, 1, 9).reshape(3, 3)).requires_grad_()
    optimizer = rule.optimizer([weight])
    bound = torch.tensor(clip).item()
    assert weight.abs().max().item() == bound
    for gradient in torch.randn(20, 3, 3, generator=torch.Generator().manual_seed(0)):
        weight.grad = gradient
        optimizer.step()
        assert weight.abs().max().item() == bound


@pytest.mark.parametrize(("clip", "slopes"), [(1.0, [1, 1, 1, 1]), (2.0, [1, 1, 0, 0]), (None, [1, 1, 0, 0])])
def test_the_clipped_slope_ends_at_one_wherever_a_weight_can_be(
    clip: float | None, slopes: list[int]
) -> None:
    rule = METHODS["latent-sgd"](clip=clip, init_scale=1.0, pseudo_gradient="clipped")
    weight = rule.start(torch.tensor([0.5, -1.0, 1.5, -7.0])).requires_grad_()
    rule.read(weight).sum().backward()
    assert weight.grad is not None and weight.grad.tolist() == slopes


def torchs_own(method: str, weights: list[Tensor]) -> torch.optim.Optimizer:
    """torch's plain loop over tensors with the hyperparameters of `test_the_fast_step_...`."""
    settings: dict[str, Any] = dict(lr=LR[method], weight_decay=1e-4, foreach=False)
    match method:
        case "latent-adam":
            return torch.optim.Adam(weights, eps=1e-7, **settings)
        case "binarynet-adam":
            return torch.optim.Adam(weights, eps=1e-8, **settings)
        case "latent-adamw":
            return torch.optim.AdamW(weights, eps=1e-7, **settings)
        case "latent-adamax":
            return torch.optim.Adamax(weights, eps=1e-7, **settings)
    momentum = 0.0 if method == "latent-sgd" else 0.9
    return torch.optim.SGD(weights, momentum=momentum, nesterov=method == "latent-nesterov", **settings)


@pytest.mark.parametrize("method", [method for method in LATENT if method != "latent-lion"])
def test_the_fast_step_equals_torchs_plain_one(method: str) -> None:
    """Bit for bit, except for Adam and its variants, whose fast form rounds in another order."""
    random = torch.Generator().manual_seed(0)
    shapes = [(70, 50), (33, 17, 3, 3)]
    fast, plain = (
        [
            torch.empty(shape).uniform_(-1, 1, generator=torch.Generator().manual_seed(1)).requires_grad_()
            for shape in shapes
        ]
        for _ in range(2)
    )
    fast[1].data = fast[1].data.contiguous(memory_format=torch.channels_last)  # as in training
    rule = METHODS[method](lr=LR[method], weight_decay=1e-4, clip=0.5, glorot_rate=False)
    step = rule.optimizer(fast).step
    reference = torchs_own(method, plain)
    for _ in range(20):
        for a, b in zip(fast, plain, strict=True):
            a.grad = torch.randn(a.shape, generator=random)
            b.grad = a.grad.clone()
        step()
        reference.step()
        for a, b in zip(fast, plain, strict=True):
            b.data.copy_(b.data.minimum(torch.tensor(0.5)).maximum(torch.tensor(-0.5)))
            if "ada" in method:
                torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)
            else:
                assert torch.equal(a, b)


@pytest.mark.parametrize(
    ("method", "setting", "words"),
    [
        ("latent-sgd", {"clip": 0.0}, "clip must be > 0 or null, not 0.0"),
        ("latent-adam", {"clip": -1.0}, "clip must be > 0 or null"),
        ("latent-sgd", {"init_scale": 0.0}, "init_scale must be > 0, not 0.0"),
        ("latent-adam", {"pseudo_gradient": "tanh"}, "must be one of .*'clipped'.*, not 'tanh'"),
        ("latent-momentum", {"momentum": 1.0}, "momentum must lie in"),
        ("latent-momentum", {"momentum": -0.1}, "momentum must lie in"),
        ("latent-sgd", {"lr": -1.0}, "lr must be >= 0, not -1.0"),
        ("latent-sgd", {"lr": math.nan}, "lr must be >= 0, not nan"),
        ("latent-adam", {"beta1": 1.0}, r"beta1 must lie in \[0, 1\), not 1.0"),
        ("latent-adamw", {"beta2": 1.0}, r"beta2 must lie in \[0, 1\), not 1.0"),
        ("latent-adamax", {"beta1": -0.1}, r"beta1 must lie in \[0, 1\), not -0.1"),
        ("binarynet-adam", {"beta2": 1.5}, r"beta2 must lie in \[0, 1\), not 1.5"),
        ("latent-sgd", {"weight_decay": -1e-4}, "weight_decay must be >= 0, not -0.0001"),
        ("latent-nesterov", {"momentum": 0.0}, r"momentum must lie in \(0, 1\), not 0.0"),
        ("latent-nesterov", {"momentum": 1.0}, r"momentum must lie in \(0, 1\), not 1.0"),
        ("latent-lion", {"lr": -1.0}, "lr must be >= 0, not -1.0"),
        ("latent-lion", {"weight_decay": -0.1}, "weight_decay must be >= 0, not -0.1"),
        ("latent-lion", {"beta1": 1.0}, r"beta1 must lie in \[0, 1\), not 1.0"),
        ("latent-lion", {"beta2": math.nan}, r"beta2 must lie in \[0, 1\), not nan"),
        ("latent-adam", {"pseudo_gradient": "ede"}, "pseudo_gradient must be one of .*, not 'ede'"),
        ("latent-adam", {"binarize": "clipped"}, "binarize must be one of .*'ede'.*, not 'clipped'"),
        ("latent-adam", {"transform": "bihalf"}, "transform must be one of .*'bi_half'.*, not 'bihalf'"),
        ("latent-adam", {"real_until": 1.1}, r"real_until must lie in \[0, 1\], not 1.1"),
        ("latent-adam", {"ags": -1.0}, "ags must be >= 0, not -1.0"),
        ("latent-adam", {"sad": -1.0}, "sad must be >= 0, not -1.0"),
        ("latent-adam", {"dampen": math.nan}, "dampen must be >= 0, not nan"),
        ("latent-adam", {"freeze": -0.1}, "freeze must be >= 0, not -0.1"),
    ],
)
def test_refuses_impossible_settings(method: str, setting: dict[str, Any], words: str) -> None:
    with pytest.raises(BadHyper, match=words) as error:
        METHODS[method](**setting)
    assert [error.value.name] == list(setting)


# --- Lion, AdamW and BinaryNet's start by themselves ---


def test_lion_moves_by_the_sign_of_the_look_ahead_and_keeps_the_longer_average() -> None:
    # Ahead: 0.5 * 0.4 - 0.5 * 0.6 < 0, though the average that is kept, 0.75 * 0.4 - 0.25 * 0.6, is positive.
    weight, average = lion_update(
        torch.tensor([1.0]), torch.tensor([0.4]), torch.tensor([-0.6]), 0.25, 0.5, 0.75, 2.0
    )
    assert weight.item() == 1.0 - 0.25 * (-1.0 + 2.0 * 1.0)
    assert average.item() == pytest.approx(0.15)


def test_lion_does_not_change_a_weight_whose_gradients_were_all_zero() -> None:
    start = torch.tensor([0.3, -0.3, 0.0, -0.0])
    weight, average = lion_update(start, torch.zeros(4), torch.zeros(4), 0.1, 0.9, 0.99, 0.0)
    assert torch.equal(weight, start) and torch.equal(average, torch.zeros(4))


@pytest.mark.parametrize("decay", [0.0, 0.5])
def test_lions_class_equals_its_pure_function_bit_for_bit(decay: float) -> None:
    random = torch.Generator().manual_seed(0)
    pure = torch.randn(300, 400, generator=random)  # more than one block
    average, weight = torch.zeros_like(pure), pure.clone().requires_grad_()
    group = dict(params=[weight], bound=None, lr_scale=2.0)
    optimizer = LatentLion([group], lr=0.01, beta1=0.9, beta2=0.99, weight_decay=decay)
    for _ in range(20):
        weight.grad = torch.randn(pure.shape, generator=random)
        optimizer.step()
        pure, average = lion_update(pure, average, weight.grad, 0.02, 0.9, 0.99, decay)
        assert torch.equal(weight, pure)
        assert torch.equal(optimizer.state[weight]["average"], average)


def test_adamw_without_decay_is_adam_and_with_it_is_not() -> None:
    def latents(method: str, decay: float) -> Tensor:
        weight = torch.linspace(-1, 1, 40, dtype=torch.float64).reshape(4, 10).requires_grad_()
        optimizer = METHODS[method](lr=0.01, weight_decay=decay).optimizer([weight])
        for gradient in torch.randn(50, 4, 10, generator=torch.Generator().manual_seed(0)).double():
            weight.grad = gradient
            optimizer.step()
        return weight.detach()

    torch.testing.assert_close(latents("latent-adamw", 0.0), latents("latent-adam", 0.0), rtol=0, atol=1e-12)
    assert (latents("latent-adamw", 0.1) - latents("latent-adam", 0.1)).abs().max() > 1e-3


@pytest.mark.parametrize("shape", [(40, 60), (16, 8, 3, 3)])
def test_binarynet_starts_uniformly_between_minus_one_and_one(shape: tuple[int, ...]) -> None:
    initial = torch.nn.init.xavier_uniform_(torch.empty(shape), generator=torch.Generator().manual_seed(0))
    start = METHODS["binarynet-adam"]().start(initial)
    assert start.abs().max() <= 1.0
    quantiles = start.flatten().quantile(torch.linspace(0.0, 1.0, 11))
    torch.testing.assert_close(quantiles, torch.linspace(-1.0, 1.0, 11), rtol=0, atol=0.07)
    torch.testing.assert_close(start, initial * glorot_rate_scale(initial) / 2.0)
    halved = METHODS["binarynet-adam"](init_scale=0.5).start(initial)
    torch.testing.assert_close(halved, start / 2.0)


def test_binarynet_scales_its_learning_rate_unless_glorot_rate_is_off() -> None:
    weights = [torch.ones(shape, requires_grad=True) for shape in SHAPES]
    groups = METHODS["binarynet-adam"]().optimizer(weights).param_groups
    assert [group["lr_scale"] for group in groups] == pytest.approx(list(SHAPES.values()))
    plain = METHODS["binarynet-adam"](glorot_rate=False).optimizer(weights).param_groups
    assert [group["lr_scale"] for group in plain] == [1.0]


# --- how the weights are read ---


@pytest.mark.parametrize("method", LATENT)
def test_by_default_all_costly_additions_are_off(method: str) -> None:
    rule = METHODS[method]()
    assert reads_the_sign(rule.read) and rule.deploy is sign
    weight = torch.full((3, 3), 0.5, requires_grad=True)
    optimizer = rule.optimizer([weight])
    weight.grad = torch.ones(3, 3)
    optimizer.step()
    optional = {name for name, hyper in HABITS.items() if hyper.optional} | {"progress"}
    assert not optional & set(optimizer.param_groups[0])
    assert not set(optimizer.state[weight]) & {"tracker", "frozen", "oscillations"}


@pytest.mark.parametrize("method", LATENT)
def test_every_method_has_every_habit_and_optional_ones_are_off(method: str) -> None:
    found = METHODS[method]
    assert [name for name in found.hypers if name in HABITS] == list(HABITS)
    assert all(found.defaults[name] is None for name, hyper in HABITS.items() if hyper.optional)
    assert all(found.hypers[name] == HABITS[name] for name in HABITS if HABITS[name].optional)


def slopes(read: Any, values: list[float]) -> list[float]:
    weight = torch.tensor(values, requires_grad=True)
    read(weight).sum().backward()
    assert weight.grad is not None
    return weight.grad.tolist()


@pytest.mark.parametrize("name", ["ede", "reste"])
@pytest.mark.parametrize("replaced", ["clipped", "approx_sign"])
def test_binarize_replaces_the_pseudo_gradient(name: str, replaced: str) -> None:
    rule = METHODS["latent-sgd"](binarize=name, pseudo_gradient=replaced, clip=None)
    assert isinstance(rule.read, torch.nn.Module)
    expected = pseudo_gradient(name)
    rule.read.progress = expected.progress = 0.7  # type: ignore[attr-defined]
    values = [-1.2, -0.4, 0.05, 0.9, 1.6]
    assert slopes(rule.read, values) == slopes(expected, values)
    assert slopes(rule.read, values) != slopes(pseudo_gradient(replaced), values)
    assert rule.deploy is sign


def test_the_stochastic_binarization_draws_in_training_and_never_at_deployment() -> None:
    rule = METHODS["latent-sgd"](binarize="stochastic")
    weight = torch.full((40, 100), 0.5)
    torch.manual_seed(0)
    drawn = rule.read(weight)
    assert 0.7 < (drawn > 0).double().mean().item() < 0.8  # (1 + 0.5) / 2
    assert rule.deploy is not None and torch.equal(rule.deploy(weight), torch.ones(40, 100))


@pytest.mark.parametrize("transform", [None, "xnor", "bi_half"])
def test_real_until_reads_the_latent_weights_first_and_deploys_binary_ones_always(
    transform: str | None,
) -> None:
    rule = METHODS["latent-adam"](real_until=0.5, transform=transform, clip=None)
    plain = METHODS["latent-adam"](transform=transform, clip=None)
    weight = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
    assert rule.deploy is not None and plain.deploy is not None
    for progress, real in ((0.0, True), (0.499, True), (0.5, False), (0.9, False)):
        rule.read.progress = progress  # type: ignore[attr-defined]
        assert torch.equal(rule.read(weight), weight if real else plain.read(weight))
        assert torch.equal(rule.deploy(weight), plain.deploy(weight))
    assert slopes(METHODS["latent-adam"](real_until=0.5, clip=None).read, [0.5, -3.0]) == [1.0, 1.0]


def test_a_training_with_real_weights_becomes_binary_at_real_until() -> None:
    """The loop also sets the time of the binarization inside the two steps."""
    training = Training(METHODS["latent-adam"](lr=0.01, real_until=0.5, binarize="ede"))
    layer = next(layer for _, layer in binary_layers(training.model))
    binary = []
    for _ in range(60):
        training.step()
        binary.append(bool((layer.read(layer.weight).abs() == 1).all()))
    assert binary == [False] * 50 + [True] * 10
    assert [module.progress for module in training.learner.timed if isinstance(module, Ede)] == [0.59]
    training.model.eval()
    assert bool((layer.reading()(layer.weight).abs() == 1).all())

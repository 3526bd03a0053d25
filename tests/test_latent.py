"""The latent family against scalar loops of its formulas; Theorem 1 of Helwegen et al. on real networks."""

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
from optimizers.core import sign
from optimizers.latent import LatentSGD, glorot_rate_scale
from suite.schedules import apply_schedules
from tests.conftest import Training

LATENT = ["latent-sgd", "latent-momentum", "latent-adam"]
LR = {"latent-sgd": 0.03, "latent-momentum": 0.01, "latent-adam": 0.01}
# A dense layer 2 <- 3 and a convolution 2 <- 1 of 2x2, with BinaryNet's sqrt((fan in + fan out) / 1.5).
SHAPES = {(2, 3): math.sqrt((3 + 2) / 1.5), (2, 1, 2, 2): math.sqrt((1 * 4 + 2 * 4) / 1.5)}
STEPS = 120


def sgd(momentum: float) -> Iterator[float]:
    """A generator that is sent gradients and yields what is subtracted per unit of learning rate."""
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


def filter_of(method: str) -> Any:
    return {
        "latent-sgd": sgd(0.0),
        "latent-momentum": sgd(0.8),
        "latent-adam": adam(0.9, 0.99, 1e-7),
    }[method]


HYPERS: dict[str, dict[str, float]] = {
    "latent-sgd": {},
    "latent-momentum": {"momentum": 0.8},
    "latent-adam": {"beta1": 0.9, "beta2": 0.99},
}


def latent_path(
    method: str, start: float, gradients: list[float], rate: float, decay: float, clip: float | None
) -> list[float]:
    """One latent weight after each step: decay into the gradient, filter, step, clip."""
    weight, path, state = start, [], filter_of(method)
    next(state)
    for gradient in gradients:
        weight -= rate * state.send(gradient + decay * weight)
        if clip is not None:
            weight = max(-clip, min(clip, weight))
        path.append(weight)
    return path


@pytest.mark.parametrize("glorot_rate", [False, True])
@pytest.mark.parametrize("decay", [0.0, 0.05])
@pytest.mark.parametrize("clip", [None, 0.4])
@pytest.mark.parametrize("method", LATENT)
def test_equals_a_scalar_loop(method: str, clip: float | None, decay: float, glorot_rate: bool) -> None:
    random = np.random.default_rng(0)
    rule = METHODS[method](
        lr=LR[method],
        clip=clip,
        weight_decay=decay,
        glorot_rate=glorot_rate,
        init_scale=0.5,
        **HYPERS[method],
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
    largest = 0.0
    for shape, tensor, gradient, path in zip(SHAPES, initial, gradients, paths, strict=True):
        rate = LR[method] * (SHAPES[shape] if glorot_rate else 1.0)
        found = torch.stack(path).numpy()
        for i, first in enumerate(tensor.flatten().tolist()):
            start = 0.5 * first if clip is None else max(-clip, min(clip, 0.5 * first))
            expected = latent_path(
                method, start, gradient.reshape(STEPS, -1)[:, i].tolist(), rate, decay, clip
            )
            np.testing.assert_allclose(found[:, i], expected, rtol=1e-10, atol=1e-12)
        largest = max(largest, np.abs(found).max())
    assert largest == 0.4 if clip is not None else largest > 0.4  # the clip is at work, or it is absent


def test_glorot_rate_scale_is_binarynets() -> None:
    assert [glorot_rate_scale(torch.empty(shape)) for shape in SHAPES] == pytest.approx(list(SHAPES.values()))
    assert glorot_rate_scale(torch.empty(128, 3, 3, 3)) == pytest.approx(math.sqrt((27 + 1152) / 1.5))


# --- Theorem 1: (C·learning rate, C·start) gives the same binary weights, if nothing sees the magnitude ---


def trajectory(method: str, factor: float, steps: int = 60, **hypers: Any) -> Tensor:
    """The binary weights of a small network with batch norm, learning rate and start times `factor`."""
    rate = factor * {"latent-sgd": 0.5, "latent-momentum": 0.1, "latent-adam": 0.02}[method]
    settings = dict(clip=None, pseudo_gradient="identity", weight_decay=0.0) | hypers
    rule = METHODS[method](lr=rate, init_scale=factor, **settings)
    return Training(rule).trajectory(steps)


@pytest.mark.parametrize("factor", [2.0**-6, 8.0])
@pytest.mark.parametrize("method", LATENT)
def test_theorem_1_holds_bit_for_bit(method: str, factor: float) -> None:
    plain = trajectory(method, 1.0)
    assert torch.equal(trajectory(method, factor), plain)
    assert int((plain[1:] != plain[:-1]).sum()) > 100  # weights did flip


@pytest.mark.parametrize("method", LATENT)
def test_theorem_1_holds_on_a_convolutional_network_with_glorot_rates(method: str) -> None:
    def signs(factor: float) -> Tensor:
        rule = METHODS[method](
            lr=0.05 * factor, init_scale=factor, clip=None, pseudo_gradient="identity", glorot_rate=True
        )
        return Training(rule, "convnet").trajectory(20)

    plain = signs(1.0)
    assert torch.equal(signs(4.0), plain)
    assert not torch.equal(plain[0], plain[-1])


@pytest.mark.parametrize("method", LATENT)
@pytest.mark.parametrize(
    "condition",
    [{"clip": 1.0}, *[{"pseudo_gradient": name} for name in ("clipped", "approx_sign", "swish_sign")]],
    ids=str,
)
def test_theorem_1_breaks_without_its_conditions(method: str, condition: dict[str, Any]) -> None:
    assert not torch.equal(trajectory(method, 8.0, **condition), trajectory(method, 1.0, **condition))


@pytest.mark.parametrize("method", LATENT)
def test_a_clip_or_a_decay_scaled_along_restores_theorem_1(method: str) -> None:
    assert torch.equal(trajectory(method, 8.0, clip=8.0 * 0.25), trajectory(method, 1.0, clip=0.25))
    assert not torch.equal(trajectory(method, 1.0, clip=0.25), trajectory(method, 1.0))  # this clip bites
    decayed = trajectory(method, 1.0, weight_decay=0.25)
    assert torch.equal(trajectory(method, 8.0, weight_decay=0.25 / 8), decayed)
    assert not torch.equal(trajectory(method, 8.0, weight_decay=0.25), decayed)


def test_sgd_with_weight_decay_is_bop_at_threshold_zero() -> None:
    """The latent weight is -average / weight_decay: identity I4, so Bop has to start from that average."""
    lr, decay, count, steps = 0.1, 0.02, 100, 2000
    random = np.random.default_rng(0)
    latent = torch.from_numpy(random.uniform(-1, 1, count)).requires_grad_()
    binary = sign(latent.detach()).requires_grad_()
    sgd_optimizer = LatentSGD([dict(params=[latent], clip=None, lr_scale=1.0)], lr, weight_decay=decay)
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


# --- what the step does to its groups, and what the methods refuse ---


@pytest.mark.parametrize("method", LATENT)
def test_a_scheduled_learning_rate_survives_the_step_under_glorot_rates(method: str) -> None:
    rule = METHODS[method](glorot_rate=True)
    weights = [rule.start(torch.full(shape, 0.5)).requires_grad_() for shape in SHAPES]
    optimizer = rule.optimizer(weights)
    for progress in (0.0, 0.5, 0.75):
        apply_schedules(optimizer, {"lr": {"linear": [1.0, 0.0]}}, progress)
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
    if method == "latent-adam":
        return torch.optim.Adam(weights, LR[method], eps=1e-7, weight_decay=1e-4, foreach=False)
    momentum = 0.9 if method == "latent-momentum" else 0.0
    return torch.optim.SGD(weights, LR[method], momentum=momentum, weight_decay=1e-4, foreach=False)


@pytest.mark.parametrize("method", LATENT)
def test_the_fast_step_equals_torchs_plain_one(method: str) -> None:
    """Bit for bit, but for Adam, whose fused form rounds in another order."""
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
    step = METHODS[method](lr=LR[method], weight_decay=1e-4, clip=0.5).optimizer(fast).step
    reference = torchs_own(method, plain)
    for _ in range(20):
        for a, b in zip(fast, plain, strict=True):
            a.grad = torch.randn(a.shape, generator=random)
            b.grad = a.grad.clone()
        step()
        reference.step()
        for a, b in zip(fast, plain, strict=True):
            b.data.copy_(b.data.minimum(torch.tensor(0.5)).maximum(torch.tensor(-0.5)))
            if method == "latent-adam":
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
        ("latent-sgd", {"lr": -1.0}, "learning rate"),
        ("latent-adam", {"beta1": 1.0}, "beta"),
        ("latent-sgd", {"weight_decay": -1e-4}, "weight_decay"),
    ],
)
def test_refuses_impossible_settings(method: str, setting: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        METHODS[method](**setting).optimizer([torch.ones(2, 2)])

"""Convolutions in integers against torch's in floating point: the same bits, forward and backward."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optimizers import METHODS
from optimizers.core import WeightRule, always_signs, sign
from suite.models import MODELS
from suite.models.blocks import integers, layers
from suite.models.blocks.layers import BinaryConv2d, Sign

pytestmark = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni"), reason="a processor without integer convolutions"
)
# batch, inputs, side of the map, outputs, side of the kernel, padding, stride
SHAPES = [
    (2, 16, 9, 16, 3, 1, 1),
    (3, 5, 7, 6, 3, 1, 1),
    (1, 70, 12, 33, 3, 0, 1),
    (4, 512, 7, 40, 3, 1, 1),
    (2, 1, 8, 3, 3, 1, 1),
    (2, 16, 9, 24, 3, 1, 2),
    (2, 64, 8, 128, 3, 1, 2),
    (3, 5, 11, 6, 5, 2, 3),
    (2, 32, 6, 32, 1, 0, 1),
    (2, 32, 6, 40, 6, 0, 1),
]


def signs(*shape: int, seed: int) -> Tensor:
    values = torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0
    return values.contiguous(memory_format=torch.channels_last)


def value_and_gradients(convolve, x: Tensor, weight: Tensor, **window: int) -> tuple[Tensor, ...]:
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    value = convolve(x, weight, **window)
    toward = torch.randn(value.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    toward = toward.contiguous(memory_format=torch.channels_last)
    value.backward(toward.to(value.dtype))
    assert x.grad is not None and weight.grad is not None
    return value.detach(), x.grad, weight.grad


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("batch", "inputs", "size", "outputs", "kernel", "padding", "stride"), SHAPES)
def test_the_bits_of_the_float_convolution(
    batch: int,
    inputs: int,
    size: int,
    outputs: int,
    kernel: int,
    padding: int,
    stride: int,
    precision: str,
) -> None:
    x, weight = signs(batch, inputs, size, size, seed=0), signs(outputs, inputs, kernel, kernel, seed=1)
    window = {"padding": padding, "stride": stride}
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        if precision == "bfloat16":
            x = x.to(torch.bfloat16)  # as batch norm's output is
        found = value_and_gradients(integers.sign_conv2d, x, weight, **window)
        expected = value_and_gradients(F.conv2d, x, weight, **window)
    for ours, torchs in zip(found, expected, strict=True):
        assert ours.dtype == torchs.dtype and torch.equal(ours, torchs)
    exact = F.conv2d(x.double(), weight.double(), padding=padding, stride=stride)
    assert torch.equal(found[0].double(), exact.to(found[0].dtype).double())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("model", "size", "strided"),
    [("birealnet-18", 64, 3), ("reactnet-a", 32, 4), ("resnet-20", 16, 2), ("binary-alexnet", 64, 0)],
)
def test_a_network_gives_the_same_bits_with_and_without(
    model: str, size: int, strided: int, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = MODELS[model]((3, size, size), 10, METHODS["latent-sgd"](), 1, width=0.25)
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    monkeypatch.setattr(integers, "PLACES", 1)
    x = torch.randn(4, 3, size, size, generator=torch.Generator().manual_seed(0))
    x = x.contiguous(memory_format=torch.channels_last)
    strides, convolve = [], layers.sign_conv2d
    monkeypatch.setattr(layers, "sign_conv2d", lambda *a: strides.append(a[3]) or convolve(*a))

    def logits_and_gradients() -> list[Tensor]:
        network.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            logits = network(x)
        logits.float().square().mean().backward()
        return [logits.detach(), *(p.grad.clone() for p in network.parameters() if p.grad is not None)]

    found = logits_and_gradients()
    assert strides.count(2) == strided and len(strides) >= 4
    monkeypatch.setattr(layers, "can_use_integers", lambda *a: False)
    used = len(strides)
    expected = logits_and_gradients()
    assert len(strides) == used
    assert all(torch.equal(ours, torchs) for ours, torchs in zip(found, expected, strict=True))
    assert all(gradient.isfinite().all() for gradient in found)


def test_double_precision_stays_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    monkeypatch.setattr(integers, "PLACES", 1)
    layer = BinaryConv2d(METHODS["bop"](), 4, 5, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore
    x = torch.randn(2, 4, 8, 8).contiguous(memory_format=torch.channels_last)
    for dtype, used in ((torch.float32, 1), (torch.float64, 1)):
        assert layer.to(dtype)(Sign("clipped")(x.to(dtype))).dtype == dtype
        assert len(seen) == used


def test_they_are_used_where_the_processor_supports_them() -> None:
    assert integers.integers_are_exact()


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows whenever a layer convolves in integers."""
    seen: list[int] = []
    convolve = layers.sign_conv2d
    monkeypatch.setattr(layers, "sign_conv2d", lambda *a: seen.append(1) or convolve(*a))
    return seen


@pytest.mark.parametrize("method", [name for name in METHODS if always_signs(METHODS[name]().read)])
def test_a_layer_after_a_sign_uses_integers_and_one_on_the_image_does_not(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, rule = calls(monkeypatch), METHODS[method]()
    monkeypatch.setattr(integers, "PLACES", 1)
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    first, second = BinaryConv2d(rule, 3, 4, 3), BinaryConv2d(rule, 4, 5, 3, padding=1, stride=2)
    network = nn.Sequential(first, Sign("clipped"), second).to(memory_format=torch.channels_last)  # type: ignore
    between = first(x)
    assert seen == []
    expected = F.conv2d(sign(between), second.binary_weight(), padding=1, stride=2)
    assert torch.equal(network(x), expected)
    assert seen == [1]
    nn.functional.max_pool2d(Sign("clipped")(between), 2)  # a tensor computed from signs is not marked
    second(
        nn.functional.avg_pool2d(Sign("clipped")(between), 2).contiguous(memory_format=torch.channels_last)
    )
    assert seen == [1]


@pytest.mark.parametrize(
    ("batch", "size", "kernel", "padding", "stride", "used"),
    [
        (8, 8, 3, 1, 1, True),  # 512 places
        (7, 8, 3, 1, 1, False),
        (8, 16, 3, 1, 2, True),
        (8, 8, 3, 1, 2, False),
        (14, 8, 3, 0, 1, False),  # 504
        (15, 8, 3, 0, 1, True),
        (100, 6, 6, 0, 1, False),  # a dense layer as a convolution
    ],
)
def test_few_places_are_not_worth_packing_the_weights(
    batch: int,
    size: int,
    kernel: int,
    padding: int,
    stride: int,
    used: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen = calls(monkeypatch)
    layer = BinaryConv2d(METHODS["bop"](), 4, 5, kernel, padding, stride)
    layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    value = layer(Sign("clipped")(signs(batch, 4, size, size, seed=0)))
    assert bool(seen) is used
    assert (len(value) * value[0, 0].numel() >= 512) is used


def test_a_method_that_may_read_real_weights_stays_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    monkeypatch.setattr(integers, "PLACES", 1)
    rule = WeightRule(start=torch.clone, read=lambda w: w, optimizer=lambda p: torch.optim.SGD(p, 0.1))
    layer = BinaryConv2d(rule, 4, 5, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore
    x = Sign("clipped")(signs(2, 4, 8, 8, seed=0))
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, padding=1)) and seen == []


def test_a_torch_without_the_operator_stays_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(integers, "_in_integers", fails)
    assert not integers.integers_are_exact.__wrapped__()
    for wrong in (1, 2):  # the stride at which the operator is wrong
        monkeypatch.setattr(
            integers,
            "_in_integers",
            lambda x, w, p, s, d, wrong=wrong: F.conv2d(x, w, padding=p, stride=s) + (s == wrong),
        )
        assert not integers.integers_are_exact.__wrapped__()
    monkeypatch.setattr(integers, "_in_integers", lambda x, w, p, s, d: F.conv2d(x, w, padding=p, stride=s))
    assert integers.integers_are_exact.__wrapped__()


def test_another_processor_stays_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not integers.integers_are_exact.__wrapped__()

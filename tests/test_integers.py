"""Convolutions in integers against torch's in floating point: the same bits, forward and backward."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optimizers import METHODS
from optimizers.core import WeightRule, always_signs, sign
from suite.models import integers, layers
from suite.models.layers import BinaryConv2d, Sign

pytestmark = pytest.mark.skipif(
    not torch.cpu.get_capabilities().get("avx512_vnni"), reason="a processor without integer convolutions"
)
SHAPES = [(2, 16, 9, 16, 1), (3, 5, 7, 6, 1), (1, 70, 12, 33, 0), (4, 512, 7, 40, 1), (2, 1, 8, 3, 1)]


def signs(*shape: int, seed: int) -> Tensor:
    values = torch.randint(2, shape, generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0
    return values.contiguous(memory_format=torch.channels_last)


def value_and_gradients(convolve, x: Tensor, weight: Tensor, padding: int) -> tuple[Tensor, ...]:
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    value = convolve(x, weight, padding=padding)
    toward = torch.randn(value.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float32)
    toward = toward.contiguous(memory_format=torch.channels_last)
    value.backward(toward.to(value.dtype))
    assert x.grad is not None and weight.grad is not None
    return value.detach(), x.grad, weight.grad


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("batch", "inputs", "size", "outputs", "padding"), SHAPES)
def test_the_bits_of_the_float_convolution(
    batch: int, inputs: int, size: int, outputs: int, padding: int, precision: str
) -> None:
    x, weight = signs(batch, inputs, size, size, seed=0), signs(outputs, inputs, 3, 3, seed=1)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        if precision == "bfloat16":
            x = x.to(torch.bfloat16)  # as batch norm's output is
        found = value_and_gradients(integers.sign_conv2d, x, weight, padding)
        expected = value_and_gradients(F.conv2d, x, weight, padding)
    for ours, torchs in zip(found, expected, strict=True):
        assert ours.dtype == torchs.dtype and torch.equal(ours, torchs)
    exact = F.conv2d(x.double(), weight.double(), padding=padding)
    assert torch.equal(found[0].double(), exact.to(found[0].dtype).double())


def test_they_are_used_where_the_processor_is_made_for_it() -> None:
    assert integers.integers_are_exact()


def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A list that grows whenever a layer convolves in integers."""
    seen: list[int] = []
    convolve = layers.sign_conv2d
    monkeypatch.setattr(layers, "sign_conv2d", lambda *a: seen.append(1) or convolve(*a))
    return seen


@pytest.mark.parametrize("method", [name for name in METHODS if always_signs(METHODS[name]().read)])
def test_a_layer_behind_a_sign_uses_integers_and_one_that_sees_the_image_does_not(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, rule = calls(monkeypatch), METHODS[method]()
    x = torch.randn(2, 3, 8, 8).contiguous(memory_format=torch.channels_last)
    first, second = BinaryConv2d(rule, 3, 4, 3), BinaryConv2d(rule, 4, 5, 3, padding=1)
    network = nn.Sequential(first, Sign("clipped"), second).to(memory_format=torch.channels_last)  # type: ignore
    between = first(x)
    assert seen == []
    assert torch.equal(
        network(x), F.conv2d(sign(F.conv2d(x, first.binary_weight())), second.binary_weight(), padding=1)
    )
    assert seen == [1]
    nn.functional.max_pool2d(Sign("clipped")(between), 2)  # what is made from signs is not marked
    second(
        nn.functional.avg_pool2d(Sign("clipped")(between), 2).contiguous(memory_format=torch.channels_last)
    )
    assert seen == [1]


def test_a_method_that_may_read_real_weights_stays_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = calls(monkeypatch)
    rule = WeightRule(start=torch.clone, read=lambda w: w, optimizer=lambda p: torch.optim.SGD(p, 0.1))
    layer = BinaryConv2d(rule, 4, 5, 3, padding=1).to(memory_format=torch.channels_last)  # type: ignore
    x = Sign("clipped")(signs(2, 4, 8, 8, seed=0))
    assert torch.equal(layer(x), F.conv2d(x, layer.weight, padding=1)) and seen == []


def test_a_torch_without_the_operator_stays_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object) -> None:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(integers, "_in_integers", fails)
    assert not integers.integers_are_exact.__wrapped__()
    monkeypatch.setattr(integers, "_in_integers", lambda x, w, p, d: F.conv2d(x, w, padding=p) + 1)
    assert not integers.integers_are_exact.__wrapped__()


def test_another_processor_stays_in_floating_point(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert not integers.integers_are_exact.__wrapped__()

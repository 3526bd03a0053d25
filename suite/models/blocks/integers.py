"""Convolutions of signs in 8-bit integers on a CPU: the same bits, in less time.

A sum of fewer than 2^24 terms of -1, 0 and +1 is exact both in float32 and in int32, so both give the same
result. The backward pass has real gradients and stays in floating point.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

# Packing the weights costs as much as the integers gain at about 200 places in float32, 700 in bfloat16.
PLACES = 512


def mark_signs(x: Tensor) -> Tensor:
    """Mark a tensor, and return it, as one with entries of -1 and +1 only."""
    x.holds_signs = True  # type: ignore[attr-defined]
    return x


def can_use_integers(x: Tensor, weight: Tensor, padding: int, stride: int) -> bool:
    """Whether `sign_conv2d` can replace F.conv2d and is faster.

    It can for signs, channels-last, on a CPU with fast integers; it is faster where the places are many.
    """
    return (
        getattr(x, "holds_signs", False)
        and x.device.type == "cpu"
        and x.dtype != torch.float64  # oneDNN has no such result
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()
        and _places(x, weight, padding, stride) >= PLACES
        and integers_are_exact()
    )


def _places(x: Tensor, weight: Tensor, padding: int, stride: int) -> int:
    """The number of places at which each filter is applied."""
    height, width = ((x.shape[d] + 2 * padding - weight.shape[d]) // stride + 1 for d in (2, 3))
    return x.shape[0] * height * width


def sign_conv2d(x: Tensor, weight: Tensor, padding: int, stride: int = 1) -> Tensor:
    """F.conv2d(x, weight, padding=padding, stride=stride) for x (N, C, H, W) and weight of -1 and +1.

    Both are channels-last.
    """
    return _SignConv2d.apply(x, weight, padding, stride)  # type: ignore[return-value]


class _SignConv2d(torch.autograd.Function):
    """Forward in integers, backward as in torch's float convolution."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, padding: int, stride: int) -> Tensor:
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype
        ctx.save_for_backward(x.to(dtype), weight.to(dtype))
        ctx.padding, ctx.stride = padding, stride
        return _in_integers(x, weight, padding, stride, dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        stride, padding, needed = [ctx.stride] * 2, [ctx.padding] * 2, [*ctx.needs_input_grad[:2], False]
        arguments = (None, stride, padding, [1, 1], False, [0, 0], 1, needed)
        of_x, of_weight, _ = torch.ops.aten.convolution_backward(gradients[0], x, weight, *arguments)
        return of_x, of_weight, None, None


def _in_integers(x: Tensor, weight: Tensor, padding: int, stride: int, dtype: torch.dtype) -> Tensor:
    """The convolution by oneDNN's quantized one; its result in `dtype`."""
    # oneDNN needs unsigned inputs: x + 1, with 1 as the zero point, also beyond the borders.
    from_zero_to_two = x.to(torch.int8).add_(1).view(torch.uint8)
    scale, zero = torch.ones(1), torch.zeros(1, dtype=torch.int32)
    window = ([stride] * 2, [padding] * 2, [1, 1], 1)  # stride, padding, dilation, groups
    # Packed for a zero point of 0, which is faster; the convolution then corrects for the zero point of 1.
    packed = torch.ops.onednn.qconv_prepack(weight.to(torch.int8), scale, 1.0, 0, *window, list(x.shape))
    return torch.ops.onednn.qconv2d_pointwise(
        from_zero_to_two, 1.0, 1, packed, scale, zero, None, *window, 1.0, 0, dtype, "none", [], ""
    )


@functools.cache
def integers_are_exact() -> bool:
    """Whether this CPU has 8-bit dot products and this torch gives the bits of the float convolution."""
    capabilities = torch.cpu.get_capabilities()
    if not (capabilities.get("avx512_vnni") or capabilities.get("avx_vnni")):
        return False  # without them oneDNN rounds and is not faster
    random = torch.Generator().manual_seed(0)
    x, weight = (
        (torch.randint(2, shape, generator=random) * 2.0 - 1.0).contiguous(memory_format=torch.channels_last)
        for shape in ((2, 32, 6, 6), (32, 32, 3, 3))
    )
    try:
        found = [_in_integers(x, weight, 1, stride, torch.float32) for stride in (1, 2)]
    except (AttributeError, RuntimeError):  # a torch version without this operator or with another signature
        return False
    expected = [F.conv2d(x, weight, padding=1, stride=stride) for stride in (1, 2)]
    return all(torch.equal(ours, torchs) for ours, torchs in zip(found, expected, strict=True))

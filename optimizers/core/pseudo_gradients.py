"""The sign that is never zero, and what the backward pass uses in place of its derivative.

The forward pass is always sign(x) with sign(0) = +1. The slopes are those of the literature, as larq names
them (https://docs.larq.dev/larq/api/quantizers/):

* identity: 1 (Bengio et al. 2013; the only one that satisfies Theorem 1 of Helwegen et al. on weights)
* clipped: 1 where |x| <= 1, inclusive (hard tanh; Hubara et al. 2016)
* approx_sign: 2 - 2|x| where |x| <= 1 (Bi-Real Net, Liu et al. 2018)
* swish_sign: b(2 - b x tanh(b x / 2)) / (1 + cosh(b x)) with b = 5 (BNN+, Darabi et al. 2018)
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def sign(x: Tensor) -> Tensor:
    """-1 where x < 0, else +1; same shape and dtype."""
    # Adding +0.0 turns -0.0 into +0.0; copysign is several times faster than torch.where on a CPU.
    without_minus_zero = x.detach() + 0.0
    one = torch.ones((), dtype=x.dtype, device=x.device)
    return torch.copysign(one, without_minus_zero, out=without_minus_zero)


def clipped_slope(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient where |x| <= 1, else 0."""
    # hardtanh_backward excludes its bounds; the next number above 1 makes |x| = 1 pass, in one pass.
    bound = 1.0 + torch.finfo(x.dtype).eps
    return torch.ops.aten.hardtanh_backward(gradient, x, -bound, bound)


def approx_sign_slope(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient * (2 - 2|x|) where |x| <= 1, else 0."""
    return gradient * (2.0 - 2.0 * x.abs()).clamp_(min=0.0)


def swish_sign_slope(gradient: Tensor, x: Tensor, beta: float = 5.0) -> Tensor:
    """gradient times the derivative of SignSwish; slightly negative in its tails."""
    # Beyond |b x| = 40 the slope is below 1e-15, and cosh would overflow where tanh is 1.
    scaled = (beta * x).clamp(-40.0, 40.0)
    return gradient * beta * (2.0 - scaled * torch.tanh(scaled / 2)) / (1.0 + torch.cosh(scaled))


class _Sign(torch.autograd.Function):
    """Forward sign, backward one of the slopes above."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(x)
        ctx.slope = slope
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return ctx.slope(gradients[0], *ctx.saved_tensors), None


class _IdentitySign(torch.autograd.Function):
    """Forward sign, backward identity: nothing to remember."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return sign(x)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0]


def _with(slope: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    def binarize(x: Tensor) -> Tensor:
        return _Sign.apply(x, slope)  # type: ignore[return-value]

    return binarize


def _identity(x: Tensor) -> Tensor:
    return _IdentitySign.apply(x)  # type: ignore[return-value]


PSEUDO_GRADIENTS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": _identity,
    "clipped": _with(clipped_slope),
    "approx_sign": _with(approx_sign_slope),
    "swish_sign": _with(swish_sign_slope),
}


def stored_signs(weight: Tensor) -> Tensor:
    """The stored tensor itself, for methods that store nothing but -1 and +1 at any time."""
    return weight


# Ways to read a tensor that give -1 and +1 whatever the training is at: layers may then count in integers.
ALWAYS_SIGNS = frozenset({stored_signs, *PSEUDO_GRADIENTS.values()})

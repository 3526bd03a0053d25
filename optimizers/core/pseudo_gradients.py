"""The sign that is never zero, and the pseudo-gradients that replace its derivative in the backward pass.

The forward pass is always sign(x) with sign(0) = +1. The slopes are those of the literature, as larq names
them (https://docs.larq.dev/larq/api/quantizers/):

* identity: 1 (Bengio et al. 2013; the only one that satisfies Theorem 1 of Helwegen et al. on weights)
* clipped: 1 where |x| <= 1, inclusive (hard tanh; Hubara et al. 2016)
* approx_sign: 2 - 2|x| where |x| <= 1 (Bi-Real Net, Liu et al. 2018)
* swish_sign: b(2 - b x tanh(b x / 2)) / (1 + cosh(b x)) with b = 5 (BNN+, Darabi et al. 2018)

Two that sharpen during training, as in their released code:

* ede, ede_0.1: k t (1 - tanh(t x)²) with k = max(1/t, 1); t grows to 10 from 0.001, nearly the identity, or
  from 0.1 (IR-Net, Qin et al. 2020, https://arxiv.org/abs/1909.10788). The released code starts at 0.001 only
  for ResNet-20 with binary activations, and at 0.1 for its other networks.
* reste: |x|^((1-o)/o) / o where |x| <= 1.5, from o = 1, the identity there, to o = 3 (ReSTE, Wu et al. 2023,
  https://arxiv.org/abs/2308.06689)

And two that are more than a slope: `dsq` learns its sharpness (Gong et al. 2019,
https://arxiv.org/abs/1908.05033), `stochastic` draws the sign during training (BinaryConnect, Courbariaux et
al. 2015, https://arxiv.org/abs/1511.00363).
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from optimizers.core.checks import check_one_of
from optimizers.core.method import Timed


def sign(x: Tensor) -> Tensor:
    """-1 where x < 0, else +1; same shape and dtype."""
    # Adding +0.0 turns -0.0 into +0.0; copysign is several times faster than torch.where on a CPU.
    without_minus_zero = x.detach() + 0.0
    one = torch.ones((), dtype=x.dtype, device=x.device)
    return torch.copysign(one, without_minus_zero, out=without_minus_zero)


def clipped_slope(gradient: Tensor, x: Tensor) -> Tensor:
    """gradient where |x| <= 1, else 0."""
    # hardtanh_backward excludes its bounds: with the next number above 1 as the bound it includes |x| = 1.
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
    """Forward sign, backward identity; it saves no tensor."""

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


def ede_slope(gradient: Tensor, x: Tensor, t: float) -> Tensor:
    """gradient times k t (1 - tanh(t x)²) with k = max(1/t, 1)."""
    return gradient * (max(1.0, t) * (1.0 - torch.tanh(t * x) ** 2))


def ede_sharpness(progress: float, decades: int = 4) -> float:
    """IR-Net's t at this progress: up to 10 from `decades` below, with a logarithm that grows linearly."""
    return 10.0 ** (1 - decades) * 10.0 ** (decades * progress)


def reste_slope(gradient: Tensor, x: Tensor, o: float) -> Tensor:
    """gradient times |x|^((1-o)/o) / o where |x| <= 1.5, else 0.

    It is the slope of |x|^(1/o), which is infinite at 0: where |x| <= 0.1, its mean over that range is used.
    """
    size = x.abs()
    mean = 0.1 ** (1.0 / o) / 0.1
    slope = torch.where(size > 0.1, size.clamp(min=0.1) ** ((1.0 - o) / o) / o, mean)
    return gradient * torch.where(size <= 1.5, slope, 0.0)


def reste_power(progress: float) -> float:
    """ReSTE's o at this progress: from 1, the identity, to 3 along a quarter of a cosine."""
    return 1.0 + 2.0 * (1.0 - math.cos(math.pi / 2.0 * progress))


class Ede(Timed):
    """The error decay estimator of IR-Net; its t grows over so many decades."""

    def __init__(self, decades: int = 4) -> None:
        super().__init__()
        self.decades = decades

    def forward(self, x: Tensor) -> Tensor:
        slope = functools.partial(ede_slope, t=ede_sharpness(self.progress, self.decades))
        return _Sign.apply(x, slope)  # type: ignore[return-value]


class ReSTE(Timed):
    """The rectified straight-through estimator."""

    def forward(self, x: Tensor) -> Tensor:
        slope = functools.partial(reste_slope, o=reste_power(self.progress))
        return _Sign.apply(x, slope)  # type: ignore[return-value]


class DSQ(nn.Module):
    """Differentiable soft quantization at one bit, with borders -1 and 1: a tanh whose sharpness is learned.

    Forward sign(x), backward through tanh(k x) / (1 - a) where |x| < 1, with k = log(2/a - 1) / 2, so that
    the curve ends in -1 and 1. `a`, a real parameter, is the distance of the curve from the sign: it starts
    at 0.2 and stays in [0.001, 0.5]. The paper learns the borders too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.2))

    def forward(self, x: Tensor) -> Tensor:
        # A clamp in the graph has no gradient beyond its ends: `a` could not return into its range.
        self.a.data.clamp_(1e-3, 0.5)
        k = torch.log(2.0 / self.a - 1.0) / 2.0
        return _identity(torch.tanh(k * x.clamp(-1.0, 1.0)) / (1.0 - self.a))


class StochasticSign(nn.Module):
    """In training +1 with probability (1 + x)/2, clipped to [0, 1], else -1; in evaluation the sign.

    The backward pass uses the slope of the mean: 1 where |x| <= 1. The draws come from torch's global
    generator.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return sign(x)
        return _StochasticSign.apply(x, torch.rand_like(x))  # type: ignore[return-value]


class _StochasticSign(torch.autograd.Function):
    """+1 where a number from [0, 1) is below (1 + x)/2, so never where (1 + x)/2 is 0; backward clipped."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, uniform: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return -sign(uniform - (1.0 + x) / 2.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return clipped_slope(gradients[0], *ctx.saved_tensors), None


_CLIPPED, _APPROX_SIGN, _SWISH_SIGN = _with(clipped_slope), _with(approx_sign_slope), _with(swish_sign_slope)

# Name -> constructor. A binarization that changes, learns or draws is a module: each call makes a new one.
PSEUDO_GRADIENTS: dict[str, Callable[[], Callable[[Tensor], Tensor]]] = {
    "identity": lambda: _identity,
    "clipped": lambda: _CLIPPED,
    "approx_sign": lambda: _APPROX_SIGN,
    "swish_sign": lambda: _SWISH_SIGN,
    "ede": Ede,
    "reste": ReSTE,
    "dsq": DSQ,
    "stochastic": StochasticSign,
    "ede_0.1": lambda: Ede(decades=2),
}

# Those whose slope is not zero beyond [-1, 1].
BEYOND_ONE = frozenset({"identity", "swish_sign", "ede", "reste", "ede_0.1"})


def pseudo_gradient(name: str) -> Callable[[Tensor], Tensor]:
    """The binarization of this name: a function, or a module if it changes, learns or draws.

    Raises BadHyper for an unknown name.
    """
    check_one_of(PSEUDO_GRADIENTS, pseudo_gradient=name)
    return PSEUDO_GRADIENTS[name]()


def stored_signs(weight: Tensor) -> Tensor:
    """The stored tensor itself, for methods that always store -1 and +1."""
    return weight


_SIGNS_OF_STORED = frozenset({sign, stored_signs, _identity, _CLIPPED, _APPROX_SIGN, _SWISH_SIGN})


def reads_the_sign(read: Callable[[Tensor], Tensor]) -> bool:
    """Whether `read` is known to return the sign of the stored tensor: then no call is needed to get it."""
    return read in _SIGNS_OF_STORED or isinstance(read, Ede | ReSTE)


def always_signs(read: Callable[[Tensor], Tensor]) -> bool:
    """Whether `read` is known to return only -1 and +1 throughout training: layers may use integers then."""
    return reads_the_sign(read) or isinstance(read, DSQ | StochasticSign)

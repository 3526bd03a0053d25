"""AdaSTE: the weight minimises an ever deeper double well around the stored number, and its slope adapts.

Le, Hoier, Lin and Zach, AdaSTE, CVPR 2022, https://arxiv.org/abs/2112.02880, from the released code (there
called FenBP); the paper's text was not available. With the stored theta, a = 0.01 and a growing beta,

    w = argmin over |w| <= 1 of (w - theta)²/2 + (beta/2) (w - (1 + a) sign(w))²
      = clip((theta + beta (1 + a) sign(theta)) / (1 + beta), -1, 1),

which is -1 or +1 wherever |theta| >= 1 - a beta, so everywhere once beta = 1/a. Where the step enlarges
|theta|, the slope is that of w: 1/(1 + beta), or 0 where w is saturated. Where it leads towards the jump at
theta = 0, the slope is the quotient of w's change over the smallest change of theta that reaches the jump.

There are two sets of slopes. `symmetric`, the default, follows this derivation (DERIVED here). `released` is
that of the code: one of its formulas has the sign of theta where the derivation has its magnitude, so that
positive and negative weights are not alike, and from beta = 1/a on its slope is half as large.

Further, the code lets every |g| <= eps pass with the slope 1/(1 + beta), for eps = 1e-3, and it multiplies by
the number of samples twice. At this strength |theta| is about 1e4 after one step, all weights are saturated
from then on, and the quotient is below 1e-4 (at gradients of 3e-4). So the published setting (the presets) is
a straight-through estimator with decay that drops every |g| > 1e-3: nothing in it adapts. The default
strength leaves |theta| at ten or less, where the slopes differ. There an eps above most gradients would let
them pass as they are: it is off unless it is set, and not searched.

Differences from the released code: beta grows in every step and not at each epoch's start; there is no second
forward pass in training mode whose batch statistics mix with those of the first. UNCERTAIN: the paper's bound
1/2 of the slope and its a.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor

from optimizers.core import (
    Addition,
    Flipper,
    Timed,
    WeightRule,
    choice,
    log,
    method,
    optional,
    scalar_zero,
    sign,
    uniform,
)
from optimizers.core.checks import (
    check_below_one,
    check_not_negative,
    check_one_of,
    check_positive,
    check_rates,
)

FAMILY = "relaxed weights"

ALPHA = 0.01  # a
BETA_START, BETA_END = 0.01, 1.0 / ALPHA
START = 10.0  # magnitude of theta, as released
STEEPEST = 0.5
SLOPES = ("symmetric", "released")


def steepness(progress: float, binary_at: float) -> float:
    """beta: from 0.01 by the same factor in every step to 1/a at progress `binary_at`, where it stays."""
    return BETA_START * (BETA_END / BETA_START) ** min(progress / binary_at, 1.0)


def well(theta: Tensor, beta: float) -> Tensor:
    """w: the nearer bottom of the double well, in [-1, 1]."""
    return ((theta + beta * (1.0 + ALPHA) * sign(theta)) / (1.0 + beta)).clamp(-1.0, 1.0)


def adaptive_slope(theta: Tensor, gradient: Tensor, beta: float, eps: float, slopes: str) -> Tensor:
    """The factor of the gradient g at w. A step goes against g, so it leads inwards where theta·g > 0.

    eps: up to this |g| the slope is that of an unsaturated w.
    """
    size, binary = theta.abs(), beta >= BETA_END
    saturated = size >= 1.0 - ALPHA * beta
    inwards = (gradient * sign(theta) > 0.0) & (gradient.abs() > eps)
    passes = (gradient.abs() <= eps) | ~saturated
    outside = (1.0 if binary else 1.0 / (1.0 + beta)) * passes.to(theta.dtype)

    jump = beta * (1.0 + ALPHA) / (1.0 + beta)  # the magnitude of w just beside theta = 0
    if slopes == "symmetric":
        rise = well(theta, beta).abs() + jump
    else:
        unsaturated = (2.0 * beta * (1.0 + ALPHA) - theta) / (1.0 + beta)
        rise = torch.where(saturated, 1.0 if binary else 1.0 + jump, unsaturated)
    return torch.where(inwards, (rise / size).clamp(0.0, STEEPEST), outside)


def adaste_update(theta: Tensor, gradient: Tensor, lr: float, strength: float) -> tuple[Tensor]:
    """One step without momentum: theta - lr (strength · c·g + theta); `gradient` is c·g."""
    return (theta - lr * (strength * gradient + theta),)


def adaste_momentum_update(
    theta: Tensor,
    average: Tensor,
    count: Tensor,
    gradient: Tensor,
    lr: float,
    strength: float,
    momentum: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same along an average of these directions, which starts at zero and is corrected for that."""
    count = count + 1.0
    average = momentum * average + (1.0 - momentum) * (strength * gradient + theta)
    return theta - lr * average / (1.0 - momentum**count), average, count


class _Read(torch.autograd.Function):
    """Forward the bottom of the well, backward the adaptive slope."""

    @staticmethod
    def forward(ctx: Any, theta: Tensor, beta: float, eps: float, slopes: str) -> Tensor:
        ctx.save_for_backward(theta)
        ctx.setting = (beta, eps, slopes)
        return well(theta, beta)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None, None]:
        (theta,) = ctx.saved_tensors
        return gradients[0] * adaptive_slope(theta, gradients[0], *ctx.setting), None, None, None


class DoubleWell(Timed):
    """Reads w of the stored theta at the present beta."""

    def __init__(self, binary_at: float, eps: float, slopes: str) -> None:
        super().__init__()
        self.binary_at, self.eps, self.slopes = binary_at, eps, slopes

    def forward(self, theta: Tensor) -> Tensor:
        beta = steepness(self.progress, self.binary_at)
        return _Read.apply(theta, beta, self.eps, self.slopes)  # type: ignore[return-value]


def _published(samples: int, **setting: Any) -> dict[str, Any]:
    """The released setting for so many training images, by ten times which it multiplies twice."""
    released = {"lr": {"cosine": [3e-4, 1e-16]}, "strength": (10.0 * samples) ** 2}
    return {**released, "eps": 1e-3, "slopes": "released", **setting}


PAPER = (
    "Le et al., AdaSTE, An Adaptive Straight-Through Estimator to Train Binary Neural Networks, CVPR 2022, "
    "https://arxiv.org/abs/2112.02880"
)


@method(
    paper=PAPER,
    lr=log(3e-4, 1e-5, 1e-2),
    strength=log(1e5, 1e3, 1e8),
    binary_at=uniform(0.27, 0.1, 1.0),
    momentum=choice(0.9, 0.0),
    eps=optional(choice(1e-3), Addition("every gradient up to eps passes, as released", PAPER)),
    slopes=choice(*SLOPES),
    presets={
        "cifar10": _published(45_000, binary_at=189 / 700, momentum=0.9),
        "cifar100": _published(45_000, binary_at=189 / 500, momentum=0.0),
    },
)
def adaste(
    lr: float, strength: float, binary_at: float, momentum: float, eps: float | None, slopes: str
) -> WeightRule:
    """Read a latent weight through an ever deeper double well, with a slope that depends on the gradient."""
    check_rates(binary_at=binary_at)
    check_positive(lr=lr, strength=strength)
    if eps is not None:
        check_not_negative(eps=eps)
    check_below_one(momentum=momentum)
    check_one_of(SLOPES, slopes=slopes)
    plain = partial(Flipper, update=adaste_update, state={})
    heavy = partial(
        Flipper,
        update=adaste_momentum_update,
        state=dict(average=torch.zeros_like, count=scalar_zero),
        momentum=momentum,
    )
    return WeightRule(
        start=lambda initial: START * sign(initial),
        read=DoubleWell(binary_at, eps or 0.0, slopes),
        deploy=sign,
        optimizer=partial(heavy if momentum else plain, lr=lr, strength=strength),
    )

"""C3: to lower the learning rate late in training is to raise the inertia of the latent weights.

At half-time either the learning rate is divided by a factor, or the latent weights and their clip are
multiplied by it. The forward pass reads signs alone, so with a slope that does not depend on the magnitude
both trainings flip the same weights ever after: to the bit if the factor is a power of two. Momentum's buffer
and Adam's moments are averages of gradients, which neither change touches. Coupled weight decay, transforms
and flip controls do depend on the magnitude; in the defaults they are off.
"""

from collections.abc import Iterable
from typing import Any

import torch

from optimizers.core import WeightRule, choice, log, method, uniform
from optimizers.core.checks import check_below_one, check_one_of, check_positive
from optimizers.core.latent.rule import LATENT, LatentStep, latent_rule
from optimizers.latent import LatentAdam, LatentSGD

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"

HALF_TIME = 0.5
CHANGES = ("none", "lower-lr", "raise-latents")
_CHANGE: dict[str, Any] = {"late": choice(*CHANGES), "factor": log(8.0, 1.0, 64.0)}


def lower_rate(group: dict[str, Any]) -> None:
    """Divide the learning rate of all later steps by the factor, also where it follows a schedule."""
    group["lr_scale"] /= group["factor"]


def raise_latents(group: dict[str, Any]) -> None:
    """Multiply the latent weights and the largest magnitude that they may have by the factor."""
    for weight in group["params"]:
        weight.mul_(group["factor"])
    if group["bound"] is not None:
        group["bound"] *= group["factor"]


class LateChange(LatentStep):
    """Mixed into a latent optimizer: changes its groups once, before the first step of the second half."""

    def __init__(self, params: Iterable[Any], *, late: str, factor: float, **settings: Any) -> None:
        super().__init__(params, **settings)
        for group in self.param_groups:
            group.update(progress=0.0, late=late, factor=factor, changed=False)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            if group["progress"] >= HALF_TIME and not group["changed"]:
                if group["late"] == "lower-lr":
                    lower_rate(group)
                elif group["late"] == "raise-latents":
                    raise_latents(group)
                group["changed"] = True
        super().step(closure)


class LateSGD(LateChange, LatentSGD):
    """SGD, with or without momentum."""


class LateAdam(LateChange, LatentAdam):
    """Adam."""


def _late(optimizer: type[LateChange], habits: dict[str, Any], **settings: Any) -> WeightRule:
    check_one_of(CHANGES, late=settings["late"])
    check_positive(factor=settings["factor"])
    return latent_rule(optimizer, habits, **settings)


@method(paper=PAPER, lr=log(1.0, 1e-2, 1e2), **_CHANGE, **LATENT)
def late_sgd(lr: float, late: str, factor: float, **habits: Any) -> WeightRule:
    """Latent SGD that lowers its rate or raises its latent weights at half-time."""
    return _late(LateSGD, habits, lr=lr, late=late, factor=factor, foreach=True)


@method(paper=PAPER, lr=log(0.1, 1e-3, 1e1), momentum=uniform(0.9, 0.0, 0.99), **_CHANGE, **LATENT)
def late_momentum(lr: float, momentum: float, late: str, factor: float, **habits: Any) -> WeightRule:
    """Latent Momentum that lowers its rate or raises its latent weights at half-time."""
    check_below_one(momentum=momentum)
    return _late(LateSGD, habits, lr=lr, momentum=momentum, late=late, factor=factor, fused=True)


@method(
    paper=PAPER,
    lr=log(1e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    **_CHANGE,
    **LATENT,
)
def late_adam(lr: float, beta1: float, beta2: float, late: str, factor: float, **habits: Any) -> WeightRule:
    """Latent Adam that lowers its rate or raises its latent weights at half-time."""
    check_below_one(beta1=beta1, beta2=beta2)
    betas = (beta1, beta2)
    return _late(LateAdam, habits, lr=lr, betas=betas, late=late, factor=factor, eps=1e-7, fused=True)

"""Diode, sign descent: the weight opposes a slow average of the sign of a fast average of the gradient.

Guo et al., ECCV 2024, from the released optimizer (DiodeMix in bitorch-engine). At a constant learning rate
only the ratio of lr to the random start of the slow average matters: lr and the scale of that start, 1e-3,
are one knob. A schedule of lr changes the influence of recent steps. At the defaults most weights take
thousands of steps to their first flip, since s has to move by about 1e-3 in steps of 1e-8.
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, choice, log, method, sign, stored_signs
from optimizers.core.checks import check_below_one, check_positive

FAMILY = "filters and thresholds"

START = 1e-3  # the largest first magnitude of the slow average, as released


def diode_update(
    weight: Tensor, fast: Tensor, slow: Tensor, gradient: Tensor, lr: float, beta1: float, beta2: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the released rule: l averages g (beta1), s averages lr · sign(l) (beta2), w = -sign(s).

    sign(l) is 0 at l = 0, so a dead gradient has no effect. At s = 0 the weight stays (released: +1).
    """
    fast = torch.lerp(fast, gradient, 1.0 - beta1)
    slow = torch.lerp(slow, lr * torch.sign(fast), 1.0 - beta2)
    return torch.where(weight * slow > 0.0, -weight, weight), fast, slow


def agreeing_start(weight: Tensor) -> Tensor:
    """A slow average that agrees with the weight, of random size: -w · U(0, 1) · 1e-3."""
    return -weight * torch.rand_like(weight) * START


@method(
    paper=(
        "Guo et al., Diode, Reinventing Binary Neural Networks Training with Sign Descent Optimization, "
        "ECCV 2024, https://github.com/GreenBitAI/bitorch-engine"
    ),
    lr=log(1e-4, 1e-5, 1.0),
    beta1=choice(0.99, 0.9, 0.0),
    beta2=choice(0.9999, 0.999, 0.99),
)
def diode(lr: float, beta1: float, beta2: float) -> WeightRule:
    """Oppose a slow average of the sign of a fast average of the gradient."""
    check_positive(lr=lr)
    check_below_one(beta1=beta1, beta2=beta2)
    optimizer = partial(
        Flipper,
        update=diode_update,
        state=dict(fast=torch.zeros_like, slow=agreeing_start),
        lr=lr,
        beta1=beta1,
        beta2=beta2,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

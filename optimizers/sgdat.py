"""SGDT and SGDAT: latent SGD whose weight follows the sign of the latent only beyond a threshold.

Gu et al., Neurocomputing 555, 2023, from the released code; the paper's text was not available. There both
latents start at ZERO, while the first signs are random. SGDT clips its latent to [-1, 1], SGDAT does not.

In SGDAT the threshold grows with the flips of the weight. The release keeps that count (and the momentum) in
an optimizer that its training script creates again in every epoch, so the script counts the flips within an
epoch: `counted="epoch"`. The optimizer by itself counts the flips of the whole run, an annealing that depends
on the run's length: `counted="run"`. UNCERTAIN: which of them the paper means; and the default threshold,
1e-6 in some versions of the README and 1e-7 in others. Here the momentum is not reset.

Without a clip, and unless lr follows a schedule, only the ratio threshold / lr matters.
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, choice, log, method, scalar_zero, sign, stored_signs
from optimizers.core.checks import check_below_one, check_not_negative, check_one_of, check_positive

FAMILY = "filters and thresholds"

PAPER = (
    "Gu et al., SGDAT, an optimization method for binary neural networks, Neurocomputing 555, 2023, "
    "https://doi.org/10.1016/j.neucom.2023.126431"
)


def sgdt_update(
    weight: Tensor, latent: Tensor, gradient: Tensor, lr: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """One step of SGDT: w becomes the sign of the latent where |latent| > threshold, else it stays."""
    latent = (latent - lr * gradient).clamp(-1.0, 1.0)
    return torch.where(latent.abs() > threshold, sign(latent), weight), latent


def sgdat_update(
    weight: Tensor,
    latent: Tensor,
    velocity: Tensor,
    count: Tensor,
    epoch_of_count: Tensor,
    gradient: Tensor,
    lr: float,
    threshold: float,
    momentum: float,
    epoch: int,
    counted: str,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """One step of SGDAT: w becomes the sign of the latent where |latent| > threshold · n, else it stays.

    n, from zero, counts the flips of the weight before this step, in the run or in the epoch. So the first
    flip needs no threshold: before it a weight stays only where its latent is exactly zero (a dead gradient)
    or has its sign.
    """
    if counted == "epoch":
        count = torch.where(epoch_of_count == epoch, count, 0.0)
    velocity = momentum * velocity + gradient
    latent = latent - lr * velocity
    after = torch.where(latent.abs() > threshold * count, sign(latent), weight)
    return after, latent, velocity, count + (after != weight), torch.full_like(epoch_of_count, epoch)


@method(paper=PAPER, lr=log(1e-4, 1e-5, 1.0), threshold=log(1e-8, 1e-9, 1e-3))
def sgdt(lr: float, threshold: float) -> WeightRule:
    """Latent SGD from zero whose weight flips only where the latent exceeds a threshold."""
    check_positive(lr=lr)
    check_not_negative(threshold=threshold)
    optimizer = partial(
        Flipper, update=sgdt_update, state=dict(latent=torch.zeros_like), lr=lr, threshold=threshold
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)


@method(
    paper=PAPER,
    lr=log(1e-4, 1e-5, 1e-3),
    threshold=log(1e-7, 1e-9, 1e-4),
    momentum=choice(0.0, 0.9),
    counted=choice("run", "epoch"),
)
def sgdat(lr: float, threshold: float, momentum: float, counted: str) -> WeightRule:
    """Latent SGD from zero with a threshold that grows with the flips of the weight."""
    check_positive(lr=lr)
    check_not_negative(threshold=threshold)
    check_below_one(momentum=momentum)
    check_one_of(("run", "epoch"), counted=counted)
    state = {name: torch.zeros_like for name in ("latent", "velocity", "count")}
    optimizer = partial(
        Flipper,
        update=partial(sgdat_update, counted=counted),
        state={**state, "epoch_of_count": scalar_zero},
        lr=lr,
        threshold=threshold,
        momentum=momentum,
        epoch=1,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

"""CEMA, cascaded moving averages: latent SGD with momentum and decay, read as a filter on the gradient.

Quist, Li and van Gemert, ICLR 2023, from the released optimizer. The release decays alpha linearly to zero,
keeps gamma constant, uses no scale of the weights, and covers ImageNet only. UNCERTAIN: the defaults. The
release names none; alpha 1e-3 and gamma 0.1 are of the paper's order of magnitude, as far as we remember.
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, log, method, sign, stored_signs
from optimizers.core.checks import check_rates

FAMILY = "filters and thresholds"


def cema_update(
    weight: Tensor, momentum: Tensor, inertia: Tensor, gradient: Tensor, alpha: float, gamma: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One step: m averages the gradient with rate gamma, r averages m with rate alpha, both from zero.

    The weight flips where w·r > 0, without a threshold; at r = 0, with a dead gradient, it stays. m has the
    role of momentum (gamma = 1 - mu), r that of the latent weight, with alpha = lr · weight decay.
    """
    momentum = torch.lerp(momentum, gradient, gamma)
    inertia = torch.lerp(inertia, momentum, alpha)
    return torch.where(weight * inertia > 0.0, -weight, weight), momentum, inertia


@method(
    paper=(
        "Quist et al., Understanding weight-magnitude hyperparameters in training binary networks, "
        "ICLR 2023, https://arxiv.org/abs/2303.02452"
    ),
    alpha=log(1e-3, 1e-6, 1e-1),
    gamma=log(0.1, 1e-3, 1.0),
)
def cema(alpha: float, gamma: float) -> WeightRule:
    """Flip a weight against the sign of a moving average of a moving average of its gradient."""
    check_rates(alpha=alpha, gamma=gamma)
    optimizer = partial(
        Flipper,
        update=cema_update,
        state=dict(momentum=torch.zeros_like, inertia=torch.zeros_like),
        alpha=alpha,
        gamma=gamma,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

"""BOAT, binary optimizer with adaptive thresholds: the threshold is the root of a sum of squared gradients.

Gu, 2025, from the released code. UNCERTAIN: venue and text of the paper, which could not be found, and its
claims. The threshold only grows, while the accumulated gradient decays: weights freeze during training.
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, log, method, sign, stored_signs
from optimizers.core.checks import check_below_one, check_not_negative

FAMILY = "filters and thresholds"


def boat_update(
    weight: Tensor, push: Tensor, squares: Tensor, gradient: Tensor, eta: float, weight_decay: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the released code: w becomes the sign of the push where |push| > sqrt(v), else it stays.

    push = (1 - weight_decay) · push - g and v = v + eta · g² start at zero; v never decays. The step does not
    change if all gradients are multiplied by a constant: there is no learning rate and no threshold to tune.
    """
    squares = squares + eta * (gradient * gradient)
    push = (1.0 - weight_decay) * push - gradient
    return torch.where(push.abs() > squares.sqrt(), sign(push), weight), push, squares


@method(
    paper="Gu, BOAT, Binary Optimizer with Adaptive Thresholds, 2025, https://github.com/gushan/BOAT",
    eta=log(0.1, 1e-3, 10.0),
    weight_decay=log(1e-3, 1e-5, 1e-1),
)
def boat(eta: float, weight_decay: float) -> WeightRule:
    """Follow the accumulated gradient where it exceeds a threshold that grows with the squared gradients."""
    check_not_negative(eta=eta)
    check_below_one(weight_decay=weight_decay)
    optimizer = partial(
        Flipper,
        update=boat_update,
        state=dict(push=torch.zeros_like, squares=torch.zeros_like),
        eta=eta,
        weight_decay=weight_decay,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

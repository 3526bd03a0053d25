"""Bop with a second moment, so that the threshold is in units of the gradient's own size.

Suarez-Ramirez et al., CVPR workshops 2021. The released code holds the biased form only; the paper's abstract
calls the unbiased one "bias-corrected", and Adam's correction is used here. UNCERTAIN: that correction.
The defaults are those of the README's exploration (tau 1e-6, gamma 1e-7, sigma 1e-3), the preset those of the
release for Bi-Real Net. The settings behind its 91.9 % (biased) and 91.4 % (unbiased) on CIFAR-10 are hparams
sets that the release names but does not contain, so these figures cannot be reproduced from it.

This is also an answer to a question that the authors of Bop left open, a threshold for each weight:
m / sqrt(v) > threshold is m > threshold · sqrt(v).
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, choice, log, method, scalar_zero, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_rates

EPSILON = 1e-10  # as released


def second_order_update(
    weight: Tensor,
    average: Tensor,
    square: Tensor,
    gradient: Tensor,
    gamma: float,
    sigma: float,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of the released, biased form: flip where w·m / (sqrt(v) + 1e-10) > threshold.

    m is a moving average of the gradient with rate gamma, v one of its square with rate sigma; both start at
    zero. At equality the weight stays (the release makes it +1, as larq's Bop does).
    """
    average = torch.lerp(average, gradient, gamma)
    square = torch.lerp(square, gradient * gradient, sigma)
    return _flipped(weight, average, square, threshold), average, square


def unbiased_second_order_update(
    weight: Tensor,
    average: Tensor,
    square: Tensor,
    average_of_ones: Tensor,
    square_of_ones: Tensor,
    gradient: Tensor,
    gamma: float,
    sigma: float,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """The same with m / (1 - (1 - gamma)^t) and v / (1 - (1 - sigma)^t) in the comparison.

    Each divisor is kept as the same moving average of a constant one: that stays correct under a schedule,
    and precise in float32 at a rate of 1e-7.
    """
    average = torch.lerp(average, gradient, gamma)
    square = torch.lerp(square, gradient * gradient, sigma)
    average_of_ones = average_of_ones + gamma * (1.0 - average_of_ones)
    square_of_ones = square_of_ones + sigma * (1.0 - square_of_ones)
    weight = _flipped(weight, average / average_of_ones, square / square_of_ones, threshold)
    return weight, average, square, average_of_ones, square_of_ones


def _flipped(weight: Tensor, average: Tensor, square: Tensor, threshold: float) -> Tensor:
    return torch.where(weight * (average / (square.sqrt() + EPSILON)) > threshold, -weight, weight)


@method(
    paper="Suarez-Ramirez et al., Bop and Beyond, CVPR workshops 2021, https://arxiv.org/abs/2104.05124",
    gamma=log(1e-7, 1e-7, 1e-1),
    sigma=log(1e-3, 1e-5, 1e-1),
    threshold=log(1e-6, 1e-6, 1.0),
    unbiased=choice(False, True),
    presets={
        "imagenet": {
            "gamma": {"linear": [1e-4, 1e-9]},
            "sigma": {"linear": [1e-5, 1e-2]},
            "threshold": {"linear": [1e-8, 1e-5]},
        }
    },
)
def bop_second_order(gamma: float, sigma: float, threshold: float, unbiased: bool) -> WeightRule:
    """Bop on the average gradient divided by the root of its average square."""
    check_rates(gamma=gamma, sigma=sigma)
    check_not_negative(threshold=threshold)
    update, state = second_order_update, dict(average=torch.zeros_like, square=torch.zeros_like)
    if unbiased:
        update = unbiased_second_order_update
        state |= dict(average_of_ones=scalar_zero, square_of_ones=scalar_zero)
    optimizer = partial(Flipper, update=update, state=state, gamma=gamma, sigma=sigma, threshold=threshold)
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

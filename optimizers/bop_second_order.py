"""Bop with a second moment, so that the threshold is in units of the gradient's own size.

Suarez-Ramirez et al., CVPR workshops 2021, https://github.com/CuauSuarez/Bop2ndOrder: its main branch holds
the biased form only, its branch `conference` also the unbiased one. The abstract calls that "bias-corrected",
but in every step its divisors are the rates, which are Adam's divisors in the first step only. So it is the
biased form at threshold · gamma / sqrt(sigma), but for the 1e-10 in the divisor. Both forms are searched over
the same thresholds: under noise the score's size is about sqrt(gamma/2) in the biased form and sqrt(sigma/(2
gamma)) in the unbiased one, where most draws therefore act like a threshold of zero, as the presets do.

The defaults are those of the README's exploration (tau 1e-6, gamma 1e-7, sigma 1e-3). The presets are those
of the branch: `cifar10`, the same for both forms, belongs to its 91.9 % (biased) and 91.4 % (unbiased), and
`imagenet` to its Bi-Real Net. experiments/paper/second-order.yaml has the whole setting for CIFAR-10.

This is also an answer to a question that the authors of Bop left open, a threshold for each weight:
m / sqrt(v) > threshold is m > threshold · sqrt(v).
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Addition, Flipper, WeightRule, choice, log, method, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_rates

FAMILY = "Bop and its descendants"

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
    gradient: Tensor,
    gamma: float,
    sigma: float,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """The same with m / gamma and v / sigma in the comparison: the released, unbiased form."""
    average = torch.lerp(average, gradient, gamma)
    square = torch.lerp(square, gradient * gradient, sigma)
    return _flipped(weight, average / gamma, square / sigma, threshold), average, square


def _flipped(weight: Tensor, average: Tensor, square: Tensor, threshold: float) -> Tensor:
    return torch.where(weight * (average / (square.sqrt() + EPSILON)) > threshold, -weight, weight)


PAPER = "Suarez-Ramirez et al., Bop and Beyond, CVPR workshops 2021, https://arxiv.org/abs/2104.05124"
UNBIASED = Addition("the averages divided by their rates, the unbiased form", PAPER)


@method(
    paper=PAPER,
    gamma=log(1e-7, 1e-7, 1e-1),
    sigma=log(1e-3, 1e-5, 1e-1),
    threshold=log(1e-6, 1e-6, 1.0),
    unbiased=choice(False, True)._replace(adds={True: UNBIASED}, revised=True),
    presets={
        "cifar10": {
            "gamma": {"linear": [1e-2, 1e-5]},
            "sigma": {"linear": [1e-7, 1e-2]},
            "threshold": {"linear": [1e-5, 1e-8]},
        },
        "imagenet": {
            "gamma": {"linear": [1e-4, 1e-9]},
            "sigma": {"linear": [1e-5, 1e-2]},
            "threshold": {"linear": [1e-8, 1e-5]},
        },
    },
)
def bop_second_order(gamma: float, sigma: float, threshold: float, unbiased: bool) -> WeightRule:
    """Bop on the average gradient divided by the root of its average square."""
    check_rates(gamma=gamma, sigma=sigma)
    check_not_negative(threshold=threshold)
    optimizer = partial(
        Flipper,
        update=unbiased_second_order_update if unbiased else second_order_update,
        state=dict(average=torch.zeros_like, square=torch.zeros_like),
        gamma=gamma,
        sigma=sigma,
        threshold=threshold,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

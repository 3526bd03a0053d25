"""C4: for Bop a higher threshold is a smaller gradient, and a second moment is a threshold for each weight.

* scaled-bop: Bop whose gradient is multiplied by a number. With a power of two it flips, to the bit, the
  weights that Bop flips at threshold / number.
* bop-weight-threshold: Bop2ndOrder with its division moved to the other side of the comparison: it flips
  where w·m > threshold · (sqrt(v) + 1e-10) instead of w·m / (sqrt(v) + 1e-10) > threshold. If the threshold
  is a power of two, both comparisons agree for all float numbers: the product is exact, and a quotient above
  the threshold is at least the next number above it even after rounding. With another threshold they differ
  where the quotient rounds to a neighbour of the threshold, in the last bit.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.bop import Bop
from optimizers.bop_second_order import EPSILON
from optimizers.core import Flipper, WeightRule, log, method, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_positive, check_rates

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"
SECOND_ORDER = "Suarez-Ramirez et al., Bop and Beyond, CVPR workshops 2021, https://arxiv.org/abs/2104.05124"


class ScaledBop(Bop):
    """Bop on the gradient times the entry `gradient_scale` of its group."""

    def __init__(self, params: Iterable[Tensor], gamma: float, threshold: float, scale: float) -> None:
        super().__init__(params, gamma, threshold)
        for group in self.param_groups:
            group["gradient_scale"] = scale

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    weight.grad = weight.grad * group["gradient_scale"]
        super().step(closure)


def weight_threshold_update(
    weight: Tensor,
    average: Tensor,
    square: Tensor,
    gradient: Tensor,
    gamma: float,
    sigma: float,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Bop with the threshold · (sqrt(v) + 1e-10) for each weight; at equality the weight stays.

    v is a moving average of the squared gradient with rate sigma; m and v start at zero.
    """
    average = torch.lerp(average, gradient, gamma)
    square = torch.lerp(square, gradient * gradient, sigma)
    limit = threshold * (square.sqrt() + EPSILON)
    return torch.where(weight * average > limit, -weight, weight), average, square


@method(
    paper=PAPER,
    gamma=log(1e-4, 1e-6, 1e-1),
    threshold=log(1e-8, 1e-10, 1e-4),
    gradient_scale=log(1.0, 1e-3, 1e3),
)
def scaled_bop(gamma: float, threshold: float, gradient_scale: float) -> WeightRule:
    """Bop on gradients that are multiplied by a number."""
    check_rates(gamma=gamma)
    check_not_negative(threshold=threshold)
    check_positive(gradient_scale=gradient_scale)
    return WeightRule(
        start=sign,
        read=stored_signs,
        optimizer=lambda params: ScaledBop(params, gamma, threshold, gradient_scale),
    )


@method(
    paper=SECOND_ORDER,
    gamma=log(1e-7, 1e-7, 1e-1),
    sigma=log(1e-3, 1e-5, 1e-1),
    threshold=log(1e-6, 1e-6, 1.0),
)
def bop_weight_threshold(gamma: float, sigma: float, threshold: float) -> WeightRule:
    """Bop with a threshold for each weight, in units of the root of its average squared gradient."""
    check_rates(gamma=gamma, sigma=sigma)
    check_not_negative(threshold=threshold)
    return WeightRule(
        start=sign,
        read=stored_signs,
        optimizer=lambda params: Flipper(
            params,
            weight_threshold_update,
            {"average": torch.zeros_like, "square": torch.zeros_like},
            gamma=gamma,
            sigma=sigma,
            threshold=threshold,
        ),
    )

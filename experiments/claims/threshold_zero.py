"""C5: Bop without a threshold is latent SGD with weight decay.

Bop's average follows m ← (1 - gamma) m + gamma g, and at threshold 0 a weight is -sign(m). A latent weight
under SGD with weight decay follows w ← (1 - lr · decay) w - lr · g. With lr · decay = gamma and
m = -decay · w each is a multiple of the other: Bop's average, which starts at zero, is a latent weight that
starts at zero. At zero a weight keeps its sign in both, so both start from the same signs.

* sgd-with-decay: that latent SGD. Each layer stores the signs; the latent weights are a state.
* bop-at-zero: Bop at threshold 0.

In exact arithmetic both flip the same weights. In float32 they do so to the bit where lr and gamma < 1/2 are
powers of two: products with them are exact, so each rounded sum of one is a multiple of that of the other.
With other rates the two round differently, and where an average crosses zero within that error, a weight
flips in one of them and not in the other. `accumulator: float64` keeps the average, or the latent weights, in
double precision, where this is some 1e9 times rarer; weights, gradients and the network stay float32.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from optimizers.bop import bop_update
from optimizers.core import Flipper, WeightRule, choice, log, method, optional, sign, stored_signs
from optimizers.core.checks import check_one_of, check_positive, check_rates

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"

ACCUMULATORS = {None: torch.float32, "float64": torch.float64}
_ACCUMULATOR = optional(choice("float64"))


def average_update(weight: Tensor, average: Tensor, gradient: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
    """One step of Bop at threshold 0, in the precision of the average."""
    return bop_update(weight, average, gradient.to(average.dtype), gamma, 0.0)


def latent_update(
    weight: Tensor, latent: Tensor, gradient: Tensor, lr: float, weight_decay: float
) -> tuple[Tensor, Tensor]:
    """One step of SGD with coupled weight decay on the latent weight, in its precision, and its sign.

    The operations and their order are those of torch.optim.SGD. A weight whose latent weight is zero keeps
    its sign.
    """
    gradient = gradient.to(latent.dtype).add(latent, alpha=weight_decay)
    latent = latent.add(gradient, alpha=-lr)
    return torch.where(latent == 0.0, weight, sign(latent).to(weight.dtype)), latent


class Accumulating(Flipper):
    """A rule with one accumulator for each weight, which may have more bits than the weight."""

    def __init__(
        self, params: Any, update: Callable[..., Any], accumulator: str | None, **hypers: Any
    ) -> None:
        start = partial(torch.zeros_like, dtype=ACCUMULATORS[accumulator])
        super().__init__(params, update, {"accumulator": start}, **hypers)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """As in torch, which would round the accumulators to the precision of the weights."""
        super().load_state_dict(state_dict)
        weights = [weight for group in self.param_groups for weight in group["params"]]
        for index, saved in state_dict["state"].items():
            weight = weights[index]
            self.state[weight]["accumulator"] = saved["accumulator"].to(weight.device, copy=True)


def _accumulated(update: Callable[..., Any], accumulator: str | None, **hypers: Any) -> WeightRule:
    if accumulator is not None:
        check_one_of(("float64",), accumulator=accumulator)
    make = partial(Accumulating, update=update, accumulator=accumulator, **hypers)
    return WeightRule(start=sign, read=stored_signs, optimizer=make)


@method(paper=PAPER, gamma=log(1e-3, 1e-6, 1e-1), accumulator=_ACCUMULATOR)
def bop_at_zero(gamma: float, accumulator: str | None) -> WeightRule:
    """Bop at threshold 0."""
    check_rates(gamma=gamma)
    return _accumulated(average_update, accumulator, gamma=gamma)


@method(paper=PAPER, gamma=log(1e-3, 1e-6, 1e-1), lr=log(1.0, 1e-3, 1e3), accumulator=_ACCUMULATOR)
def sgd_with_decay(gamma: float, lr: float, accumulator: str | None) -> WeightRule:
    """Latent SGD from latent weights of zero, with the weight decay gamma / lr."""
    check_rates(gamma=gamma)
    check_positive(lr=lr)
    return _accumulated(latent_update, accumulator, lr=lr, weight_decay=gamma / lr)

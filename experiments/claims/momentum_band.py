"""C7: momentum spreads a gradient over time, which matters only where a latent weight may change its sign.

Heavy-ball momentum, b ← momentum · b + g and w ← w - lr · b, moves a weight by lr/(1 - momentum) · g for each
gradient, over many steps. Here it does so within the band |w| < band only. Outside, a weight moves at once by
all that it still has to move: w ← w - lr/(1 - momentum) · b, and b ← 0. So each gradient moves each weight by
lr/(1 - momentum) · g in all, as in Momentum and as in plain SGD at that rate. With a band beyond all weights
it is Momentum, with a band of zero it is SGD, both to the bit. With `side: outside` the band is for SGD and
the rest for momentum: the counterpart, which has momentum where no sign can change soon.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.core import WeightRule, choice, log, method, uniform
from optimizers.core.checks import check_below_one, check_not_negative
from optimizers.core.latent.rule import LATENT, latent_rule
from optimizers.latent import LatentSGD

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"


def paid_at_once(
    before: Tensor, after: Tensor, buffer: Tensor, lr: float, momentum: float, band: float, inside: bool
) -> tuple[Tensor, Tensor]:
    """The latent weight and the buffer after a step of Momentum that holds on one side of the band only.

    before, after: the latent weight before and after the step of Momentum. buffer: b after it.
    """
    plain = (before.abs() < band) != inside
    paid = before.add(buffer, alpha=-(lr / (1.0 - momentum)))
    return torch.where(plain, paid, after), buffer.masked_fill(plain, 0.0)


class BandedMomentum(LatentSGD):
    """Heavy-ball momentum where |w| < band, or elsewhere; band is an entry of the parameter groups."""

    def __init__(self, params: Iterable[Any], *, band: float, inside: bool, **settings: Any) -> None:
        super().__init__(params, **settings)
        self.inside = inside
        for group in self.param_groups:
            group["band"] = band

    def move(self) -> None:
        groups = [(g, [w for w in g["params"] if w.grad is not None]) for g in self.param_groups]
        before = {weight: weight.clone() for _, weights in groups for weight in weights}
        LatentSGD.move(self)
        for group, weights in groups:
            for weight in weights:
                buffer = self.state[weight].get("momentum_buffer")
                if buffer is None:  # without momentum there is nothing to pay
                    continue
                paid, left = paid_at_once(
                    before[weight], weight, buffer, group["lr"], group["momentum"], group["band"], self.inside
                )
                weight.copy_(paid)
                buffer.copy_(left)


@method(
    paper=PAPER,
    lr=log(0.1, 1e-3, 1e1),
    momentum=uniform(0.9, 0.0, 0.99),
    band=log(0.1, 1e-3, 1e1),
    side=choice("inside", "outside"),
    **LATENT,
)
def momentum_band(lr: float, momentum: float, band: float, side: str, **habits: Any) -> WeightRule:
    """Latent SGD with momentum only for latent weights near zero."""
    check_below_one(momentum=momentum)
    check_not_negative(band=band)
    inside = side == "inside"
    return latent_rule(BandedMomentum, habits, lr=lr, momentum=momentum, band=band, inside=inside, fused=True)

"""C18: Bop needs no real-valued training before it.

warm-start trains real weights with Adam for the first share of the training, and Bop from their signs for the
rest. In the first part the forward pass in training reads the real weights; evaluation and the flip counter
read their signs, so the scores of its epochs are those of a binary network with the batch norm of a real one.
At the change the layers store the signs, and Bop's average starts at zero; Adam's moments are used no more.
With a share of zero it is Bop.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.bop import bop, bop_update
from optimizers.core import WeightRule, choice, log, method, pseudo_gradient, sign, uniform
from optimizers.core.checks import BadHyper, check_not_negative, check_rates, check_shares
from optimizers.core.latent.rule import TwoSteps
from optimizers.latent import LatentAdam

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"


class WarmStart(LatentAdam):
    """Adam on real weights while progress < share, then Bop from their signs; one group for all weights."""

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        share: float,
        gamma: float,
        threshold: float,
        clip: float | None,
        lr: float,
    ) -> None:
        # One group with the entries that LatentStep reads.
        group = {"params": list(params), "bound": clip, "lr_scale": 1.0}
        super().__init__([group], lr=lr, eps=1e-7, fused=True)
        self.param_groups[0].update(progress=0.0, gamma=gamma, threshold=threshold)
        self.share = share  # in no group: it cannot follow a schedule, as the forward pass knows it too

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        (group,) = self.param_groups
        if group["progress"] < self.share:
            super().step(closure)
            return
        for weight in group["params"]:
            state = self.state[weight]
            if "average" not in state:
                weight.copy_(sign(weight))
                state["average"] = torch.zeros_like(weight)
            if weight.grad is None:
                continue
            flipped, average = bop_update(
                weight, state["average"], weight.grad, group["gamma"], group["threshold"]
            )
            weight.copy_(flipped)
            state["average"].copy_(average)


@method(
    paper=PAPER,
    gamma=log(1e-4, 1e-6, 1e-1),
    threshold=log(1e-8, 1e-10, 1e-4),
    share=uniform(0.3, 0.0, 0.9),
    lr=log(1e-3, 1e-5, 1e-1),
    clip=choice(1.0, None),
)
def warm_start(gamma: float, threshold: float, share: float, lr: float, clip: float | None) -> WeightRule:
    """Real weights with Adam for the first share of the training, then Bop from their signs."""
    check_rates(gamma=gamma)
    check_shares(share=share)
    check_not_negative(threshold=threshold, lr=lr)
    if clip is not None and not clip > 0.0:
        raise BadHyper("clip", f"clip must be > 0 or null, not {clip}")
    if share == 0.0:
        return bop(gamma=gamma, threshold=threshold)
    return WeightRule(
        start=lambda initial: initial if clip is None else initial.clamp(-clip, clip),
        read=TwoSteps(pseudo_gradient("identity"), share),
        deploy=sign,
        optimizer=lambda params: WarmStart(
            params, share=share, gamma=gamma, threshold=threshold, clip=clip, lr=lr
        ),
    )

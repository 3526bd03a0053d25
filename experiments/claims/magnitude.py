"""C21: the magnitude of a latent weight does not enter the gradient; it decides when the weight flips.

From half-time on the magnitudes |w| are permuted within each layer, and all signs stay:

* in-gradients: for the forward and the backward pass of each step; the step then moves the true latent
  weights. With a slope that does not depend on the magnitude the training is the same, to the bit, as one
  that permutes nothing. That is the claim. Its control is a slope that does depend on it, as `clipped`
  without a clip.
* once: for good, after the first step of the second half. The next gradient is the same, and from the next
  step on other weights flip.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.core import WeightRule, choice, log, method, sign, uniform
from optimizers.core.checks import check_below_one, check_one_of
from optimizers.core.latent.rule import LATENT, LatentStep, latent_rule
from optimizers.latent import LatentAdam, LatentSGD

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"

HALF_TIME = 0.5
PERMUTED = ("never", "in-gradients", "once")


def with_permuted_magnitudes(weight: Tensor, order: Tensor) -> Tensor:
    """The signs of `weight` with its magnitudes in another order, a permutation of 0 … n - 1.

    A magnitude of zero becomes the smallest normal number: the sign of zero is +1.
    """
    size = weight.abs().clamp(min=torch.finfo(weight.dtype).tiny).flatten()
    return sign(weight) * size[order].view(weight.shape)


class PermutedStep(LatentStep):
    """Mixed into a latent optimizer. The permutations come from torch's generator, seeded in every step."""

    def __init__(self, params: Iterable[Any], *, permuted: str, **settings: Any) -> None:
        super().__init__(params, **settings)
        for group in self.param_groups:
            group.update(progress=0.0, permuted=permuted, done=permuted == "never")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for weight, state in self._with_gradients():
            if "latent" in state:
                weight.copy_(state["latent"])
        super().step(closure)
        for group in self.param_groups:
            if group["progress"] >= HALF_TIME and not group["done"]:
                self._permute(group)

    def _with_gradients(self) -> Iterable[tuple[Tensor, dict[str, Tensor]]]:
        weights = (weight for group in self.param_groups for weight in group["params"])
        return [(weight, self.state[weight]) for weight in weights if weight.grad is not None]

    def _permute(self, group: dict[str, Any]) -> None:
        for weight in group["params"]:
            if weight.grad is None:
                continue
            if group["permuted"] == "in-gradients":
                self.state[weight].setdefault("latent", torch.empty_like(weight)).copy_(weight)
            order = torch.randperm(weight.numel(), device=weight.device)
            weight.copy_(with_permuted_magnitudes(weight, order))
        group["done"] = group["permuted"] == "once"


class PermutedSGD(PermutedStep, LatentSGD):
    """SGD."""


class PermutedAdam(PermutedStep, LatentAdam):
    """Adam."""


@method(paper=PAPER, lr=log(1.0, 1e-2, 1e2), permuted=choice(*PERMUTED), **LATENT)
def permuted_sgd(lr: float, permuted: str, **habits: Any) -> WeightRule:
    """Latent SGD whose latent magnitudes are permuted in each layer from half-time on."""
    check_one_of(PERMUTED, permuted=permuted)
    return latent_rule(PermutedSGD, habits, lr=lr, permuted=permuted, foreach=True)


@method(
    paper=PAPER,
    lr=log(1e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    permuted=choice(*PERMUTED),
    **LATENT,
)
def permuted_adam(lr: float, beta1: float, beta2: float, permuted: str, **habits: Any) -> WeightRule:
    """Latent Adam whose latent magnitudes are permuted in each layer from half-time on."""
    check_below_one(beta1=beta1, beta2=beta2)
    check_one_of(PERMUTED, permuted=permuted)
    betas = (beta1, beta2)
    return latent_rule(PermutedAdam, habits, lr=lr, betas=betas, permuted=permuted, eps=1e-7, fused=True)

"""Bop with a threshold that adapts to the layer: two answers to an open question.

Section 6 of Helwegen et al. (arXiv version 1) proposes to normalise the average by layer or by a second
moment, because one global threshold has a different meaning in every layer. The second moment is
Bop2ndOrder. These two are this suite's own: as far as we know, nobody has published them. Their defaults
were chosen on validation images of the digits, so a comparison on the digits favours them.
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, log, method, scalar_zero, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_rates

FAMILY = "Bop and its descendants"

IDEA = (
    "The suite's own; idea: Helwegen et al., Latent Weights Do Not Exist, 2019, "
    "https://arxiv.org/abs/1906.02107v1, section 6"
)


def layer_update(
    weight: Tensor, average: Tensor, gradient: Tensor, gamma: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """One step of Bop at threshold · rms(m), the root mean square over the tensor; at equality w stays."""
    average = torch.lerp(average, gradient, gamma)
    limit = threshold * average.square().mean().sqrt()
    return torch.where(weight * average > limit, -weight, weight), average


def quantile_update(
    weight: Tensor, average: Tensor, allowance: Tensor, gradient: Tensor, gamma: float, flip_rate: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Flip the weights with the largest w·m > 0, at most the share `flip_rate` of the tensor in a step.

    So the threshold is a quantile. `allowance` (a scalar, from zero) carries over the unused fraction of a
    flip: a layer of 100 weights at rate 1e-3 may flip one weight in every tenth step. Whole flips that a step
    does not use are lost. A weight with w·m = 0 stays.
    """
    average = torch.lerp(average, gradient, gamma)
    allowance = allowance + flip_rate * weight.numel()
    number = min(int(allowance), weight.numel())
    against, where = (weight * average).flatten().topk(number, sorted=False)
    signs = torch.ones_like(weight).flatten()
    signs[where] = torch.where(against > 0.0, -1.0, 1.0).to(weight.dtype)
    return weight * signs.view_as(weight), average, allowance - allowance.floor()


@method(paper=IDEA, gamma=log(1e-2, 1e-5, 1e-1), threshold=log(0.3, 0.01, 10.0))
def bop_layer(gamma: float, threshold: float) -> WeightRule:
    """Bop with a threshold in units of the layer's average gradient signal."""
    check_rates(gamma=gamma)
    check_not_negative(threshold=threshold)
    optimizer = partial(
        Flipper,
        update=layer_update,
        state=dict(average=torch.zeros_like),
        elementwise=False,
        gamma=gamma,
        threshold=threshold,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)


@method(paper=IDEA, gamma=log(1e-3, 1e-5, 1e-1), flip_rate=log(3e-3, 1e-5, 1e-1))
def bop_quantile(gamma: float, flip_rate: float) -> WeightRule:
    """Bop in which every layer may flip the same share of its weights in a step."""
    check_rates(gamma=gamma, flip_rate=flip_rate)
    optimizer = partial(
        Flipper,
        update=quantile_update,
        state=dict(average=torch.zeros_like, allowance=scalar_zero),
        elementwise=False,
        gamma=gamma,
        flip_rate=flip_rate,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

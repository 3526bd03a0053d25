"""C10: Bop averages gradients to find those that agree over time, not to follow a smooth landscape.

Bop's rule, a flip where something about the gradients pushes against the weight beyond a threshold, with
other filters in place of its moving average:

* last-gradient: none; it flips where w·g > threshold. That is Bop at gamma 1.
* sign-average: a moving average of the gradients' signs. It knows how consistent they are, as far back as
  Bop's average does, and not how large.
* agreement: a vote; it flips where at least the share `agreeing` of the last `window` gradients has the sign
  of the weight. A gradient of zero has no vote, and a flip keeps the votes: they now confirm the weight.
"""

import math
from functools import partial

import torch
from torch import Tensor

from optimizers.bop import bop_update
from optimizers.core import (
    Flipper,
    WeightRule,
    integer,
    log,
    method,
    scalar_zero,
    sign,
    stored_signs,
    uniform,
)
from optimizers.core.checks import BadHyper, check_not_negative, check_rates

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"


def last_gradient_update(weight: Tensor, gradient: Tensor, threshold: float) -> tuple[Tensor]:
    """One step of Bop whose average is the last gradient; at equality the weight stays."""
    return (torch.where(weight * gradient > threshold, -weight, weight),)


def sign_average_update(
    weight: Tensor, average: Tensor, gradient: Tensor, gamma: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """One step of Bop that averages the signs of the gradients."""
    return bop_update(weight, average, gradient.sign(), gamma, threshold)


def agreement_update(
    weight: Tensor, votes: Tensor, slot: Tensor, gradient: Tensor, agreeing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Flip where at least the share `agreeing` of the last gradients has the sign of the weight.

    votes: (window, *shape of the weight), the signs of the last gradients, 0 for no vote; starts at zero and
        is written in place.
    slot: the place of the oldest vote, which the new one takes; starts at 0.
    """
    votes.index_copy_(0, slot.long().view(1), gradient.sign()[None])
    against = (votes == weight).sum(0)
    needed = math.ceil(agreeing * len(votes) - 1e-9)  # 0.56 · 25 is 14, in floats a little more
    return torch.where(against >= needed, -weight, weight), votes, (slot + 1.0) % len(votes)


def _no_votes(weight: Tensor, window: int) -> Tensor:
    return weight.new_zeros(window, *weight.shape)


@method(paper=PAPER, threshold=log(1e-4, 1e-7, 1e-1))
def last_gradient(threshold: float) -> WeightRule:
    """Flip a weight when its last gradient has the same sign and exceeds a threshold."""
    check_not_negative(threshold=threshold)
    optimizer = partial(Flipper, update=last_gradient_update, state={}, threshold=threshold)
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)


@method(paper=PAPER, gamma=log(1e-3, 1e-6, 1e-1), threshold=log(1e-2, 1e-4, 1.0))
def sign_average(gamma: float, threshold: float) -> WeightRule:
    """Flip a weight when the average of its gradients' signs agrees with it beyond a threshold."""
    check_rates(gamma=gamma)
    check_not_negative(threshold=threshold)
    optimizer = partial(
        Flipper,
        update=sign_average_update,
        state={"average": torch.zeros_like},
        gamma=gamma,
        threshold=threshold,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)


@method(paper=PAPER, window=integer(16, 1, 32), agreeing=uniform(0.9, 0.5, 1.0))
def agreement(window: int, agreeing: float) -> WeightRule:
    """Flip a weight when enough of its last gradients have the same sign."""
    if not window >= 1:
        raise BadHyper("window", f"window must be >= 1, not {window}")
    check_rates(agreeing=agreeing)
    optimizer = partial(
        Flipper,
        update=agreement_update,
        state={"votes": partial(_no_votes, window=int(window)), "slot": scalar_zero},
        elementwise=False,
        agreeing=agreeing,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

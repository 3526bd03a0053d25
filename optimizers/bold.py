"""BOLD, Boolean logic deep learning: accumulate the gradient, flip at one, start again from zero.

Nguyen et al., NeurIPS 2024, Algorithm 8, of which only listings exist. It runs on the suite's networks and
gradients, without the paper's Boolean backward pass and its scaling by fan. UNCERTAIN: whether the paper's
signal is the mean or the sum over a batch (this is the mean of the loss; eta absorbs the factor), and the
value of eta: 150 with batch norm and 12 without, or the reverse, depending on who quotes it.
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, log, method, scalar_zero, sign, stored_signs
from optimizers.core.checks import check_positive

FAMILY = "filters and thresholds"


def bold_update(
    weight: Tensor, accumulated: Tensor, plasticity: Tensor, gradient: Tensor, eta: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of Algorithm 8: a = beta · a + eta · g; flip where a·w >= 1, and reset a to zero there.

    beta, the plasticity, is one number for the tensor: the share of its weights that did not flip in the
    previous step; it starts at zero. At equality the weight flips, as in the paper.
    """
    accumulated = plasticity * accumulated + eta * gradient
    flips = accumulated * weight >= 1.0
    plasticity = 1.0 - flips.to(weight.dtype).mean()
    return torch.where(flips, -weight, weight), accumulated.masked_fill(flips, 0.0), plasticity


@method(
    paper="Nguyen et al., BOLD, Boolean Logic Deep Learning, NeurIPS 2024, https://arxiv.org/abs/2405.16339",
    eta=log(150.0, 1.0, 1e5),
)
def bold(eta: float) -> WeightRule:
    """Accumulate the gradient until it outweighs one, then flip and start again."""
    check_positive(eta=eta)
    state = dict(accumulated=torch.zeros_like, plasticity=scalar_zero)
    optimizer = partial(Flipper, update=bold_update, state=state, elementwise=False, eta=eta)
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

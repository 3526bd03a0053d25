"""T-BSO: Bop on an average that is divided by the slow root mean square of its layer's gradients.

Liang et al., BSO, ICML 2025, https://arxiv.org/abs/2511.12502, from the released code; the paper's text was
not available. The method is for spiking networks, where the square is kept for each time step. These networks
have one, so here it is one number for each layer. The paper's plain BSO is Bop. UNCERTAIN: whether the
paper's rule sets the average of a flipped weight to zero, as a branch of the code does that nothing calls.

At the published threshold, 5e-7, the threshold decides nothing: once the square has settled, the quotient has
a spread of sqrt(gamma/2), which is 0.02. The rule is then Bop at threshold 0, and what calms it is gamma,
which the script multiplies by 0.1 seven times. The square needs 1/sigma = 100,000 steps to settle; until then
the quotient is larger, and half of all weights flip in the first step. The default of this suite is a
threshold within the spread; the published ones are presets.

Differences from the released code: its schedule of the learning rate acts on this rule, which has none, so
that the real parameters keep theirs; its sign is 0 at equality, which kills a weight for ever (here the
weight stays); its weights start as real numbers and become -1 or +1 in the first step (here they start so).
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, log, method, scalar_zero, sign, stored_signs
from optimizers.core.checks import check_not_negative, check_rates

FAMILY = "Bop and its descendants"

EPSILON = 1e-10  # as released


def t_bso_update(
    weight: Tensor,
    average: Tensor,
    square: Tensor,
    gradient: Tensor,
    gamma: float,
    sigma: float,
    threshold: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """One step: flip where w·m / (sqrt(v) + 1e-10) > threshold; at equality the weight stays.

    m averages g, and v, one number, averages the mean of g² over the tensor. Both start at zero, without bias
    correction. The step does not change if all gradients of the tensor are multiplied by a constant.
    """
    average = torch.lerp(average, gradient, gamma)
    square = torch.lerp(square, gradient.square().mean(), sigma)
    score = average / (square.sqrt() + EPSILON)
    return torch.where(weight * score > threshold, -weight, weight), average, square


def _published(threshold: float, at: list[float]) -> dict[str, object]:
    """Both gamma and the threshold times 0.1 at these points, as in the released script."""
    return {
        "gamma": {"step": {"start": 1e-3, "factor": 0.1, "at": at}},
        "sigma": 1e-5,
        "threshold": {"step": {"start": threshold, "factor": 0.1, "at": at}},
    }


@method(
    paper="Liang et al., BSO, Binary Spiking Online Optimization, ICML 2025, https://arxiv.org/abs/2511.12502",
    gamma=log(1e-3, 1e-5, 1e-1),
    sigma=log(1e-5, 1e-5, 1e-2),
    threshold=log(0.02, 1e-4, 1.0),
    presets={
        # Every 50 of 400 epochs (the release is an epoch late), and every 20 of 100
        "cifar": _published(5e-7, [0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875]),
        "imagenet": _published(1e-6, [0.2, 0.4, 0.6, 0.8]),
    },
)
def t_bso(gamma: float, sigma: float, threshold: float) -> WeightRule:
    """Bop in units of a slow average of the layer's squared gradients."""
    check_rates(gamma=gamma, sigma=sigma)
    check_not_negative(threshold=threshold)
    optimizer = partial(
        Flipper,
        update=t_bso_update,
        state=dict(average=torch.zeros_like, square=scalar_zero),
        elementwise=False,
        gamma=gamma,
        sigma=sigma,
        threshold=threshold,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

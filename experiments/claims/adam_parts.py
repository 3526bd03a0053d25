"""C20: which part of Adam helps latent weights?

Adam's step is lr · m̂ / (sqrt(v̂) + eps). adam-parts replaces a part of it:

* all: nothing; this is latent-adam. beta1 = 0 and beta2 = 0 are settings of that.
* layer-v: v̂ is its mean over the layer. All weights of a layer have the same step for the same m̂.
* sign-of-average: the step is lr · sign(m): neither size of m nor v.
* sign-of-gradient: the step is lr · sign(g): no average either.

The sign of zero is zero here. Weight decay is coupled, as in Adam: it is a part of g.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, choice, log, method, scalar_zero, uniform
from optimizers.core.checks import check_below_one, check_one_of
from optimizers.core.latent.rule import LATENT, LatentStep, latent_rule
from optimizers.latent import LatentAdam

FAMILY = "interventions"
PAPER = "Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107"

EPS = 1e-7  # that of latent-adam


def layer_v_update(
    weight: Tensor,
    average: Tensor,
    square: Tensor,
    steps: Tensor,
    gradient: Tensor,
    lr: float,
    beta1: float,
    beta2: float,
    weight_decay: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of Adam with one second moment for the whole layer, the mean of those of its weights.

    square and steps: scalars. A mean of moving averages is the moving average of the mean. All start at zero.
    """
    gradient = gradient + weight_decay * weight
    steps = steps + 1.0
    average = torch.lerp(average, gradient, 1.0 - beta1)
    square = torch.lerp(square, gradient.square().mean(), 1.0 - beta2)
    unbiased, root = average / (1.0 - beta1**steps), (square / (1.0 - beta2**steps)).sqrt()
    return weight - lr * unbiased / (root + EPS), average, square, steps


def sign_update(
    weight: Tensor, average: Tensor, gradient: Tensor, lr: float, beta1: float, weight_decay: float
) -> tuple[Tensor, Tensor]:
    """One step of size lr along the sign of the average; with beta1 = 0 that of the gradient."""
    average = torch.lerp(average, gradient + weight_decay * weight, 1.0 - beta1)
    return weight - lr * average.sign(), average


class LayerAdam(LatentStep, Flipper):
    """Adam with one second moment for each layer."""

    move = Flipper.step

    def __init__(self, params: Iterable[Any], **hypers: Any) -> None:
        state = {"average": torch.zeros_like, "square": scalar_zero, "steps": scalar_zero}
        super().__init__(params, layer_v_update, state, elementwise=False, **hypers)


class SignSteps(LatentStep, Flipper):
    """Steps of fixed size along the sign of an average."""

    move = Flipper.step

    def __init__(self, params: Iterable[Any], **hypers: Any) -> None:
        super().__init__(params, sign_update, {"average": torch.zeros_like}, **hypers)


PARTS = ("all", "layer-v", "sign-of-average", "sign-of-gradient")


@method(
    paper=PAPER,
    lr=log(1e-3, 1e-5, 1e-1),
    beta1=uniform(0.9, 0.0, 0.99),
    beta2=choice(0.999, 0.99, 0.9999),
    parts=choice(*PARTS),
    **LATENT,
)
def adam_parts(lr: float, beta1: float, beta2: float, parts: str, **habits: Any) -> WeightRule:
    """Latent Adam with a part of its step replaced."""
    check_below_one(beta1=beta1, beta2=beta2)
    check_one_of(PARTS, parts=parts)
    if parts == "all":
        return latent_rule(LatentAdam, habits, lr=lr, betas=(beta1, beta2), eps=EPS, fused=True)
    if parts == "layer-v":
        return latent_rule(LayerAdam, habits, lr=lr, beta1=beta1, beta2=beta2)
    return latent_rule(SignSteps, habits, lr=lr, beta1=beta1 if parts == "sign-of-average" else 0.0)

"""Fully connected networks."""

from itertools import pairwise

from torch import nn

from optimizers.core import WeightRule
from suite.models.layers import BinaryLinear, Sign, batch_norm
from suite.models.model import Shape, model


@model
def mlp(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    hidden: tuple[int, ...] = (512, 512),
    activation: str = "clipped",
    batch_norm_momentum: float = 0.1,
) -> nn.Module:
    """Dense layers, all binary, batch norm after each, sign between them."""
    if not hidden or min(hidden) < 1:
        raise ValueError(f"hidden must list at least one positive width, not {list(hidden)}")
    widths = [shape[0] * shape[1] * shape[2], *hidden, classes]
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        if number > 0:
            layers.append(Sign(activation))
        layers += [BinaryLinear(rule, inputs, outputs), batch_norm(outputs, 1, batch_norm_momentum)]
    return nn.Sequential(*layers)

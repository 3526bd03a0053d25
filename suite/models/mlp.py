"""Fully connected networks."""

from itertools import pairwise

from torch import nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import BinaryLinear, Sign
from suite.models.blocks.norms import Norm
from suite.models.model import BadOption, Shape, model


@model
def mlp(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    hidden: tuple[int, ...] = (512, 512),
    activation: str = "clipped",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """Binary dense layers, with batch norm after each and the sign between them."""
    if not hidden or min(hidden) < 1:
        raise BadOption("hidden", f"hidden must list at least one positive width, not {list(hidden)}")
    norms = Norm(norm, batch_norm_momentum, eps=1e-3, scale=False)
    widths = [shape[0] * shape[1] * shape[2], *hidden, classes]
    layers: list[nn.Module] = [nn.Flatten()]
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        if number > 0:
            layers.append(Sign(activation))
        dense = BinaryLinear(rule, inputs, outputs)
        layers += [dense, norms.after(dense)]
    return nn.Sequential(*layers)

"""A small convolutional network for 8x8 and 28x28 images."""

from torch import nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import BinaryConv2d, BinaryLinear, Sign
from suite.models.blocks.norms import Norm
from suite.models.model import BadOption, Shape, model


@model
def convnet(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    channels: int = 32,
    dense: int = 128,
    activation: str = "clipped",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """Three 3x3 convolutions with two poolings and two dense layers, all binary; for small images."""
    _, height, width = shape
    if min(height, width) < 4:
        raise ValueError(f"images of {height}x{width} are too small to be pooled twice")
    for name, value in (("channels", channels), ("dense", dense)):
        if value < 1:
            raise BadOption(name, f"{name} must be positive, not {value}")

    norms = Norm(norm, batch_norm_momentum, eps=1e-3, scale=False)
    first = BinaryConv2d(rule, shape[0], channels, 3, padding=1)  # sees the real image
    second = BinaryConv2d(rule, channels, channels, 3, padding=1)
    third = BinaryConv2d(rule, channels, 2 * channels, 3, padding=1)
    hidden = BinaryLinear(rule, 2 * channels * (height // 4) * (width // 4), dense)
    last = BinaryLinear(rule, dense, classes)
    return nn.Sequential(
        first,
        norms.after(first),
        Sign(activation),
        second,
        nn.MaxPool2d(2),
        norms.after(second),
        Sign(activation),
        third,
        nn.MaxPool2d(2),
        norms.after(third),
        nn.Flatten(),
        Sign(activation),
        hidden,
        norms.after(hidden),
        Sign(activation),
        last,
        norms.after(last),
    )

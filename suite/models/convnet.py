"""A small convolutional network for 8x8 and 28x28 images."""

from torch import nn

from optimizers.core import WeightRule
from suite.models.layers import BinaryConv2d, BinaryLinear, Sign, batch_norm
from suite.models.model import Shape, model


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
) -> nn.Module:
    """Three 3x3 convolutions with two poolings and two dense layers, all binary; from 8x8 images on."""
    _, height, width = shape
    if min(height, width) < 4:
        raise ValueError(f"images of {height}x{width} are too small to be pooled twice")
    if min(channels, dense) < 1:
        raise ValueError(f"channels and dense must be positive, not {channels} and {dense}")

    def norm(features: int, dimensions: int) -> nn.Module:
        return batch_norm(features, dimensions, batch_norm_momentum)

    return nn.Sequential(
        BinaryConv2d(rule, shape[0], channels, 3, padding=1),  # sees the real image
        norm(channels, 2),
        Sign(activation),
        BinaryConv2d(rule, channels, channels, 3, padding=1),
        nn.MaxPool2d(2),
        norm(channels, 2),
        Sign(activation),
        BinaryConv2d(rule, channels, 2 * channels, 3, padding=1),
        nn.MaxPool2d(2),
        norm(2 * channels, 2),
        nn.Flatten(),
        Sign(activation),
        BinaryLinear(rule, 2 * channels * (height // 4) * (width // 4), dense),
        norm(dense, 1),
        Sign(activation),
        BinaryLinear(rule, dense, classes),
        norm(classes, 1),
    )

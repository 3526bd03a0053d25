"""BinaryNet, the CIFAR-10 network of the Bop paper's sections 5.1 and 5.2."""

from torch import nn

from optimizers.core import WeightRule
from suite.models.layers import BinaryConv2d, BinaryLinear, Sign, batch_norm
from suite.models.model import Shape, model


@model
def binarynet(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "clipped",
    batch_norm_momentum: float = 0.01,
) -> nn.Module:
    """Six convolutions and three dense layers, all binary; 10,352,000 binary weights on CIFAR-10 at width 1.

    As released with Helwegen et al. (https://arxiv.org/abs/1906.02107): the first convolution sees the real
    image and is not padded, so 32x32 becomes 30x30 and the flattened map 3x3x512 (Courbariaux pads); pooling
    comes before batch norm; batch norm has no scale, eps 1e-3 and Keras' momentum 0.99, also on the logits.
    `width` scales every layer but the logits; shape must be at least 10x10.
    """
    if min(shape[1:]) < 10:
        raise ValueError(f"images of {shape[1]}x{shape[2]} are too small: binarynet needs 10x10 or more")
    if not width > 0.0:
        raise ValueError(f"width must be > 0, not {width}")
    a, b, c, dense = (max(1, round(width * n)) for n in (128, 256, 512, 1024))
    pooled = ((shape[1] - 2) // 8) * ((shape[2] - 2) // 8)

    def block(inputs: int, outputs: int, pool: bool) -> list[nn.Module]:
        return [
            Sign(activation),
            BinaryConv2d(rule, inputs, outputs, 3, padding=1),
            *([nn.MaxPool2d(2)] if pool else []),
            batch_norm(outputs, 2, batch_norm_momentum),
        ]

    def fully_connected(inputs: int, outputs: int) -> list[nn.Module]:
        return [
            Sign(activation),
            BinaryLinear(rule, inputs, outputs),
            batch_norm(outputs, 1, batch_norm_momentum),
        ]

    return nn.Sequential(
        BinaryConv2d(rule, shape[0], a, 3),
        batch_norm(a, 2, batch_norm_momentum),
        *block(a, a, pool=True),
        *block(a, b, pool=False),
        *block(b, b, pool=True),
        *block(b, c, pool=False),
        *block(c, c, pool=True),
        nn.Flatten(),
        *fully_connected(c * pooled, dense),
        *fully_connected(dense, dense),
        *fully_connected(dense, classes),
    )

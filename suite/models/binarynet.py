"""BinaryNet, the CIFAR-10 network of the Bop paper's sections 5.1 and 5.2."""

from torch import nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import BinaryConv2d, BinaryLinear, Sign
from suite.models.blocks.norms import Norm
from suite.models.model import Shape, check_size, model, scaled


@model
def binarynet(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "clipped",
    batch_norm_momentum: float = 0.01,
    norm: str = "batch",
) -> nn.Module:
    """Six convolutions and three dense layers, all binary; 10,352,000 binary weights on CIFAR-10 at width 1.

    As released with Helwegen et al. (https://arxiv.org/abs/1906.02107): the first convolution is applied to
    the real image without padding, so 32x32 becomes 30x30 and the flattened map 3x3x512 (Courbariaux pads);
    pooling comes before batch norm; batch norm has no scale, eps 1e-3 and Keras' momentum 0.99, also on the
    logits.
    `width` scales every layer but the logits; shape must be at least 10x10.
    """
    check_size("binarynet", shape, 10)
    a, b, c, dense = scaled(width, 128, 256, 512, 1024)
    norms = Norm(norm, batch_norm_momentum, eps=1e-3, scale=False)
    pooled = ((shape[1] - 2) // 8) * ((shape[2] - 2) // 8)

    def block(inputs: int, outputs: int, pool: bool) -> list[nn.Module]:
        convolution = BinaryConv2d(rule, inputs, outputs, 3, padding=1)
        pooling = [nn.MaxPool2d(2)] if pool else []
        return [Sign(activation), convolution, *pooling, norms.after(convolution)]

    def fully_connected(inputs: int, outputs: int) -> list[nn.Module]:
        dense = BinaryLinear(rule, inputs, outputs)
        return [Sign(activation), dense, norms.after(dense)]

    first = BinaryConv2d(rule, shape[0], a, 3)
    return nn.Sequential(
        first,
        norms.after(first),
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

"""ReActNet-A: the body of MobileNet-V1 with binary convolutions and learned thresholds before every sign.

Liu et al., ECCV 2020, https://arxiv.org/abs/2003.03488.
"""

import torch
from torch import Tensor, nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import BinaryConv2d, Sign, named, real_conv2d, real_linear
from suite.models.blocks.norms import Norm
from suite.models.model import Shape, check_size, model, scaled

# The 13 blocks: outputs in units of the stem's channels, and stride.
BLOCKS = [(2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1)]


class Shift(nn.Module):
    """Adds one learned number to each channel of x (N, C, H, W); it starts at 0."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias


def rsign(channels: int, activation: str) -> nn.Module:
    """A learned threshold for each channel, then the sign."""
    return named(shift=Shift(channels), sign=Sign(activation))


def rprelu(channels: int) -> nn.Module:
    """A PReLU with learned shifts of its input and its output; all parameters are per channel."""
    return named(before=Shift(channels), prelu=nn.PReLU(channels), after=Shift(channels))


class ReActBlock(nn.Module):
    """A 3x3 and a 1x1 binary convolution, each with a norm, a shortcut around both, and an RPReLU.

    x: (N, inputs, H, W). With stride 2 the first shortcut is an average pooling; odd sizes are rounded up.
    With twice as many outputs as inputs, two 1x1 convolutions read the same signs, each with the shortcut,
    and their outputs are concatenated.
    """

    def __init__(
        self, rule: WeightRule, inputs: int, outputs: int, stride: int, activation: str, norm: Norm
    ) -> None:
        super().__init__()
        self.sign3x3 = rsign(inputs, activation)
        self.conv3x3 = BinaryConv2d(rule, inputs, inputs, 3, padding=1, stride=stride)
        self.norm3x3 = norm.after(self.conv3x3)
        self.shortcut = nn.AvgPool2d(2, ceil_mode=True) if stride == 2 else nn.Identity()
        self.prelu3x3 = rprelu(inputs)
        self.sign1x1 = rsign(inputs, activation)
        pointwise = [BinaryConv2d(rule, inputs, inputs, 1) for _ in range(outputs // inputs)]
        self.conv1x1 = nn.ModuleList(pointwise)
        self.norm1x1 = nn.ModuleList(norm.after(convolution) for convolution in pointwise)
        self.prelu1x1 = rprelu(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.prelu3x3(self.norm3x3(self.conv3x3(self.sign3x3(x))) + self.shortcut(x))
        signs = self.sign1x1(x)
        parts = [norm(conv(signs)) + x for conv, norm in zip(self.conv1x1, self.norm1x1, strict=True)]
        return self.prelu1x1(torch.cat(parts, dim=1))


@model
def reactnet_a(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "approx_sign",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """MobileNet-V1's body with learned thresholds; 28,253,184 binary weights at width 1.

    As in the released code (https://github.com/liuzechun/ReActNet, folder mobilenet): 13 blocks after a real
    3x3 stem of stride 2, a real dense layer with a bias, batch norm with torch's eps 1e-5 and momentum 0.1.
    That code writes approx_sign as a piecewise polynomial. Its scale of the weights, mean |w| of each filter,
    is `transform: magnitude_straight` of a latent method, or left to batch norm to learn. Its start is
    uniform in [0, 0.001], here it is Glorot uniform. Distillation from a real network and the first training
    with real weights do not belong to the architecture. `width` scales the 32 channels of the stem; shape
    must be at least 17x17.
    """
    check_size("reactnet-a", shape, 17)
    norms = Norm(norm, batch_norm_momentum, eps=1e-5)
    (unit,) = scaled(width, 32)
    stem = real_conv2d(shape[0], unit, 3, padding=1, stride=2)
    blocks: dict[str, nn.Module] = {}
    inputs = unit
    for number, (factor, stride) in enumerate(BLOCKS, 1):
        blocks[f"block{number}"] = ReActBlock(rule, inputs, factor * unit, stride, activation, norms)
        inputs = factor * unit
    return named(
        stem=named(conv=stem, norm=norms.after(stem)),
        **blocks,
        pool=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(),
        dense=real_linear(inputs, classes),
    )

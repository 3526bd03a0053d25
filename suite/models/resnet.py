"""ResNet-20 and ResNet-18 for CIFAR in Bi-Real style, the networks of most later papers.

He et al. 2016, https://arxiv.org/abs/1512.03385. Every 3x3 convolution except the stem is binary and has its
own shortcut: sign, convolution, batch norm, + shortcut. At the first block of a stage that doubles the
channels, the shortcut is an average pooling, a real 1x1 convolution and a batch norm, as in Bi-Real Net.
Stem, shortcuts and last layer are real; batch norm has torch's eps 1e-5 and momentum 0.1.

The literature has many variants of these networks. IR-Net's released code (https://github.com/htqin/IR-Net),
on which ReCU, SiMaN, ReSTE and others are based, clamps to [-1, 1] (hardtanh) after every sum and puts a
batch norm before the last layer. Its ResNet-20 begins a stage with a shortcut without weights (every second
pixel, zeros for the new channels). Its ResNet-18 has a shortcut over two convolutions, as He et al. do; at
the beginning of a stage that shortcut is a 1x1 convolution of stride 2. None of these variants is used here.
Starts are Glorot uniform, there Kaiming normal or torch's.
"""

from torch import nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import named, real_conv2d
from suite.models.blocks.norms import Norm
from suite.models.blocks.residual import residual_network
from suite.models.model import Shape, check_size, model, scaled


@model
def resnet_20(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "approx_sign",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """ResNet-20 for CIFAR, each convolution with a shortcut; 267,264 binary weights at width 1.

    Three stages of six convolutions with 16, 32 and 64 channels. `width` scales the 16; shape must be at
    least 3x3.
    """
    check_size("resnet-20", shape, 3)
    norms = Norm(norm, batch_norm_momentum, eps=1e-5)
    (channels,) = scaled(width, 16)
    stem = _stem(shape[0], channels, norms)
    return residual_network(rule, stem, channels, (6, 6, 6), classes, activation, norms)


@model
def resnet_18(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "approx_sign",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """ResNet-18 for CIFAR, each convolution with a shortcut; 10,985,472 binary weights at width 1.

    The stages of birealnet-18 after a 3x3 stem that keeps the size of the image. `width` scales the 64
    channels of the first stage; shape must be at least 5x5.
    """
    check_size("resnet-18", shape, 5)
    norms = Norm(norm, batch_norm_momentum, eps=1e-5)
    (channels,) = scaled(width, 64)
    stem = _stem(shape[0], channels, norms)
    return residual_network(rule, stem, channels, (4, 4, 4, 4), classes, activation, norms)


def _stem(inputs: int, outputs: int, norm: Norm) -> nn.Module:
    convolution = real_conv2d(inputs, outputs, 3, padding=1)
    return named(conv=convolution, norm=norm.after(convolution))

"""VGG-Small, a network that many papers use for CIFAR-10."""

from torch import nn

from optimizers.core import BEYOND_ONE, WeightRule
from suite.models.blocks.layers import BinaryConv2d, Sign, named, real_conv2d, real_linear
from suite.models.blocks.norms import Norm
from suite.models.model import Shape, check_size, model, revised, scaled


@model
@revised(activation=("ede", "reste", "swish_sign"))
def vgg_small(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "clipped",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """Five binary convolutions between two real layers; 4,571,136 binary weights at width 1.

    As in the released code of IR-Net (Qin et al., CVPR 2020, https://github.com/htqin/IR-Net; the network is
    that of LQ-Nets, https://arxiv.org/abs/1807.10029): pooling comes before batch norm, which has scale and
    shift, torch's eps 1e-5 and momentum 0.1; a clamp to [-1, 1] follows every batch norm, so that no gradient
    passes a sign beyond 1. It is left out before signs whose own slope is zero there, and before `identity`,
    which would be `clipped` with it. The start is Glorot uniform, there normal. `width` scales every layer
    but the logits; shape must be at least 8x8.
    """
    check_size("vgg-small", shape, 8)
    a, b, c = scaled(width, 128, 256, 512)
    norms = Norm(norm, batch_norm_momentum, eps=1e-5)
    conv1 = real_conv2d(shape[0], a, 3, padding=1)
    conv2 = BinaryConv2d(rule, a, a, 3, padding=1)
    conv3 = BinaryConv2d(rule, a, b, 3, padding=1)
    conv4 = BinaryConv2d(rule, b, b, 3, padding=1)
    conv5 = BinaryConv2d(rule, b, c, 3, padding=1)
    conv6 = BinaryConv2d(rule, c, c, 3, padding=1)
    return named(
        conv1=conv1,
        norm1=norms.after(conv1),
        sign2=clamped_sign(activation),
        conv2=conv2,
        pool2=nn.MaxPool2d(2),
        norm2=norms.after(conv2),
        sign3=clamped_sign(activation),
        conv3=conv3,
        norm3=norms.after(conv3),
        sign4=clamped_sign(activation),
        conv4=conv4,
        pool4=nn.MaxPool2d(2),
        norm4=norms.after(conv4),
        sign5=clamped_sign(activation),
        conv5=conv5,
        norm5=norms.after(conv5),
        sign6=clamped_sign(activation),
        conv6=conv6,
        pool6=nn.MaxPool2d(2),
        norm6=norms.after(conv6),
        clamp=nn.Hardtanh(),
        flatten=nn.Flatten(),
        dense=real_linear(c * (shape[1] // 8) * (shape[2] // 8), classes),
    )


def clamped_sign(activation: str) -> nn.Module:
    """The sign of the input clamped to [-1, 1], where the clamp has an effect."""
    made = Sign(activation)
    return nn.Sequential(nn.Hardtanh(), made) if activation in BEYOND_ONE - {"identity"} else made

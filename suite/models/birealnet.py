"""Bi-Real Net, the ImageNet network of the Bop paper's section 5.3, with 18 and with 34 layers.

Liu et al., ECCV 2018, https://arxiv.org/abs/1808.00278. Every binary 3x3 convolution has its own shortcut,
which carries real values. Stem, shortcuts and last layer are real. Constants as released with Helwegen et al.
(https://arxiv.org/abs/1906.02107): batch norm with scale and shift, eps 1e-3 and Keras' momentum 0.8; the
activations' pseudo-gradient is approx_sign.

Differences from that code: it pads as TensorFlow does, at stride 2 with 2 pixels before and 3 after in the
stem and 0 and 1 elsewhere, where torch pads both sides equally (the maps have the same size). Every start is
Glorot uniform, there Glorot normal. Bi-Real Net's magnitude-aware weights belong to the method: `transform:
magnitude_aware` of a latent method as in larq, `magnitude_straight` as in Liu's PyTorch code; Bop has none.
"""

from torch import nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import named, real_conv2d
from suite.models.blocks.norms import Norm
from suite.models.blocks.residual import residual_network
from suite.models.model import Shape, check_size, model, scaled


@model
def birealnet_18(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "approx_sign",
    batch_norm_momentum: float = 0.2,
    norm: str = "batch",
) -> nn.Module:
    """Bi-Real Net of 16 binary convolutions; 10,985,472 binary weights at width 1.

    Four stages of four blocks of one convolution each; 11,689,512 trainable parameters on ImageNet, as many
    as ResNet-18 has. `width` scales the 64 channels of the first stage; shape must be at least 17x17.
    """
    check_size("birealnet-18", shape, 17)
    norms = Norm(norm, batch_norm_momentum, eps=1e-3)
    return _network(shape, classes, rule, (4, 4, 4, 4), width, activation, norms)


@model
def birealnet_34(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "approx_sign",
    batch_norm_momentum: float = 0.2,
    norm: str = "batch",
) -> nn.Module:
    """Bi-Real Net of 32 binary convolutions; 21,086,208 binary weights at width 1.

    Stages of 6, 8, 12 and 6 blocks of one convolution each; 21,797,672 trainable parameters on ImageNet, as
    many as ResNet-34 has. All else, including the constants of batch norm, is as in birealnet-18: the Bop
    paper has no network of this depth. `width` scales the 64 channels of the first stage; shape must be at
    least 17x17.
    """
    check_size("birealnet-34", shape, 17)
    norms = Norm(norm, batch_norm_momentum, eps=1e-3)
    return _network(shape, classes, rule, (6, 8, 12, 6), width, activation, norms)


def _network(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    blocks: tuple[int, ...],
    width: float,
    activation: str,
    norm: Norm,
) -> nn.Module:
    (channels,) = scaled(width, 64)
    convolution = real_conv2d(shape[0], channels, 7, padding=3, stride=2)
    stem = named(conv=convolution, norm=norm.after(convolution), pool=nn.MaxPool2d(3, stride=2, padding=1))
    return residual_network(rule, stem, channels, blocks, classes, activation, norm)

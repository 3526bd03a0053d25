"""XNOR-Net's AlexNet, which the camera-ready version of the Bop paper trains on ImageNet.

Rastegari et al., ECCV 2016, https://arxiv.org/abs/1603.05279, with the constants released with Helwegen et
al. (https://arxiv.org/abs/1906.02107): the first and the last layer are real; batch norm has scale and shift,
Keras' momentum 0.9, and three values of eps: 1e-5 after the first layer, 1e-3 before the last, 1e-4 between.

The network has no scaling factors: alpha belongs to the weights, so to the method. A latent method with
`transform: xnor` has it; Bop has none, as in the paper's run. The L2 penalty of 5e-7 on the two real layers
of the released code is omitted: it does not belong to the architecture. Another difference: TensorFlow pads
the first convolution with 3 pixels before and 4 after, here both sides have 4.
"""

from torch import nn

from optimizers.core import WeightRule
from suite.models.binary_alexnet import last_map
from suite.models.blocks.layers import BinaryConv2d, Sign, named, real_conv2d, real_linear
from suite.models.blocks.norms import Norm
from suite.models.model import Shape, check_size, model, scaled


@model
def xnor_net(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "clipped",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """Six binary layers between two real ones; 58,236,928 binary weights on ImageNet at width 1.

    The sixth convolution covers the whole map, 6x6 for 224x224, so its output is 1x1. `width` scales every
    layer but the logits; shape must be at least 59x59.
    """
    check_size("xnor-net", shape, 59)
    a, b, c, dense = scaled(width, 96, 256, 384, 4096)
    first, inner, last = (Norm(norm, batch_norm_momentum, eps) for eps in (1e-5, 1e-4, 1e-3))
    conv1 = real_conv2d(shape[0], a, 11, padding=4, stride=4)
    conv2 = BinaryConv2d(rule, a, b, 5, padding=2)
    conv3 = BinaryConv2d(rule, b, c, 3, padding=1)
    conv4 = BinaryConv2d(rule, c, c, 3, padding=1)
    conv5 = BinaryConv2d(rule, c, b, 3, padding=1)
    conv6 = BinaryConv2d(rule, b, dense, last_map(shape))
    conv7 = BinaryConv2d(rule, dense, dense, 1)
    return named(
        conv1=conv1,
        norm1=first.after(conv1),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(3, stride=2),
        norm2=inner.after(conv1, fan_in=1),  # norm1 has already scaled the sums of conv1
        sign2=Sign(activation),
        conv2=conv2,
        pool2=nn.MaxPool2d(3, stride=2),
        norm3=inner.after(conv2),
        sign3=Sign(activation),
        conv3=conv3,
        norm4=inner.after(conv3),
        sign4=Sign(activation),
        conv4=conv4,
        norm5=inner.after(conv4),
        sign5=Sign(activation),
        conv5=conv5,
        pool5=nn.MaxPool2d(3, stride=2),
        norm6=inner.after(conv5),
        sign6=Sign(activation),
        conv6=conv6,
        norm7=inner.after(conv6),
        sign7=Sign(activation),
        conv7=conv7,
        norm8=last.after(conv7),
        relu7=nn.ReLU(),
        flatten=nn.Flatten(),
        dense8=real_linear(dense, classes, bias=False),
    )

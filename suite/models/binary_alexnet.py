"""Binary AlexNet, which the camera-ready version of the Bop paper trains on ImageNet.

As `binary_alexnet` in the code released with Helwegen et al. (https://arxiv.org/abs/1906.02107): all eight
layers are binary, the first one on the real image; pooling comes before batch norm, which has scale and
shift, eps 1e-3 and Keras' momentum 0.9, also on the logits.

Differences: TensorFlow pads the first convolution with 3 pixels before and 4 after, here both sides have 4
(the maps have the same size). The latent network of larq's zoo has no scale in batch norm.
"""

from torch import nn

from optimizers.core import WeightRule
from suite.models.blocks.layers import BinaryConv2d, BinaryLinear, Sign, named
from suite.models.blocks.norms import Norm
from suite.models.model import Shape, check_size, model, scaled


@model
def binary_alexnet(
    shape: Shape,
    classes: int,
    rule: WeightRule,
    *,
    width: float = 1.0,
    activation: str = "clipped",
    batch_norm_momentum: float = 0.1,
    norm: str = "batch",
) -> nn.Module:
    """Five convolutions and three dense layers, all binary; 61,827,776 binary weights on ImageNet at width 1.

    `width` scales every layer but the logits; shape must be at least 59x59.
    """
    check_size("binary-alexnet", shape, 59)
    a, b, c, d, dense = scaled(width, 64, 192, 384, 256, 4096)
    norms = Norm(norm, batch_norm_momentum, eps=1e-3)
    height, breadth = last_map(shape)
    conv1 = BinaryConv2d(rule, shape[0], a, 11, padding=4, stride=4)
    conv2 = BinaryConv2d(rule, a, b, 5, padding=2)
    conv3 = BinaryConv2d(rule, b, c, 3, padding=1)
    conv4 = BinaryConv2d(rule, c, c, 3, padding=1)
    conv5 = BinaryConv2d(rule, c, d, 3, padding=1)
    dense6 = BinaryLinear(rule, d * height * breadth, dense)
    dense7 = BinaryLinear(rule, dense, dense)
    dense8 = BinaryLinear(rule, dense, classes)
    return named(
        conv1=conv1,  # on the real image
        pool1=nn.MaxPool2d(3, stride=2),
        norm1=norms.after(conv1),
        sign2=Sign(activation),
        conv2=conv2,
        pool2=nn.MaxPool2d(3, stride=2),
        norm2=norms.after(conv2),
        sign3=Sign(activation),
        conv3=conv3,
        norm3=norms.after(conv3),
        sign4=Sign(activation),
        conv4=conv4,
        norm4=norms.after(conv4),
        sign5=Sign(activation),
        conv5=conv5,
        pool5=nn.MaxPool2d(3, stride=2),
        norm5=norms.after(conv5),
        flatten=nn.Flatten(),
        sign6=Sign(activation),
        dense6=dense6,
        norm6=norms.after(dense6),
        sign7=Sign(activation),
        dense7=dense7,
        norm7=norms.after(dense7),
        sign8=Sign(activation),
        dense8=dense8,
        norm8=norms.after(dense8),
    )


def last_map(shape: Shape) -> tuple[int, int]:
    """Height and width of the map after AlexNet's third pooling; 6 and 6 for 224x224."""

    def side(pixels: int) -> int:
        pixels = (pixels + 2 * 4 - 11) // 4 + 1  # the first convolution
        for _ in range(3):
            pixels = (pixels - 3) // 2 + 1
        return pixels

    return side(shape[1]), side(shape[2])

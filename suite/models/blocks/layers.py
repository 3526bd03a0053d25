"""The building blocks: binary layers, the binarized activation, and real layers.

Whether a weight is binary is decided by the type of its layer, never by a name. The weights' pseudo-gradient
belongs to the method (`WeightRule.read`); the activations' belongs to the architecture (`Sign`).
"""

from collections import OrderedDict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optimizers.core import PSEUDO_GRADIENTS, WeightRule, always_signs, sign
from suite.models.blocks.integers import can_use_integers, mark_signs, sign_conv2d
from suite.models.model import BadOption


class BinaryLayer(nn.Module):
    """A layer with a binary weight: it stores one real tensor, and the method defines how it is read.

    The tensor starts from Glorot uniform draws of the global generator, the same for every method.
    """

    weight: nn.Parameter

    def __init__(self, rule: WeightRule, *shape: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(rule.start(nn.init.xavier_uniform_(torch.empty(shape))))
        self.read = rule.read
        self.deploy = rule.deploy or rule.read
        self.binary = rule.binary

    def reading(self) -> Callable[[Tensor], Tensor]:
        """How the forward pass reads the stored tensor, in training or in evaluation."""
        return self.read if self.training else self.deploy

    @torch.no_grad()
    def binary_weight(self) -> Tensor:
        """The effective binary weight, -1 or +1, of the stored tensor's shape."""
        return sign(self.deploy(self.weight))


class BinaryLinear(BinaryLayer):
    """y = x · w^T with the weight w as the method reads it, without a bias. x: (N, inputs)."""

    def __init__(self, rule: WeightRule, inputs: int, outputs: int) -> None:
        super().__init__(rule, outputs, inputs)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.reading()(self.weight))


class BinaryConv2d(BinaryLayer):
    """Convolution of x (N, C, H, W) with the weight as read, without a bias; the padding is 0."""

    def __init__(
        self,
        rule: WeightRule,
        inputs: int,
        outputs: int,
        kernel: int | tuple[int, int],
        padding: int = 0,
        stride: int = 1,
    ) -> None:
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        super().__init__(rule, outputs, inputs, height, width)
        self.padding, self.stride = padding, stride

    def forward(self, x: Tensor) -> Tensor:
        reading = self.reading()
        weight = reading(self.weight)
        if always_signs(reading) and can_use_integers(x, weight, self.padding, self.stride):
            return sign_conv2d(x, weight, self.padding, self.stride)
        return F.conv2d(x, weight, padding=self.padding, stride=self.stride)


def is_scaled_signs(weight: Tensor) -> bool:
    """Whether each output has -1 and +1 times one positive scale."""
    size = weight.abs().flatten(1)
    return bool((size == size[:, :1]).all() and (size > 0).all())


class Sign(nn.Module):
    """Binarizes activations with one of the pseudo-gradients. Raises BadOption for an unknown one."""

    def __init__(self, pseudo_gradient: str) -> None:
        super().__init__()
        if pseudo_gradient not in PSEUDO_GRADIENTS:
            choices = list(PSEUDO_GRADIENTS)
            raise BadOption("activation", f"activation must be one of {choices}, not {pseudo_gradient!r}")
        self.binarize = PSEUDO_GRADIENTS[pseudo_gradient]()

    def forward(self, x: Tensor) -> Tensor:
        return mark_signs(self.binarize(x))


def real_conv2d(inputs: int, outputs: int, kernel: int, padding: int = 0, stride: int = 1) -> nn.Conv2d:
    """A convolution that is not binarized, without a bias; its start is Glorot uniform."""
    layer = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
    nn.init.xavier_uniform_(layer.weight)
    return layer


def real_linear(inputs: int, outputs: int, bias: bool = True) -> nn.Linear:
    """A dense layer that is not binarized; its start is Glorot uniform, its bias starts at 0."""
    layer = nn.Linear(inputs, outputs, bias)
    nn.init.xavier_uniform_(layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def named(**modules: nn.Module) -> nn.Sequential:
    """The modules in sequence; flips are reported under their names."""
    return nn.Sequential(OrderedDict(modules))


def binary_layers(model: nn.Module) -> Iterator[tuple[str, BinaryLayer]]:
    """Every binary layer with its name, in the order in which the model declares its modules."""
    for name, module in model.named_modules():
        if isinstance(module, BinaryLayer):
            yield name, module

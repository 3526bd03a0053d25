"""The building blocks: binary layers, the binarized activation, batch norm as the Bop paper uses it.

Whether a weight is binary is decided by the type of its layer, never by a name. The weights' pseudo-gradient
belongs to the method (`WeightRule.read`); the activations' belongs to the architecture (`Sign`).
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optimizers.core import PSEUDO_GRADIENTS, WeightRule, always_signs, sign
from suite.models.integers import can_use_integers, mark_signs, sign_conv2d


class BinaryLayer(nn.Module):
    """A layer whose weight is binary: it stores one real tensor, of which the method knows the meaning.

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
    """Convolution of x (N, C, H, W) with the weight as read, without a bias; zero padding: borders see 0."""

    def __init__(self, rule: WeightRule, inputs: int, outputs: int, kernel: int, padding: int = 0) -> None:
        super().__init__(rule, outputs, inputs, kernel, kernel)
        self.padding = padding

    def forward(self, x: Tensor) -> Tensor:
        reading = self.reading()
        weight = reading(self.weight)
        if always_signs(reading) and can_use_integers(x):
            return sign_conv2d(x, weight, self.padding)
        return F.conv2d(x, weight, padding=self.padding)


class Sign(nn.Module):
    """Binarizes activations with one of the pseudo-gradients."""

    def __init__(self, pseudo_gradient: str) -> None:
        super().__init__()
        if pseudo_gradient not in PSEUDO_GRADIENTS:
            raise ValueError(f"activation must be one of {list(PSEUDO_GRADIENTS)}, not {pseudo_gradient!r}")
        self.binarize = PSEUDO_GRADIENTS[pseudo_gradient]()

    def forward(self, x: Tensor) -> Tensor:
        return mark_signs(self.binarize(x))


def batch_norm(features: int, dimensions: int, momentum: float) -> nn.Module:
    """Batch norm with a shift but no scale, eps 1e-3: what the Bop paper's code uses before every sign.

    dimensions: 1 after a dense layer, 2 after a convolution. momentum: torch's, 1 - Keras'.
    """
    if not 0.0 < momentum <= 1.0:
        raise ValueError(f"batch_norm_momentum must lie in (0, 1], not {momentum}")
    norm = (nn.BatchNorm1d if dimensions == 1 else nn.BatchNorm2d)(features, eps=1e-3, momentum=momentum)
    norm.weight.requires_grad_(False)  # stays 1
    return norm


def binary_layers(model: nn.Module) -> Iterator[tuple[str, BinaryLayer]]:
    """Every binary layer with its name, in the order of the forward pass as the model declares it."""
    for name, module in model.named_modules():
        if isinstance(module, BinaryLayer):
            yield name, module

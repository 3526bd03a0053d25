"""Other weights for the binary layers of a trained network. A helper of the probes, no probe."""

import torch
from torch import Tensor

from optimizers.core import stored_signs
from suite.models.blocks.layers import BinaryLayer, is_scaled_signs


@torch.no_grad()
def compute_with(layer: BinaryLayer, weight: Tensor) -> None:
    """From now on the layer computes with this weight as it is, in training and in evaluation."""
    layer.weight.copy_(weight)
    layer.binary = layer.binary and is_scaled_signs(weight)
    del layer.read, layer.deploy  # they may be modules, whose place only a module may take
    layer.read = layer.deploy = stored_signs if bool((weight.abs() == 1).all()) else as_stored


def as_stored(weight: Tensor) -> Tensor:
    """The stored tensor itself, whatever it holds."""
    return weight


def has_latents(layer: BinaryLayer) -> bool:
    """Whether the layer stores other numbers than it computes with."""
    return not torch.equal(layer.deploy(layer.weight), layer.weight)

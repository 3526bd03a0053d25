"""This project's step, with what the training loop does in each step: also the count of flips and of hits."""

import itertools
import platform

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.peers.networks import (
    CLASSES,
    GAMMA,
    LATENT_RATE,
    NETWORKS,
    REAL_RATE,
    SHAPE,
    THRESHOLD,
    Cell,
    Network,
    images,
    start,
)
from bench.peers.protocol import serve
from optimizers import METHODS
from optimizers.core import WeightRule
from suite.machine.environment import use_device
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.training.flips import FlipCounter
from suite.training.loop import optimizers_of
from suite.training.precision import autocast

CPU = torch.device("cpu")
HYPERS = {
    "latent-adam": dict(lr=LATENT_RATE, clip=1.0, pseudo_gradient="clipped"),
    "bop": dict(gamma=GAMMA, threshold=THRESHOLD),
}


def method_rule(method: str) -> WeightRule:
    """The method with the hyperparameters that every contender uses."""
    return METHODS[method](**HYPERS[method])


def network_at_start(network: Network, rule: WeightRule) -> nn.Sequential:
    """The suite's BinaryNet from the common start."""
    height, width, channels = SHAPE
    model = MODELS["binarynet"]((channels, height, width), CLASSES, rule, seed=1, width=network.width)
    assert isinstance(model, nn.Sequential)
    for (_, layer), value in zip(binary_layers(model), start(network), strict=True):
        with torch.no_grad():
            layer.weight.copy_(rule.start(outputs_first(torch.from_numpy(value), layer.weight.shape)))
    return model


def outputs_first(value: Tensor, shape: torch.Size) -> Tensor:
    """A start of `networks.start` in torch's order: (outputs, inputs, ...), flattened channels first."""
    order = (1, 0) if value.dim() == 2 else (3, 2, 0, 1)
    return value.permute(order).reshape(shape)


def torch_batches(network: Network, fixed_batch: bool) -> itertools.cycle:
    """The common images as (N, C, H, W), channels-last in memory, with their labels."""
    pixels, labels = (
        torch.from_numpy(part) for part in images(network, **({"batches": 1} if fixed_batch else {}))
    )
    return itertools.cycle([(x.permute(0, 3, 1, 2), y) for x, y in zip(pixels, labels, strict=True)])


class OurSession:
    def __init__(self, cell: Cell, fixed_batch: bool) -> None:
        network = NETWORKS[cell.network]
        rule = method_rule(cell.method)
        self.model = network_at_start(network, rule).to(memory_format=torch.channels_last)
        self.weights, self.adam = optimizers_of(self.model, rule, REAL_RATE)
        self.flips = FlipCounter(self.model, CPU)
        self.precision = cell.precision
        self.batches = torch_batches(network, fixed_batch)
        self.images_per_step = network.batch
        self.binary = sum(layer.weight.numel() for _, layer in binary_layers(self.model))
        self.real = sum(p.numel() for group in self.adam.param_groups for p in group["params"])

    def run(self, steps: int) -> list[float]:
        losses, correct = [], torch.zeros((), dtype=torch.int64)
        for x, labels in itertools.islice(self.batches, steps):
            with autocast(CPU, self.precision):
                logits = self.model(x)
                loss = F.cross_entropy(logits, labels)
            self.weights.zero_grad()
            self.adam.zero_grad()
            loss.backward()
            self.weights.step()
            self.adam.step()
            self.flips.count()
            losses.append(loss.detach())
            correct += (logits.detach().argmax(1) == labels).sum()
        self.flips.end_epoch()
        return torch.stack(losses).tolist()


if __name__ == "__main__":
    use_device(CPU, 1)
    serve({"python": platform.python_version(), "torch": torch.__version__}, OurSession)

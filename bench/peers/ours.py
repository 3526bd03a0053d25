"""This project's training step, which also counts flips and correct predictions."""

import itertools
import platform

import torch
from torch import Tensor, nn

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
from suite.training.step import make_learner, training_step

CPU = torch.device("cpu")
HYPERS = {
    "latent-adam": dict(lr=LATENT_RATE, clip=1.0, pseudo_gradient="clipped"),
    "bop": dict(gamma=GAMMA, threshold=THRESHOLD),
}


def method_rule(method: str) -> WeightRule:
    """The method with the hyperparameters of all contenders."""
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
        self.learner = make_learner(network_at_start(network, rule), rule, REAL_RATE, CPU)
        self.precision = cell.precision
        self.batches = torch_batches(network, fixed_batch)
        self.images_per_step = network.batch
        self.binary = sum(layer.weight.numel() for _, layer in binary_layers(self.learner.model))
        self.real = sum(p.numel() for group in self.learner.real.param_groups for p in group["params"])

    def run(self, steps: int) -> list[float]:
        losses, correct = [], torch.zeros((), dtype=torch.int64)
        for step, batch in enumerate(itertools.islice(self.batches, steps)):
            loss, hits = training_step(
                self.learner, [batch], seed=1, step=step, epoch=1, progress=0.0, precision=self.precision
            )
            losses.append(loss)
            correct += hits
        self.learner.flips.end_epoch()
        return torch.stack(losses).tolist()


if __name__ == "__main__":
    use_device(CPU, 1)
    serve({"python": platform.python_version(), "torch": torch.__version__}, OurSession)

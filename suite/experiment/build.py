"""From a trial to its method's rule and its network, and the values that follow a schedule."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import torch
from torch import nn
from torch.optim import Optimizer

from optimizers import METHODS
from optimizers.core import BadHyper, WeightRule
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.records.schedules import SCHEDULES, Schedule, value_at
from suite.records.schema import DataSizes
from suite.records.trial import Choice, Trial


def rule_at(trial: Trial, progress: float) -> WeightRule:
    """The method's rule with every hyperparameter at its value at `progress`."""
    values = {name: value_at(value, progress) for name, value in trial.method.options.items()}
    return METHODS[trial.method.name](**values)


def schedules_of(trial: Trial) -> dict[str, Schedule]:
    """The hyperparameters that follow a schedule."""
    return {name: value for name, value in trial.method.options.items() if isinstance(value, SCHEDULES)}


def apply_schedules(optimizer: Optimizer, schedules: Mapping[str, Schedule], progress: float) -> None:
    """Write each scheduled value into every parameter group.

    Raises BadHyper for a hyperparameter that the optimizer does not keep in its groups.
    """
    for name, schedule in schedules.items():
        for group in optimizer.param_groups:
            if name not in group:
                names = sorted(key for key in group if key != "params")
                raise BadHyper(name, f"{name} cannot follow a schedule: the optimizer's groups have {names}")
            group[name] = schedule.value(progress)


def build_network(trial: Trial, shape: Sequence[int], classes: int, rule: WeightRule) -> nn.Module:
    """The trial's network at its start; `shape` is channels, height, width."""
    channels, height, width = shape
    model = MODELS[trial.model.name]
    return model((channels, height, width), classes, rule, trial.seed, **trial.model.options)


class NetworkSize(NamedTuple):
    """The shapes of the binary layers' weights, in order, and the number of trainable real parameters."""

    shapes: tuple[tuple[int, ...], ...]
    real: int

    @property
    def layers(self) -> int:
        """Binary layers."""
        return len(self.shapes)

    @property
    def binary(self) -> int:
        """Binary weights."""
        return sum(map(math.prod, self.shapes))

    @property
    def kinds(self) -> list[Literal["conv", "dense"]]:
        """What the binary layers are."""
        return ["conv" if len(shape) > 2 else "dense" for shape in self.shapes]


def network_size(model: Choice, sizes: DataSizes) -> NetworkSize:
    """The size of a model's network on images of these sizes; nothing is allocated."""
    channels, height, width = sizes.shape
    # Sizes are the same for every method; this one's start computes nothing, which the meta device cannot do
    # without torch's compiler.
    rule = METHODS["real"]()
    with torch.device("meta"):
        network = MODELS[model.name]((channels, height, width), sizes.classes, rule, 0, **model.options)
    shapes = tuple(tuple(layer.weight.shape) for _, layer in binary_layers(network))
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return NetworkSize(shapes, trainable - sum(map(math.prod, shapes)))

"""From a trial to its method's rule and its network, and the values that follow a schedule."""

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
from suite.records.trial import Trial


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
    """The size of a network: binary layers, binary weights, trainable real parameters."""

    layers: int
    binary: int
    real: int


def network_size(trial: Trial, sizes: DataSizes) -> NetworkSize:
    """The size of the trial's network on images of these sizes; nothing is allocated."""
    network = _without_memory(trial, sizes)
    binary = [layer.weight.numel() for _, layer in binary_layers(network)]
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return NetworkSize(len(binary), sum(binary), trainable - sum(binary))


def binary_shapes(trial: Trial, sizes: DataSizes) -> list[Sequence[int]]:
    """The shapes of the binary layers' weights."""
    return [tuple(layer.weight.shape) for _, layer in binary_layers(_without_memory(trial, sizes))]


def layer_kinds(trial: Trial, sizes: DataSizes) -> list[Literal["conv", "dense"]]:
    """What the binary layers are, in order."""
    return ["conv" if len(shape) > 2 else "dense" for shape in binary_shapes(trial, sizes)]


def _without_memory(trial: Trial, sizes: DataSizes) -> nn.Module:
    # Sizes are the same for every method; this one's start computes nothing, which the meta device cannot do
    # without torch's compiler.
    rule = METHODS["real"]()
    with torch.device("meta"):
        return build_network(trial, sizes.shape, sizes.classes, rule)

"""One training run, resolved, and what it makes of its method and its model."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import torch
from torch import nn

from optimizers import METHODS
from optimizers.core import WeightRule
from suite.experiment.schedules import value_at
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.records.files import PROTOCOL, digest


@dataclass(frozen=True)
class Trial:
    """One training run, with nothing left to default. Its run_id is a hash of all of it."""

    stage: str  # "tune": scored on validation, test out of reach; "final": scored once on test
    data: dict[str, Any]
    model: dict[str, Any]
    method: str
    hypers: dict[str, Any]  # numbers, words, or schedules
    real: dict[str, Any]
    train: dict[str, Any]
    seed: int
    plugin: str | None = None  # of a method from outside the catalogue: a hash of its file

    def as_dict(self) -> dict[str, Any]:
        """What trial.json holds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.plugin is None:
            del values["plugin"]
        return {"protocol": PROTOCOL, **values}

    @functools.cached_property
    def run_id(self) -> str:
        """The name of the run's folder: two trials share it only if they are the same in everything."""
        return digest(self.as_dict())[:16]


def rule_at(trial: Trial, progress: float) -> tuple[WeightRule, dict[str, Any]]:
    """The method's rule with every hyperparameter at its value at `progress`, and the scheduled ones."""
    values = {name: value_at(value, progress) for name, value in trial.hypers.items()}
    schedules = {name: value for name, value in trial.hypers.items() if isinstance(value, Mapping)}
    return METHODS[trial.method](**values), schedules


def build_network(trial: Trial, shape: Sequence[int], classes: int, rule: WeightRule) -> nn.Module:
    """The trial's network at its start; `shape` is channels, height, width."""
    options = {name: value for name, value in trial.model.items() if name != "name"}
    channels, height, width = shape
    return MODELS[trial.model["name"]]((channels, height, width), classes, rule, trial.seed, **options)


class NetworkSize(NamedTuple):
    """Of one network: binary layers, binary weights, trainable real parameters."""

    layers: int
    binary: int
    real: int


def network_size(trial: Trial, sizes: Mapping[str, Any]) -> NetworkSize:
    """The size of the trial's network on images of these sizes (shape, classes); nothing is allocated."""
    # Sizes are the same for every method; a start that looks at its values could not run on the meta device.
    rule = METHODS["bop"]()
    with torch.device("meta"):
        network = build_network(trial, sizes["shape"], sizes["classes"], rule)
    binary = [layer.weight.numel() for _, layer in binary_layers(network)]
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return NetworkSize(len(binary), sum(binary), trainable - sum(binary))

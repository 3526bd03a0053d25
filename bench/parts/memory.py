"""Bytes per binary weight in training: the stored weight, its gradient, the optimizer, the flip counter."""

import torch
from torch import Tensor

from bench.parts.step import QUICK, learner, random_batch, step_of
from bench.race import Bench, Row
from optimizers import METHODS
from suite.models.blocks.layers import binary_layers
from suite.training.step import state_tensors

WIDTH = 1 / 4  # so wide that Adam's step counters, one per tensor, do not matter


def bytes_per_weight(method: str, device: torch.device, width: float) -> dict[str, float]:
    """After one step of BinaryNet with a registered method at its defaults."""
    size = next(iter(QUICK.values()))._replace(width=width)
    trained = learner(size, method, device)
    step_of(trained, "float32")(*random_batch(size, device))
    stored = [layer.weight for _, layer in binary_layers(trained.model)]
    counter = [value for value in trained.flips.state_dict().values() if isinstance(value, Tensor)]
    parts = {
        "stored": stored,
        "gradient": [weight.grad for weight in stored if weight.grad is not None],
        "optimizer": state_tensors(trained.weights),
        "flip counter": counter,
    }
    count = sum(weight.numel() for weight in stored)
    return {name: sum(tensor.nbytes for tensor in tensors) / count for name, tensors in parts.items()}


def measure(bench: Bench) -> list[Row]:
    """Every registered method."""
    rows = []
    for method in METHODS:
        found = bytes_per_weight(method, bench.device, 1 / 32 if bench.quick else WIDTH)
        found["in all"] = sum(found.values())
        rows += [Row("memory", method, name, value, "bytes/weight") for name, value in found.items()]
    return rows

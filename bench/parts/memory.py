"""Bytes of one binary weight in training: what is stored, its gradient, the optimizer, the flip counter."""

import torch
from torch import Tensor
from torch.nn import functional as F

from bench.parts.step import QUICK, REAL_RATE, random_batch
from bench.race import Bench, Row
from optimizers import METHODS
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.training.flips import FlipCounter
from suite.training.loop import optimizers_of, state_tensors

WIDTH = 1 / 4  # so wide that Adam's step counts, one per tensor, do not show


def bytes_per_weight(method: str, device: torch.device, width: float) -> dict[str, float]:
    """After one step of BinaryNet with a registered method at its defaults."""
    size = next(iter(QUICK.values()))._replace(width=width)
    rule = METHODS[method]()
    model = MODELS["binarynet"]((3, 32, 32), 10, rule, seed=0, width=width).to(device)
    weights, _ = optimizers_of(model, rule, REAL_RATE)
    flips = FlipCounter(model, device)
    x, labels = random_batch(size, device)
    F.cross_entropy(model(x), labels).backward()
    weights.step()
    flips.count()
    stored = [layer.weight for _, layer in binary_layers(model)]
    counter = [value for value in flips.state_dict().values() if isinstance(value, Tensor)]
    parts = {
        "stored": stored,
        "gradient": [weight.grad for weight in stored if weight.grad is not None],
        "optimizer": state_tensors(weights),
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

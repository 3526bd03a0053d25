"""A small network in training on a task that can be learned, in a small form of each architecture."""

from typing import Any

import torch
from torch import Tensor

from optimizers.core import WeightRule
from suite.checks.contract import practice
from suite.checks.contract.practice import CPU, EPOCH, PLANNED, Small, noisy_prototypes
from suite.machine.random_keys import random_key, seed_draws
from suite.models import MODELS
from suite.models.model import Shape
from suite.training.step import set_progress

__all__ = ["EPOCH", "PLANNED", "SMALL", "Training", "noisy_prototypes", "small_form"]

# The smallest useful form of each architecture: image shape and options.
SMALL: dict[str, tuple[Shape, dict[str, Any]]] = {
    "mlp": ((1, 8, 8), {"hidden": (16, 16)}),
    "convnet": ((1, 8, 8), {"channels": 4, "dense": 16}),
    "binarynet": ((3, 32, 32), {"width": 1 / 32}),
    "vgg-small": ((1, 8, 8), {"width": 1 / 16}),
    "resnet-20": ((1, 8, 8), {"width": 1 / 4}),
    "resnet-18": ((1, 8, 8), {"width": 1 / 16}),
    "binary-alexnet": ((1, 59, 59), {"width": 1 / 32}),
    "xnor-net": ((1, 59, 59), {"width": 1 / 16}),
    "birealnet-18": ((1, 17, 17), {"width": 1 / 16}),
    "birealnet-34": ((1, 17, 17), {"width": 1 / 16}),
    "reactnet-a": ((3, 17, 17), {"width": 1 / 16}),
}


def small_form(model: str) -> Small:
    return Small(MODELS[model], *SMALL[model])


class Training(practice.Training):
    """A small form of an architecture in training; every step takes the next batch."""

    def __init__(self, rule: WeightRule, model: str = "mlp", seed: int = 1) -> None:
        super().__init__(rule, small_form(model), seed)

    def scaled_step(self, loss_scale: float) -> None:
        """A step on the loss times a number, which no training takes: all else as in `step`."""
        progress = min(1.0, self.steps / PLANNED)
        set_progress(self.weights, self.learner.timed, epoch=1 + self.steps // EPOCH, progress=progress)
        self.model.zero_grad()
        seed_draws(CPU, random_key(0, "step", self.steps))
        (loss_scale * self.loss(self.steps)).backward()
        self.weights.step()
        self.real.step()
        self.steps += 1

    def trajectory(self, steps: int, loss_scale: float = 1.0) -> Tensor:
        """The binary weights at the start and after each of so many steps, (steps + 1, weights)."""
        rows = [self.signs()]
        for _ in range(steps):
            if loss_scale == 1.0:
                self.step()
            else:
                self.scaled_step(loss_scale)
            rows.append(self.signs())
        return torch.stack(rows)

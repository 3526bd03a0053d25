"""A small network in training on a task that can be learned."""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from optimizers.core import WeightRule
from suite.machine.random_keys import generator, random_key, seed_draws
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.models.model import Shape
from suite.training.step import make_learner, set_progress, training_step

CLASSES = 4
EPOCH, PLANNED = 20, 100  # steps: methods that ask for the time are told that it passes so

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


@functools.cache
def noisy_prototypes(shape: Shape, number: int) -> tuple[Tensor, Tensor]:
    """Batch `number` of a task that can be learned: one fixed image per class, half hidden in noise.

    All trainings share it: nothing may write into it.
    """
    prototypes = torch.randn(CLASSES, *shape, generator=generator("prototypes"))
    random = generator("batch", number)
    labels = torch.randint(CLASSES, (32,), generator=random)
    return prototypes[labels] + 0.5 * torch.randn(32, *shape, generator=random), labels


class Training:
    """A small network and its two optimizers; every step takes the next batch."""

    def __init__(self, rule: WeightRule, model: str = "mlp", seed: int = 1) -> None:
        self.shape, options = SMALL[model]
        network = MODELS[model](self.shape, CLASSES, rule, seed, **options)
        self.learner = make_learner(network, rule, 0.01, torch.device("cpu"))
        self.model, self.weights, self.real = self.learner.model, self.learner.weights, self.learner.real
        self.steps = 0

    def step(self, halves: int = 1, precision: str = "float32") -> float:
        """One step of both optimizers; the loss before it. `halves`: the parts that the gradient comes in."""
        batch = noisy_prototypes(self.shape, self.steps)
        loss, _ = training_step(
            self.learner,
            [batch] * halves,
            seed=0,
            step=self.steps,
            epoch=1 + self.steps // EPOCH,
            progress=min(1.0, self.steps / PLANNED),
            precision=precision,
        )
        self.steps += 1
        return loss.item()

    def scaled_step(self, loss_scale: float) -> None:
        """A step on the loss times a number, which no training takes: all else as in `step`."""
        progress = min(1.0, self.steps / PLANNED)
        set_progress(self.weights, self.learner.timed, epoch=1 + self.steps // EPOCH, progress=progress)
        self.model.zero_grad()
        seed_draws(torch.device("cpu"), random_key(0, "step", self.steps))
        (loss_scale * self.loss(self.steps)).backward()
        self.weights.step()
        self.real.step()
        self.steps += 1

    def loss(self, number: int) -> Tensor:
        x, labels = noisy_prototypes(self.shape, number)
        return F.cross_entropy(self.model(x), labels)

    def signs(self) -> Tensor:
        """All effective binary weights, flat."""
        return torch.cat([layer.binary_weight().flatten() for _, layer in binary_layers(self.model)])

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

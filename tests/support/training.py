"""A small network in training on a task that can be learned."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from optimizers.core import Timed, WeightRule
from suite.experiment.schedules import tell_time
from suite.machine.random_keys import generator, seed_draws
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.models.model import Shape
from suite.training.loop import optimizers_of

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


def noisy_prototypes(shape: Shape, number: int) -> tuple[Tensor, Tensor]:
    """Batch `number` of a task that can be learned: one fixed image per class, half hidden in noise."""
    prototypes = torch.randn(CLASSES, *shape, generator=generator("prototypes"))
    random = generator("batch", number)
    labels = torch.randint(CLASSES, (32,), generator=random)
    return prototypes[labels] + 0.5 * torch.randn(32, *shape, generator=random), labels


class Training:
    """A small network and its two optimizers; every step takes the next batch."""

    def __init__(self, rule: WeightRule, model: str = "mlp", seed: int = 1) -> None:
        shape, options = SMALL[model]
        self.model = MODELS[model](shape, CLASSES, rule, seed, **options)
        self.weights, self.real = optimizers_of(self.model, rule, real_lr=0.01)
        self.shape, self.steps = shape, 0
        self.timed = [module for module in self.model.modules() if isinstance(module, Timed)]

    def loss(self, number: int) -> Tensor:
        x, labels = noisy_prototypes(self.shape, number)
        return F.cross_entropy(self.model(x), labels)

    def step(self, loss_scale: float = 1.0, halves: int = 1, loss: Tensor | None = None) -> float:
        """One step of both optimizers; the loss before it. `halves`: in how many parts its gradient comes."""
        progress = min(1.0, self.steps / PLANNED)
        tell_time(self.weights, self.timed, epoch=1 + self.steps // EPOCH, progress=progress)
        self.steps += 1
        self.model.zero_grad()
        values = []
        for _ in range(halves):
            seed_draws(torch.device("cpu"), "step", self.steps)
            values.append(self.loss(self.steps) if loss is None else loss)
            (values[-1] * (loss_scale / halves)).backward()
        self.weights.step()
        self.real.step()
        return values[-1].item()

    def signs(self) -> Tensor:
        """All effective binary weights, flat."""
        return torch.cat([layer.binary_weight().flatten() for _, layer in binary_layers(self.model)])

    def trajectory(self, steps: int, loss_scale: float = 1.0) -> Tensor:
        """The binary weights at the start and after each of so many steps, (steps + 1, weights)."""
        rows = [self.signs()]
        for _ in range(steps):
            self.step(loss_scale)
            rows.append(self.signs())
        return torch.stack(rows)

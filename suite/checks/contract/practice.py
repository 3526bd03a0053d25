"""What the contract is tried on: a few tensors with random gradients, and a small network in training."""

import functools
import io
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from optimizers.core import WeightRule, run_step
from suite.machine.random_keys import generator, random_key, seed_draws
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.models.model import Model, Shape
from suite.training.step import make_learner, set_progress, state_tensors, training_step

CPU = torch.device("cpu")

# --- a few tensors ---

SHAPES = [(24, 30), (1, 7), (5, 6), (8, 4, 3, 3)]  # of the stored tensors: rows, one row, rows, filters
DEAD = 2  # the tensor whose gradients are all zero, as those of a layer that nothing passes
STEPS = 16  # of a training in which what depends on the progress begins, changes and ends


def start_of(rule: WeightRule, seed: int = 0) -> list[Tensor]:
    """Stored tensors as in a network, the filters channels-last."""
    random = torch.Generator().manual_seed(seed)
    fresh = [0.2 * torch.randn(shape, generator=random) for shape in SHAPES]
    stored = [rule.start(tensor).detach() for tensor in fresh]
    stored[-1] = stored[-1].to(memory_format=torch.channels_last)
    return [tensor.clone().requires_grad_() for tensor in stored]


def advance(optimizers: Sequence[Optimizer], tensors: Sequence[Tensor], steps: range) -> None:
    """Steps with random gradients, the same in every call."""
    for step in steps:
        random = torch.Generator().manual_seed(step)
        for tensor in tensors:
            size = 0.0 if tensor.shape == SHAPES[DEAD] else 1e-2
            tensor.grad = size * torch.randn(tensor.shape, generator=random)
        for optimizer in optimizers:
            set_progress(optimizer, [], 1 + step // 4, step / STEPS)
        seed_draws(CPU, random_key(step))
        for optimizer in optimizers:
            run_step(optimizer)


def everything(optimizers: Sequence[Optimizer], tensors: Sequence[Tensor]) -> list[Tensor]:
    """The stored tensors and all that the optimizers keep."""
    return [*tensors, *(tensor for optimizer in optimizers for tensor in state_tensors(optimizer))]


def same(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> bool:
    """Whether two lists of tensors have the same bits; NaN equals NaN."""
    return len(ours) == len(theirs) and all(
        torch.equal(one, other) or _same_with_nan(one, other) for one, other in zip(ours, theirs, strict=True)
    )


def _same_with_nan(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


def through_a_file(*parts: Any) -> list[dict[str, Any]]:
    """The state dicts of these objects, saved to a file and loaded, as in a checkpoint."""
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    return torch.load(file, weights_only=True)


# --- a small network ---

CLASSES = 4
EPOCH, PLANNED = 20, 100  # steps: methods that ask for the time are told that it passes so


class Small(NamedTuple):
    """A small form of an architecture: its options, and the shape of its images."""

    model: Model
    shape: Shape
    options: Mapping[str, Any]


DENSE = Small(MODELS["mlp"], (1, 8, 8), {"hidden": (16, 16)})
FILTERS = Small(MODELS["convnet"], (1, 8, 8), {"channels": 4, "dense": 16})


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

    def __init__(self, rule: WeightRule, small: Small = DENSE, seed: int = 1) -> None:
        self.shape = small.shape
        network = small.model(small.shape, CLASSES, rule, seed, **small.options)
        self.learner = make_learner(network, rule, 0.01, CPU)
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

    def loss(self, number: int) -> Tensor:
        x, labels = noisy_prototypes(self.shape, number)
        return F.cross_entropy(self.model(x), labels)

    def loss_on_unseen_batches(self) -> float:
        with torch.no_grad():
            return sum(self.loss(-number).item() for number in range(1, 5)) / 4

    def signs(self) -> Tensor:
        """All effective binary weights, flat."""
        return torch.cat([layer.binary_weight().flatten() for _, layer in binary_layers(self.model)])

    def stored(self) -> list[Tensor]:
        """The stored tensors of the binary layers."""
        return [layer.weight.detach() for _, layer in binary_layers(self.model)]

    def everything(self) -> list[Tensor]:
        """All tensors that the training holds: the network's, and the state of both optimizers."""
        return everything([self.weights, self.real], list(self.model.state_dict().values()))

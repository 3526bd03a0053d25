"""One training step: the same for training, for the benchmarks and for the tests."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from optimizers.core import Timed, WeightRule, clear_gradients, run_step
from suite.data import Batch
from suite.experiment.build import apply_schedules
from suite.machine.precision import autocast
from suite.machine.random_keys import numbered_keys, seed_draws
from suite.models.blocks.layers import binary_layers
from suite.records.schedules import SCHEDULES, Schedule, start_of
from suite.training.flips import FlipCounter
from suite.training.ranks import ALONE, Ranks, keep_gradients_local, only_the_first_part_counts
from suite.training.real_adam import RealAdam


@dataclass(frozen=True)
class Learner:
    """A network in training, its two optimizers, and the counter of its flips."""

    model: nn.Module
    network: nn.Module  # the model, or the wrapper that trains it together with other processes
    weights: Optimizer  # the method's, for the binary weights
    real: Adam  # for all other parameters
    flips: FlipCounter
    schedules: Mapping[str, Schedule] = field(default_factory=dict)  # of the method's hyperparameters
    real_schedules: Mapping[str, Schedule] = field(default_factory=dict)
    timed: Sequence[Timed] = ()  # modules that depend on the progress of the training

    def state_dict(self) -> dict[str, Any]:
        """All tensors that a resumed training needs."""
        parts = {"model": self.model, "weights": self.weights, "real": self.real, "flips": self.flips}
        return {name: part.state_dict() for name, part in parts.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.weights.load_state_dict(state["weights"])
        self.real.load_state_dict(state["real"])
        self.flips.load_state_dict(state["flips"])


def make_learner(
    model: nn.Module,
    rule: WeightRule,
    real_lr: float | Schedule,
    device: torch.device,
    *,
    schedules: Mapping[str, Schedule] | None = None,
    batch_parts: int = 1,
    ranks: Ranks = ALONE,
) -> Learner:
    """A model at its start, moved to the device, with the optimizers that `rule` and Adam give it.

    Convolutions are held channels-last, which is faster on a CPU and no slower elsewhere.
    """
    model = model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights, real = optimizers_of(model, rule, start_of(real_lr))
    return Learner(
        model,
        ranks.train_together(model, batch_parts),
        weights,
        real,
        FlipCounter(model, device),
        schedules or {},
        {"lr": real_lr} if isinstance(real_lr, SCHEDULES) else {},
        [module for module in model.modules() if isinstance(module, Timed)],
    )


def training_step(
    learner: Learner,
    batch: Sequence[Batch],
    *,
    seed: int,
    step: int,
    epoch: int,
    progress: float,
    precision: str = "float32",
    ranks: Ranks = ALONE,
) -> tuple[Tensor, Tensor]:
    """One step of both optimizers on the parts of a batch, whose gradients are averaged.

    step: counted from 0, the key of random draws. progress: the share of the training before this step.
    Returns the mean loss before the step and the number of correct predictions, over all processes, as
    scalars on the device: nothing here waits for a number.
    """
    device = batch[0][0].device
    apply_schedules(learner.weights, learner.schedules, progress)
    apply_schedules(learner.real, learner.real_schedules, progress)
    set_progress(learner.weights, learner.timed, epoch, progress)
    clear_gradients(learner.weights)
    clear_gradients(learner.real)
    losses, hits = [], []
    for part, (x, labels) in enumerate(batch):
        seed_draws(device, numbered_keys(seed, "step")(step))  # the same in each part of a batch
        is_last = part == len(batch) - 1
        with only_the_first_part_counts(learner.model, part), keep_gradients_local(learner.network, is_last):
            with autocast(device, precision):
                logits = learner.network(x)
                loss = F.cross_entropy(logits, labels)
                if len(batch) > 1:
                    loss = loss / len(batch)
            loss.backward()
        losses.append(loss.detach())
        hits.append((logits.detach().argmax(1) == labels).sum())
    run_step(learner.weights)
    run_step(learner.real)
    learner.flips.count()
    return ranks.mean(functools.reduce(torch.add, losses)), ranks.sum(functools.reduce(torch.add, hits))


def set_progress(optimizer: Optimizer, modules: Sequence[Timed], epoch: int, progress: float) -> None:
    """Write the place in the training where it is asked for: in entries of the groups, in `Timed` modules."""
    for group in optimizer.param_groups:
        for name, value in (("epoch", epoch), ("progress", progress)):
            if name in group:
                group[name] = value
    for module in modules:
        module.progress = progress


def optimizers_of(model: nn.Module, rule: WeightRule, real_lr: float) -> tuple[Optimizer, Adam]:
    """The method's optimizer for the binary weights, Adam for every other trainable parameter.

    Raises ValueError unless each trainable parameter has exactly one optimizer.
    """
    binary = [layer.weight for _, layer in binary_layers(model)]
    owned = {id(weight) for weight in binary}
    real = [p for p in model.parameters() if p.requires_grad and id(p) not in owned]
    weights = rule.optimizer(binary)
    # Betas 0.9 and 0.999. The value of eps is that of Keras, its place that of torch.
    adam = RealAdam(real, real_lr, eps=1e-7)
    claimed = [
        id(p) for optimizer in (weights, adam) for group in optimizer.param_groups for p in group["params"]
    ]
    trainable = [id(p) for p in model.parameters() if p.requires_grad]
    if sorted(claimed) != sorted(trainable):
        raise ValueError("a parameter has no optimizer or two: every trainable parameter needs exactly one")
    return weights, adam


def state_tensors(optimizer: Optimizer) -> list[Tensor]:
    """All tensors in an optimizer's state."""
    return [v for state in optimizer.state.values() for v in state.values() if isinstance(v, Tensor)]

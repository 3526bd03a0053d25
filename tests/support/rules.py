"""What the tests of update rules share: gradients that make weights flip and flip back, and runs on them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from optimizers import METHODS

STEPS, COUNT = 400, 60
STEPS_PER_EPOCH = 50


def random_gradients(steps: int = STEPS, count: int = COUNT, seed: int = 0) -> np.ndarray:
    """Noise around a slow wave with a phase and a size of its own per weight, (steps, weights)."""
    random = np.random.default_rng(seed)
    wave = np.sin(np.arange(steps)[:, None] / 40 + random.uniform(0, 6, count))
    return random.uniform(0.3, 3.0, count) * (wave + random.normal(size=(steps, count)))


def random_signs(count: int = COUNT, seed: int = 1) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).choice([-1.0, 1.0], count))


def epoch_of(step: int) -> int:
    """The epoch, from 1, of a step, from 0."""
    return 1 + step // STEPS_PER_EPOCH


def start(method: str, signs: Tensor, **hypers: Any) -> tuple[Tensor, Optimizer]:
    """A stored tensor with these signs and the method's optimizer for it."""
    weight = signs.clone().requires_grad_()
    return weight, METHODS[method](**hypers).optimizer([weight])


def take_steps(
    weight: Tensor,
    optimizer: Optimizer,
    gradients: np.ndarray,
    groups: Sequence[Mapping[str, Any]] | None = None,
) -> Tensor:
    """The weights after each step, (steps, weights). Every step seeds torch with its number, from 0.

    `groups` gives what is written into the parameter group before each step; the epoch is if it is there.
    """
    after = []
    for step, gradient in enumerate(torch.as_tensor(gradients, dtype=weight.dtype)):
        torch.default_generator.manual_seed(step)  # torch.manual_seed is much slower: it looks for GPUs
        (group,) = optimizer.param_groups
        group.update({"epoch": epoch_of(step)} if "epoch" in group else {})
        group.update(groups[step] if groups else {})
        weight.grad = gradient.reshape(weight.shape)
        optimizer.step()
        after.append(weight.detach().clone())
    return torch.stack(after)


def run(
    method: str,
    gradients: np.ndarray,
    signs: Tensor | None = None,
    groups: Sequence[Mapping[str, Any]] | None = None,
    **hypers: Any,
) -> Tensor:
    """The weights of a method after each step, (steps, weights), in the precision of `signs` (float64)."""
    signs = random_signs(gradients.shape[1]) if signs is None else signs
    return take_steps(*start(method, signs, **hypers), gradients, groups)


def flips_in(weights: Tensor) -> int:
    return int((weights[1:] != weights[:-1]).sum())


def assert_same_signs(found: Tensor, expected: Any) -> None:
    """Not one sign differs in all steps, and there was something to get wrong: more flips than weights."""
    expected = torch.as_tensor(np.asarray(expected), dtype=found.dtype)
    assert found.shape == expected.shape
    assert int((found != expected).sum()) == 0
    assert flips_in(expected) > expected[0].numel()

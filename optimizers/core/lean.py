"""Torch's optimizers without its compiler and its profiler: the same numbers, sooner.

The first optimizer that a process makes would import torch's compiler, which takes as long as torch itself.
Each step of one opens a range of the profiler and looks for the compiler, which in a small network weighs as
much as a layer.
"""

import functools
import inspect
from collections.abc import Callable

import torch
from torch.optim import Optimizer

FROM_TORCH = "torch.optim."


def _keep_compiler_out() -> None:
    """Let the methods that all optimizers inherit from torch run as they are: nobody compiles them."""
    for name in ("add_param_group", "load_state_dict", "state_dict", "zero_grad"):
        method = inspect.unwrap(getattr(Optimizer, name))
        # Torch looks here for what its compiler made of the method, and imports the compiler to make it.
        method.__dynamo_disable = method  # type: ignore[attr-defined]


_keep_compiler_out()


@functools.cache
def bare_step(kind: type[Optimizer]) -> Callable[[Optimizer], object]:
    """The `step` of this class without the wrappers that torch puts around it."""
    step = kind.step
    if getattr(step, "hooked", False):  # by torch: the profiler's range and the hooks
        step = step.__wrapped__  # type: ignore[attr-defined]
    if step.__module__.startswith(FROM_TORCH):  # the compiler's breaks, and the gradients switched off
        step = torch.no_grad()(inspect.unwrap(step))
    return step  # type: ignore[return-value]


def clear_gradients(optimizer: Optimizer) -> None:
    """optimizer.zero_grad(), without these wrappers unless its class has another one than torch's."""
    if type(optimizer).zero_grad is not Optimizer.zero_grad:
        optimizer.zero_grad()
        return
    for group in optimizer.param_groups:
        for param in group["params"]:
            param.grad = None


def run_step(optimizer: Optimizer) -> None:
    """optimizer.step(), without these wrappers unless something is hooked to it."""
    hooked = optimizer._optimizer_step_pre_hooks or optimizer._optimizer_step_post_hooks
    if hooked or "step" in vars(optimizer):
        optimizer.step()
    else:
        bare_step(type(optimizer))(optimizer)

"""The state that all code of a process shares, torch's above all: a method that changes it changes others."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch.nn import functional

# What is read, by the name that a user knows it by, and how it is set back.
SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (torch.get_default_device, lambda device: torch.set_default_device(None)),
    "whether gradients are computed": (torch.is_grad_enabled, torch.set_grad_enabled),
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "whether algorithms are deterministic": (
        lambda: (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ),
        lambda both: torch.use_deterministic_algorithms(both[0], warn_only=both[1]),
    ),
    "cuDNN's choice of algorithms": (
        lambda: (
            torch.backends.cudnn.enabled,
            torch.backends.cudnn.benchmark,
            torch.backends.cudnn.deterministic,
        ),
        lambda flags: _set_cudnn(*flags),
    ),
    "the precision of matrix products": (
        torch.get_float32_matmul_precision,
        torch.set_float32_matmul_precision,
    ),
    "autocast": (
        lambda: torch.is_autocast_enabled("cpu"),
        lambda on: torch.set_autocast_enabled("cpu", on),
    ),
    "the detection of anomalies": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "whether the smallest numbers are zero": (
        lambda: bool(torch.full((1,), 1e-310, dtype=torch.float64).mul(1.0) == 0),
        torch.set_flush_denormal,
    ),
    "Python's random state": (random.getstate, random.setstate),
    "NumPy's random state": (lambda: _hashable(np.random.get_state()), np.random.set_state),
}
TORCH_RANDOM = "torch's random state"

# What many methods and the training loop call: nobody may put anything else in its place.
SHARED: dict[str, ModuleType | type] = {
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.autograd": torch.autograd,
    "torch.nn": torch.nn,
    "torch.nn.Module": torch.nn.Module,
    "torch.nn.functional": functional,
    "torch.optim": torch.optim,
    "torch.optim.Optimizer": torch.optim.Optimizer,
}


@dataclass(frozen=True)
class SharedState:
    """The state at one moment."""

    values: Mapping[str, Any]
    random: torch.Tensor
    names: Mapping[str, Mapping[str, Any]]  # of SHARED

    @classmethod
    def now(cls) -> "SharedState":
        return cls(
            {name: read() for name, (read, _) in SETTINGS.items()},
            torch.get_rng_state(),
            {place: dict(vars(module)) for place, module in SHARED.items()},
        )

    def changes(self, *, may_draw: bool = False) -> Iterator[str]:
        """What has changed since, by name; random numbers from torch count unless they may be drawn."""
        now = SharedState.now()
        yield from (name for name, value in self.values.items() if value != now.values[name])
        if not may_draw and not torch.equal(self.random, now.random):
            yield TORCH_RANDOM
        for place, before in self.names.items():
            after = now.names[place]
            for name in sorted(before.keys() & after.keys()):
                if before[name] is not after[name] and not _of_torch(after[name]):
                    yield f"{place}.{name}"

    def restore(self) -> None:
        """Set back what has changed since."""
        for name, (read, write) in SETTINGS.items():
            if read() != self.values[name]:
                write(self.values[name])
        torch.set_rng_state(self.random)
        for place, before in self.names.items():
            for name, value in before.items():
                if vars(SHARED[place]).get(name, value) is not value:
                    setattr(SHARED[place], name, value)


def _of_torch(value: Any) -> bool:
    """Whether torch itself has made it: its compiler, for example, wraps `torch.manual_seed`."""
    return str(getattr(value, "__module__", "")).partition(".")[0] == "torch"


def _hashable(state: Any) -> tuple[Any, ...]:
    """NumPy's state with its numbers as a tuple, which can be compared and set."""
    name, numbers, *rest = state
    return name, tuple(numbers.tolist()), *rest


def _set_cudnn(enabled: bool, benchmark: bool, deterministic: bool) -> None:
    cudnn = torch.backends.cudnn
    cudnn.enabled, cudnn.benchmark, cudnn.deterministic = enabled, benchmark, deterministic

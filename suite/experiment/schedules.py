"""Any hyperparameter as a function of progress: pure values, no state.

Progress runs from 0 at the first optimizer step to 1 just after the last. A schedule is written as

    gamma: 1.0e-4                                                    constant
    gamma: {linear: [1.0e-4, 1.0e-6]}                                straight line
    gamma: {cosine: [1.0e-4, 0.0]}                                   half a cosine wave
    gamma: {exponential: [1.0e-3, 3.0e-7]}                           constant ratio per step
    gamma: {step: {start: 1.0e-4, factor: 0.1, at: [0.2, 0.4]}}      times factor at each of these points
    gamma: {restart: {of: {linear: [1.0e-4, 0.0]}, at: [0.5]}}       another schedule, anew from each point
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch.optim import Optimizer

from optimizers.core import Timed

Schedule = Mapping[str, Any]
SHAPES = ("linear", "cosine", "exponential", "step", "restart")


def value_at(value: Any, progress: float) -> Any:
    """The value of a hyperparameter, scheduled or not, at progress in [0, 1]."""
    if not isinstance(value, Mapping):
        return value
    ((shape, setting),) = value.items()
    if shape == "step":
        return setting["start"] * setting["factor"] ** sum(progress >= point for point in setting["at"])
    if shape == "restart":
        begins = max(point for point in (0.0, *setting["at"]) if point <= progress)
        ends = min((point for point in setting["at"] if point > progress), default=1.0)
        share = (progress - begins) / (ends - begins)
        return value_at(setting["of"], share)
    start, end = setting
    match shape:
        case "linear":
            return start + (end - start) * progress
        case "cosine":
            return end + (start - end) * 0.5 * (1.0 + math.cos(math.pi * progress))
        case "exponential":  # zero stays zero
            return start * (end / start) ** progress if start else start
    raise ValueError(f"no schedule is called {shape!r}; there are {list(SHAPES)}")


def decayed(start: float, decay: Mapping[str, Any]) -> dict[str, Any]:
    """A schedule from `start`, given how it decays: {linear: 0.01} ends at 1 % of the start.

    This is how an experiment says what happens to a value that is only known once a tuner has drawn it.
    """
    ((shape, setting),) = decay.items()
    if shape == "step":
        return {"step": {"start": start, **setting}}
    if shape == "restart":
        return {"restart": {"of": decayed(start, setting["of"]), "at": setting["at"]}}
    return {shape: [start, start * setting]}


def apply_schedules(optimizer: Optimizer, values: Mapping[str, Any], progress: float) -> None:
    """Write each scheduled value into every parameter group; ValueError for a name that a group has not."""
    for name, value in values.items():
        for group in optimizer.param_groups:
            if name not in group:
                names = sorted(key for key in group if key != "params")
                raise ValueError(f"{name} cannot follow a schedule: the optimizer's groups have {names}")
            group[name] = value_at(value, progress)


def tell_time(optimizer: Optimizer, modules: Iterable[Timed], epoch: int, progress: float) -> None:
    """Tell those who ask for it, by an entry in their groups or by being `Timed`, where the training is."""
    for group in optimizer.param_groups:
        for name, value in (("epoch", epoch), ("progress", progress)):
            if name in group:
                group[name] = value
    for module in modules:
        module.progress = progress

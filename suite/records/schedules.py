"""Any hyperparameter as a function of progress: every shape of a schedule, with its checks and its JSON form.

Progress runs from 0 at the first optimizer step to 1 just after the last. A schedule is written as

    gamma: 1.0e-4                                                    constant
    gamma: {linear: [1.0e-4, 1.0e-6]}                                straight line
    gamma: {cosine: [1.0e-4, 0.0]}                                   half a cosine wave
    gamma: {exponential: [1.0e-3, 3.0e-7]}                           constant ratio per step
    gamma: {step: {start: 1.0e-4, factor: 0.1, at: [0.2, 0.4]}}      times factor at each of these points
    gamma: {restart: {of: {linear: [1.0e-4, 0.0]}, at: [0.5]}}       another schedule, restarted at each point

A decay is a schedule without its start, for a value that is only known once a tuner has drawn it:
`{linear: 0.01}` ends at 1 % of the start. It is kept as the schedule of the start 1.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

from suite.machine.errors import one_of, shown


class ScheduleError(ValueError):
    """A schedule that cannot be read; `at` are the keys that lead to the mistake."""

    def __init__(self, at: Sequence[str], message: str) -> None:
        super().__init__(message)
        self.at, self.message = tuple(at), message


class Schedule(Protocol):
    """One shape with its numbers."""

    @property
    def start(self) -> float:
        """The value at progress 0."""
        ...

    def value(self, progress: float) -> float:
        """The value at progress in [0, 1]."""
        ...

    def scaled(self, factor: float) -> "Schedule":
        """The same shape with every value times `factor`."""
        ...

    def as_json(self) -> dict[str, Any]:
        """The schedule as an experiment and a record write it."""
        ...


@dataclass(frozen=True)
class _Ramp:
    """From a start to an end."""

    start: float
    end: float
    shape: ClassVar[str]

    def scaled(self, factor: float) -> "Schedule":
        return type(self)(factor * self.start, factor * self.end)  # type: ignore[return-value]

    def as_json(self) -> dict[str, Any]:
        return {self.shape: [self.start, self.end]}


class Linear(_Ramp):
    shape = "linear"

    def value(self, progress: float) -> float:
        return self.start + (self.end - self.start) * progress


class Cosine(_Ramp):
    shape = "cosine"

    def value(self, progress: float) -> float:
        return self.end + (self.start - self.end) * 0.5 * (1.0 + math.cos(math.pi * progress))


class Exponential(_Ramp):
    shape = "exponential"

    def value(self, progress: float) -> float:
        return self.start * (self.end / self.start) ** progress if self.start else self.start  # 0 stays 0


@dataclass(frozen=True)
class Step:
    """The start, times `factor` at each of the points `at`."""

    start: float
    factor: float
    at: tuple[float, ...]

    def value(self, progress: float) -> float:
        return self.start * self.factor ** sum(progress >= point for point in self.at)

    def scaled(self, factor: float) -> "Step":
        return Step(factor * self.start, self.factor, self.at)

    def as_json(self) -> dict[str, Any]:
        return {"step": {"start": self.start, "factor": self.factor, "at": list(self.at)}}


@dataclass(frozen=True)
class Restart:
    """The schedule `of`, squeezed between 0, each of the points `at`, and 1."""

    of: Schedule
    at: tuple[float, ...]

    @property
    def start(self) -> float:
        return self.of.start

    def value(self, progress: float) -> float:
        begins = max(point for point in (0.0, *self.at) if point <= progress)
        ends = min((point for point in self.at if point > progress), default=1.0)
        return self.of.value((progress - begins) / (ends - begins))

    def scaled(self, factor: float) -> "Restart":
        return Restart(self.of.scaled(factor), self.at)

    def as_json(self) -> dict[str, Any]:
        return {"restart": {"of": self.of.as_json(), "at": list(self.at)}}


RAMPS: dict[str, type[Linear | Cosine | Exponential]] = {
    ramp.shape: ramp for ramp in (Linear, Cosine, Exponential)
}
SHAPES = (*RAMPS, "step", "restart")
SCHEDULES = (Linear, Cosine, Exponential, Step, Restart)


def value_at(value: Any, progress: float) -> Any:
    """The value of a hyperparameter, scheduled or not, at progress in [0, 1]."""
    return value.value(progress) if isinstance(value, SCHEDULES) else value


def start_of(value: Any) -> Any:
    """The value of a hyperparameter, scheduled or not, at the first step."""
    return value.start if isinstance(value, SCHEDULES) else value


def same_shape(one: Schedule, other: Schedule) -> bool:
    """Whether two schedules are the same but for a factor, up to the last digits."""
    if not one.start or not other.start:
        return type(one) is type(other)
    return _close(one.scaled(1 / one.start).as_json(), other.scaled(1 / other.start).as_json())


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    if isinstance(one, int | float) and isinstance(other, int | float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other


def as_json(value: Any) -> Any:
    """A hyperparameter, scheduled or not, as a record holds it."""
    return value.as_json() if isinstance(value, SCHEDULES) else value


def parse_schedule(value: Any) -> Schedule:
    """The schedule that is written so; raises ScheduleError for anything else."""
    shape, setting = _shape_of(value)
    if shape == "step":
        start, factor, at = _step_numbers(setting, ("start", "factor", "at"))
        schedule: Schedule = Step(start, factor, at)
    elif shape == "restart":
        schedule = _restart(setting, parse_schedule)
    elif not (isinstance(setting, list) and len(setting) == 2 and all(is_number(v) for v in setting)):
        raise ScheduleError([shape], f"takes [start, end], two numbers, not {shown(setting)}")
    elif shape == "exponential" and min(setting) <= 0:
        raise ScheduleError([shape], f"needs a start and an end above zero, not {shown(setting)}")
    else:
        schedule = RAMPS[shape](*map(float, setting))
    if not _stays_finite(schedule):
        raise ScheduleError([shape], f"grows beyond what a number can hold: {shown(setting)}")
    return schedule


def parse_decay(value: Any) -> Schedule:
    """The decay that is written so, as a schedule of the start 1; raises ScheduleError for anything else."""
    shape, setting = _shape_of(value)
    if shape == "step":
        factor, at = _step_numbers(setting, ("factor", "at"))
        if factor > 1:
            raise ScheduleError([shape, "factor"], f"must be at most 1, not {factor}: a decay never grows")
        return Step(1.0, factor, at)
    if shape == "restart":
        return _restart(setting, parse_decay)
    if not (is_number(setting) and 0 <= setting <= 1) or (shape == "exponential" and setting == 0):
        least = "above 0" if shape == "exponential" else "from 0"
        raise ScheduleError(
            [shape],
            f"takes the share of the start that is left at the end, {least} to 1, not {shown(setting)}",
        )
    return RAMPS[shape](1.0, float(setting))


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shape_of(value: Any) -> tuple[str, Any]:
    if not isinstance(value, Mapping) or len(value) != 1:
        raise ScheduleError(
            [], f"a schedule is one of {', '.join(SHAPES)} with its setting, not {shown(value)}"
        )
    ((shape, setting),) = value.items()
    if shape not in SHAPES:
        raise ScheduleError([shape], f"there is no schedule {shape!r}{one_of(shape, SHAPES)}")
    return shape, setting


def _stays_finite(schedule: Schedule) -> bool:
    try:
        return all(math.isfinite(schedule.value(progress)) for progress in (0.0, 0.5, 1.0))
    except OverflowError:
        return False


def _step_numbers(setting: Any, keys: tuple[str, ...]) -> list[Any]:
    """The setting of a step schedule in the order of `keys`, numbers as floats: 1 and 1.0 are equal."""
    if not isinstance(setting, Mapping) or set(setting) != set(keys):
        raise ScheduleError(["step"], f"takes the keys {', '.join(keys)}, not {shown(setting)}")
    for key in keys[:-1]:
        if not is_number(setting[key]):
            raise ScheduleError(["step", key], f"a number belongs here, not {shown(setting[key])}")
    if setting["factor"] < 0:
        raise ScheduleError(["step", "factor"], f"must be at least 0, not {setting['factor']}")
    return [*(float(setting[key]) for key in keys[:-1]), _points(setting["at"], "step")]


def _restart(setting: Any, parse: Callable[[Any], Schedule]) -> Restart:
    if not isinstance(setting, Mapping) or set(setting) != {"of", "at"}:
        raise ScheduleError(["restart"], f"takes the keys of, at, not {shown(setting)}")
    at = _points(setting["at"], "restart")
    try:
        return Restart(parse(setting["of"]), at)
    except ScheduleError as error:
        raise ScheduleError(["restart", "of", *error.at], error.message) from None


def _points(at: Any, shape: str) -> tuple[float, ...]:
    in_order = isinstance(at, list) and all(is_number(v) and 0 < v < 1 for v in at) and sorted(set(at)) == at
    if not in_order:
        raise ScheduleError(
            [shape, "at"], f"takes rising shares of the training, between 0 and 1, not {shown(at)}"
        )
    return tuple(at)

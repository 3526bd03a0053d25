"""Checks of hyperparameters: each takes values by name and raises BadHyper for the first impossible one.

Each check states the condition that holds, not the one that fails. So NaN, for which no comparison holds, is
always refused.
"""

from collections.abc import Callable, Iterable, Mapping

from optimizers.core.hyper import HyperValue


class BadValue(ValueError):
    """A named value is impossible. `name`: whose; the message gives its range or choices."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)  # both, as pickle passes them to this constructor again
        self.name, self.message = name, message

    def __str__(self) -> str:
        return self.message


class BadHyper(BadValue):
    """A hyperparameter has an impossible value."""


def check_positive(**values: float) -> None:
    """Each value must be > 0."""
    _check(values, "must be > 0", lambda value: value > 0.0)


def check_not_negative(**values: float) -> None:
    """Each value must be >= 0."""
    _check(values, "must be >= 0", lambda value: value >= 0.0)


def check_rates(**values: float) -> None:
    """Each value must lie in (0, 1], as the rate of a moving average does."""
    _check(values, "must lie in (0, 1]", lambda value: 0.0 < value <= 1.0)


def check_shares(**values: float) -> None:
    """Each value must lie in [0, 1]."""
    _check(values, "must lie in [0, 1]", lambda value: 0.0 <= value <= 1.0)


def check_below_one(**values: float) -> None:
    """Each value must lie in [0, 1), as the share that a moving average keeps of itself in a step does."""
    _check(values, "must lie in [0, 1)", lambda value: 0.0 <= value < 1.0)


def check_one_of(choices: Iterable[HyperValue], /, **values: HyperValue) -> None:
    """Each value must be one of the choices."""
    allowed = list(choices)
    for name, value in values.items():
        if value not in allowed:
            raise BadHyper(name, f"{name} must be one of {allowed}, not {value!r}")


def _check(values: Mapping[str, float], condition: str, holds: Callable[[float], bool]) -> None:
    for name, value in values.items():
        if not holds(value):
            raise BadHyper(name, f"{name} {condition}, not {value}")

"""What a hyperparameter may be: each check takes values by name, and names the first that it refuses.

ValueError says the name, the range and the value. A bound is written as what holds, not as what fails, so
that nan, for which no comparison holds, is refused everywhere.
"""

from collections.abc import Callable, Iterable, Mapping

from optimizers.core.hyper import HyperValue


def check_positive(**values: float) -> None:
    """Refuse what is not > 0."""
    _check(values, "must be > 0", lambda value: value > 0.0)


def check_not_negative(**values: float) -> None:
    """Refuse what is not >= 0."""
    _check(values, "must be >= 0", lambda value: value >= 0.0)


def check_rates(**values: float) -> None:
    """Refuse what does not lie in (0, 1], as the rate of a moving average does."""
    _check(values, "must lie in (0, 1]", lambda value: 0.0 < value <= 1.0)


def check_shares(**values: float) -> None:
    """Refuse what does not lie in [0, 1]."""
    _check(values, "must lie in [0, 1]", lambda value: 0.0 <= value <= 1.0)


def check_below_one(**values: float) -> None:
    """Refuse what does not lie in [0, 1), as what an average keeps of itself in a step does."""
    _check(values, "must lie in [0, 1)", lambda value: 0.0 <= value < 1.0)


def check_one_of(choices: Iterable[HyperValue], /, **values: HyperValue) -> None:
    """Refuse what is none of the choices."""
    allowed = list(choices)
    for name, value in values.items():
        if value not in allowed:
            raise ValueError(f"{name} must be one of {allowed}, not {value!r}")


def _check(values: Mapping[str, float], words: str, allows: Callable[[float], bool]) -> None:
    for name, value in values.items():
        if not allows(value):
            raise ValueError(f"{name} {words}, not {value}")

"""The searched range of a hyperparameter as a record holds it."""

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optimizers.core import Hyper
from suite.records.schema import Range


def range_of(hyper: Hyper) -> Range:
    """The numbers of a hyperparameter's Optuna distribution; TypeError for a kind that has no words here."""
    match hyper.range:
        case FloatDistribution(low=low, high=high, log=is_log):
            return Range("log" if is_log else "uniform", (low, high))
        case IntDistribution(low=low, high=high):
            return Range("integer", (low, high))
        case CategoricalDistribution(choices=choices):
            return Range("choice", tuple(choices))
    raise TypeError(f"there is no range for {hyper.range!r}")


def distribution_of(found: Range) -> BaseDistribution:
    """The Optuna distribution that a record's range stands for."""
    if found.kind == "choice":
        return CategoricalDistribution(found.values)
    low, high = map(float, found.values)  # pyright: ignore[reportArgumentType]
    if found.kind == "integer":
        return IntDistribution(int(low), int(high))
    return FloatDistribution(low, high, log=found.kind == "log")

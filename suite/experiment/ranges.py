"""The searched range of a hyperparameter as a record holds it."""

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

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

"""A hyperparameter: its published default and the range that a tuner searches."""

from typing import NamedTuple

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

HyperValue = float | int | str | bool | None


class Hyper(NamedTuple):
    """Default (trial 0 of every study) and search range; by hand, a value outside the range may be set.

    What is `optional` is off (None) and not searched, unless an experiment sets it or names it in `tune`;
    then `default` is the published value.
    """

    default: HyperValue
    range: BaseDistribution
    optional: bool = False

    @property
    def unless_set(self) -> HyperValue:
        """The value of an experiment that says nothing of it."""
        return None if self.optional else self.default

    def __str__(self) -> str:
        """The range in words, as every table prints it."""
        match self.range:
            case FloatDistribution(low=low, high=high, log=is_log):
                return f"{'log' if is_log else 'uniform'} {low:g} … {high:g}"
            case CategoricalDistribution(choices=choices):
                return "choice " + " | ".join("none" if c is None else str(c) for c in choices)
        raise TypeError(f"no words for {self.range!r}")


def log(default: float, low: float, high: float) -> Hyper:
    """A positive number, searched uniformly in its logarithm."""
    return _checked(Hyper(default, FloatDistribution(low, high, log=True)))


def uniform(default: float, low: float, high: float) -> Hyper:
    """A number, searched uniformly."""
    return _checked(Hyper(default, FloatDistribution(low, high)))


def choice(default: HyperValue, *others: HyperValue) -> Hyper:
    """One of a few values; the default is the first of them."""
    return Hyper(default, CategoricalDistribution((default, *others)))


def optional(hyper: Hyper) -> Hyper:
    """Something that a method can do besides: off, and not searched, unless an experiment asks for it."""
    return hyper._replace(optional=True)


def _checked(hyper: Hyper) -> Hyper:
    assert isinstance(hyper.range, FloatDistribution) and isinstance(hyper.default, float | int)
    if not hyper.range.low <= hyper.default <= hyper.range.high:
        raise ValueError(f"the default {hyper.default:g} lies outside its own range, {hyper}")
    return hyper

"""A hyperparameter: its published default and the range that a tuner searches."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

HyperValue = float | int | str | bool | None


class Addition(NamedTuple):
    """What a value of a hyperparameter adds to its method: a phrase, and the paper that it comes from."""

    phrase: str
    paper: str


class Hyper(NamedTuple):
    """Default (trial 0 of every study) and search range; a value set by hand may lie outside the range.

    An `optional` hyperparameter is off (None) and not searched, unless an experiment sets it or names it in
    `tune`; then `default` is the published value.

    adds: what the hyperparameter adds where it is used, or what each of its values adds.
    newer: it is newer than the protocol: a trial names it only where it is used, so that older trials keep
        their run ids.
    revised: where it is used, the rule gives other numbers than it did at first under this protocol: the
        trial then says so, and gets another run id.
    """

    default: HyperValue
    range: BaseDistribution
    optional: bool = False
    adds: Addition | Mapping[HyperValue, Addition] | None = None
    newer: bool = False
    revised: bool = False

    @property
    def unless_set(self) -> HyperValue:
        """The value where an experiment does not set it."""
        return None if self.optional else self.default

    def addition(self, value: Any) -> Addition | None:
        """What this value adds to the method."""
        if isinstance(self.adds, Mapping):
            return self.adds.get(value)
        return self.adds if value != self.unless_set else None


def log(default: float, low: float, high: float) -> Hyper:
    """A positive number, searched uniformly in its logarithm."""
    return _number(default, FloatDistribution(low, high, log=True))


def uniform(default: float, low: float, high: float) -> Hyper:
    """A number, searched uniformly."""
    return _number(default, FloatDistribution(low, high))


def integer(default: int, low: int, high: int) -> Hyper:
    """A whole number, each from `low` to `high` alike; it follows no schedule."""
    if default != int(default):
        raise ValueError(f"the default {default:g} is no whole number")
    return _number(int(default), IntDistribution(low, high))


def choice(default: HyperValue, *others: HyperValue) -> Hyper:
    """One of a few values; the default is the first of them."""
    return Hyper(default, CategoricalDistribution((default, *others)))


def optional(hyper: Hyper, adds: Addition | Mapping[HyperValue, Addition] | None = None) -> Hyper:
    """An addition to a method: off, and not searched, unless an experiment asks for it."""
    return hyper._replace(optional=True, adds=adds)


def _number(default: float, searched: FloatDistribution | IntDistribution) -> Hyper:
    if not searched.low <= default <= searched.high:
        ends = f"from {searched.low:g} to {searched.high:g}"
        raise ValueError(f"the default {default:g} lies outside its own range, {ends}")
    return Hyper(default, searched)

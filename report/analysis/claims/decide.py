"""From an estimate to an outcome: supported, refuted, or undecided with the units that it would take.

A claim of several tests is supported if every test is, each at 5 %: no correction is due. It is refuted by
any one of them, so that an interval which refutes is at Bonferroni's level for all `parts` of the claim.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, Self

import numpy as np
from scipy import stats

from report.analysis.claims.arms import Sample
from report.analysis.critical import student
from report.analysis.intervals import Interval, around, satterthwaite

Outcome = Literal["supported", "refuted", "undecided"]
Expect = Literal["above", "below", "within", "beyond"]
LEVEL = 0.95
MOST_UNITS = 10_000  # further units are not worth a number
PERCENT_SQUARED = 100.0**2


@dataclass(frozen=True)
class Estimate:
    """A weighted sum of means. More units make the first squared error smaller, and not the second."""

    value: float
    units_error: float  # squared
    images_error: float  # squared
    df: float  # Welch and Satterthwaite; infinite where no unit varies
    units: int  # of the arm that has the fewest
    even: tuple[float, float] | None = None  # units_error and df, if every arm had so many; None if each has

    @property
    def error(self) -> float:
        return math.sqrt(self.units_error + self.images_error)

    def interval(self, level: float = LEVEL) -> Interval:
        return around(self.value, student(self.df, (1 + level) / 2) * self.error if self.error else 0.0)

    def with_units(self, units: int) -> "Estimate":
        """The same estimate from so many units of each arm."""
        error, df = self.even or (self.units_error, self.df)
        if not math.isinf(df):
            df *= (units - 1) / (self.units - 1)
        return replace(self, units_error=error * self.units / units, df=df, units=units, even=None)

    def reversed(self) -> "Estimate":
        return replace(self, value=-self.value)


def estimate_of(samples: Sequence[Sample], weights: Sequence[float]) -> Estimate:
    """The weighted sum of the samples' means; each has two units or more.

    Where every sample knows its test images, their choice adds to the error what the units' variance does not
    hold: Var_i(Σ c ȳ_i) - Σ c² MS/n, over the number of images.
    """
    pairs = list(zip(samples, weights, strict=True))
    squares = [weight**2 * each.variance / each.n for each, weight in pairs]
    images_error = 0.0
    profiles = [(each.images, weight) for each, weight in pairs if each.images is not None]
    if len(profiles) == len(pairs):
        rates = sum(weight * profile.rates for profile, weight in profiles)
        if (count := np.size(rates)) > 1:
            noise = sum(weight**2 * profile.noise for profile, weight in profiles)
            images_error = PERCENT_SQUARED * max(0.0, float(np.var(rates, ddof=1)) - noise) / count
    total, fewest = sum(squares), min(each.n for each in samples)
    # The images count as infinitely many degrees of freedom, as in the comparison of methods.
    df = satterthwaite(total + images_error, squares, [each.n - 1 for each in samples])
    even = None
    if any(each.n > fewest for each in samples):
        at_fewest = [square * each.n / fewest for square, each in zip(squares, samples, strict=True)]
        error = sum(at_fewest)
        even = error, satterthwaite(error + images_error, at_fewest, [fewest - 1] * len(samples))
    return Estimate(
        value=sum(weight * each.mean for each, weight in pairs),
        units_error=total,
        images_error=images_error,
        df=df,
        units=fewest,
        even=even,
    )


class Estimated(Protocol):
    """What an outcome needs to know: an estimate of means, or of shares."""

    def interval(self, level: float = LEVEL) -> Interval: ...

    def reversed(self) -> Self: ...


def outcome_of(estimate: Estimated, expect: Expect, margin: float, parts: int = 1) -> Outcome:
    """What the estimate says; `parts`: how many tests may refute the claim."""
    if expect == "below":
        return outcome_of(estimate.reversed(), "above", margin, parts)
    likely, refuting = estimate.interval(), estimate.interval(refuting_level(expect, parts))
    if expect == "above":
        if likely.low > margin:
            return "supported"
        return "refuted" if refuting.high <= margin else "undecided"
    if expect == "within":
        if estimate.interval(2 * LEVEL - 1).within(margin):  # two one-sided tests
            return "supported"
        return "refuted" if outside(refuting, margin) else "undecided"
    if outside(likely, margin):
        return "supported"
    return "refuted" if refuting.within(margin) else "undecided"


def refuting_level(expect: Expect, parts: int) -> float:
    """Of the interval that has to lie wholly against a test; two one-sided tests refute a difference."""
    sides = 2 if expect == "beyond" else 1
    return 1 - sides * (1 - LEVEL) / parts


def deciding_level(estimate: Estimated, expect: Expect, margin: float, parts: int) -> float | None:
    """Of the interval that decides a test, or leaves it open; None if that is the 95 % one."""
    outcome = outcome_of(estimate, expect, margin, parts)
    open_for_all = outcome == "undecided" and outcome_of(estimate, expect, margin) == "refuted"
    if open_for_all or (expect == "beyond" and outcome == "refuted"):
        return refuting_level(expect, parts)
    return 2 * LEVEL - 1 if expect == "within" and outcome != "refuted" else None


def outside(interval: Interval, margin: float) -> bool:
    return interval.low > margin or interval.high < -margin


def units_needed(estimate: Estimate, expect: Expect, margin: float, parts: int = 1) -> int | None:
    """How many units of each arm would decide, if the estimate stays; None if no number of units does."""

    def decided(units: int) -> bool:
        return outcome_of(estimate.with_units(units), expect, margin, parts) != "undecided"

    low, high = estimate.units, estimate.units
    while not decided(high):
        if high >= MOST_UNITS:
            return None
        low, high = high, min(2 * high, MOST_UNITS)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def power_at(expect: Expect, margin: float, error: float, df: float, level: float = LEVEL) -> float:
    """What such an estimate can show, with an approximate t distribution.

    For `within` the chance of support at a true value of 0; else the true value, beyond the margin, that is
    shown in 80 % of the cases by an interval of that level.
    """
    if expect == "within":
        limit = margin / error - student(df, LEVEL) if error else math.inf
        return max(0.0, 2 * probability(limit, df) - 1)
    return margin + (student(df, (1 + level) / 2) + student(df, 0.8)) * error


def probability(t: float, df: float) -> float:
    """P(T < t) of Student's t; of the normal distribution for infinite degrees of freedom."""
    return float(stats.t.cdf(t, df))

"""The intervals of one method's mean, and of a measure taken twice on the same networks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.analysis.critical import student
from report.analysis.evidence import SAME


@dataclass(frozen=True)
class Interval:
    low: float
    high: float

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0

    def within(self, margin: float) -> bool:
        return -margin < self.low and self.high < margin


def around(center: float, half_width: float) -> Interval:
    return Interval(center - half_width, center + half_width)


def variance_of(values: Sequence[float] | np.ndarray) -> float:
    """The sample variance (n - 1): NaN for fewer than two values, exactly 0 for equal ones."""
    if len(values) < 2:
        return math.nan
    return 0.0 if np.ptp(values) < SAME else float(np.var(values, ddof=1))


def t_interval(values: Sequence[float] | np.ndarray, level: float = 0.95) -> Interval | None:
    """Student's interval of the mean of independent values; None for fewer than two.

    It covers as often as it promises for few values, where a percentile bootstrap is too narrow.
    """
    n = len(values)
    if n < 2:
        return None
    half_width = student(n - 1, (1 + level) / 2) * math.sqrt(variance_of(values) / n)
    return around(float(np.mean(values)), half_width)


def satterthwaite(square: float, squares: Sequence[float], dfs: Sequence[float]) -> float:
    """Degrees of freedom of a variance, approximately (Welch 1947, Satterthwaite 1946).

    square: the variance. squares, dfs: its parts, and theirs; the rest of it is known exactly.
    """
    spread = sum(part**2 / df for part, df in zip(squares, dfs, strict=True))
    return square**2 / spread if spread > 0 else math.inf


def welch_interval(first: Sequence[float], second: Sequence[float], level: float = 0.95) -> Interval | None:
    """Welch's interval of mean(first) - mean(second), for other values of both.

    None for fewer than two values on a side, and where no value varies: nothing says how much they would.
    """
    if min(len(first), len(second)) < 2:
        return None
    squares = [variance_of(values) / len(values) for values in (first, second)]
    if not any(squares):
        return None
    df = satterthwaite(sum(squares), squares, [len(first) - 1, len(second) - 1])
    half_width = student(df, (1 + level) / 2) * math.sqrt(sum(squares))
    return around(float(np.mean(first) - np.mean(second)), half_width)


def pooled_interval(groups: Sequence[Sequence[float]], level: float = 0.95) -> Interval | None:
    """The interval of the mean of the groups' means, for other values of the same groups.

    The variance is pooled within the groups. None if no group has two values.
    """
    df = sum(len(group) - 1 for group in groups)
    if df < 1:
        return None
    squares = sum((len(group) - 1) * variance_of(group) for group in groups if len(group) > 1)
    error = math.sqrt(squares / df * sum(1 / len(group) for group in groups)) / len(groups)
    center = float(np.mean([np.mean(group) for group in groups]))
    return around(center, student(df, (1 + level) / 2) * error)

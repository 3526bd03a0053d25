"""What a setting gains over another on test: the difference of two means of independent units."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.analysis.intervals import Interval, welch_interval
from report.analysis.judgement import ENOUGH_UNITS


@dataclass(frozen=True)
class Gain:
    """first - second, in fractions; NaN where one of them has no unit.

    interval: 95 %; None where a side has one unit, or where no unit varies. units: of each side.
    """

    value: float
    interval: Interval | None
    provisional: bool = False  # whether planned runs of it are not in
    same_runs: bool = False  # whether both sides are the same setting
    few: bool = False  # whether a side has too few units for a verdict
    units: tuple[int, int] = (0, 0)

    @property
    def shown(self) -> Interval | None:
        """The interval where it is of all planned runs and of enough units: what a verdict may rest on."""
        return None if self.provisional or self.few else self.interval


SAME_RUNS = Gain(0.0, None, same_runs=True)


def welch(first: Sequence[float], second: Sequence[float]) -> Gain:
    """Welch's t-interval of the difference of the means.

    It says how both vary when they are trained, or tuned, again; another test set is not part of it. Where
    sides share runs (a study whose winner is the default) they vary together, and it is too wide.
    """
    if not first or not second:
        return Gain(math.nan, None)
    value, units = float(np.mean(first) - np.mean(second)), (len(first), len(second))
    return Gain(value, welch_interval(first, second), few=min(units) < ENOUGH_UNITS, units=units)

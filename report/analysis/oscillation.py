"""Do methods that flip weights back and forth reach less? An association over methods, which is no cause."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from report.analysis.claims.measures import measured
from report.analysis.intervals import Interval
from report.read.records import Records, Task

ENOUGH_METHODS = 8  # the interval of fewer holds nearly everything


@dataclass(frozen=True)
class Oscillation:
    """A method's finished final runs on a task, in percent: the mean of each.

    undone: of its flips, those undone within 10 steps. gap: training accuracy in the last epoch, minus test.
    """

    method: str
    undone: float
    accuracy: float
    gap: float
    runs: int


@dataclass(frozen=True)
class Association:
    """Spearman's rank correlation over methods, with its 95 % interval."""

    rho: float
    interval: Interval
    methods: int


def oscillations(records: Records, task: Task) -> list[Oscillation]:
    """Of each method that is no control, with a finished run whose weights flip."""
    found = []
    for cell in records.cells_of(task):
        if cell.method in records.controls:
            continue
        runs = [run for run in records.finals(cell) if run.status == "done"]
        rows = [[measured(run, name) for name in ("undone_10", "test_top1", "gap")] for run in runs]
        known = np.array([row for row in rows if all(map(math.isfinite, row))]).reshape(-1, 3)
        if len(known):
            undone, accuracy, gap = known.mean(axis=0)
            found.append(Oscillation(cell.method, float(undone), float(accuracy), float(gap), len(known)))
    return found


def association(x: Sequence[float], y: Sequence[float]) -> Association | None:
    """None for fewer than eight methods, or equal ones.

    Bonett and Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations", Psychometrika 65: Fisher's z with the variance (1 + rho^2 / 2) / (n - 3).
    """
    n = len(x)
    if n < ENOUGH_METHODS or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    rho = float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])
    if abs(rho) > 1 - 1e-12:
        return Association(rho, Interval(rho, rho), n)
    half_width = float(stats.norm.ppf(0.975)) * math.sqrt((1 + rho**2 / 2) / (n - 3))
    z = math.atanh(rho)
    return Association(rho, Interval(math.tanh(z - half_width), math.tanh(z + half_width)), n)

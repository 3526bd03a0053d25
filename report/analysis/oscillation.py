"""Do methods that flip weights back and forth reach less? An association over methods, which is no cause."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from report.analysis.claims.measures import measured
from report.analysis.intervals import Interval
from report.read.records import Records, RunRecord, Task

ENOUGH_METHODS = 8  # with which 0.7 is not excluded if none is found; with fewer, nothing is


@dataclass(frozen=True)
class Oscillation:
    """A method's finished final runs on a task, in percent.

    undone: of all their flips, those undone within 10 steps. accuracy: the mean on test. gap: the mean of the
    training accuracy in the last epoch, minus that.
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
    """Of each row that competes and has a finished run whose weights flip.

    A method counts once: not again for another track of its tuning, or under another label. None where fewer
    than eight methods compete, as on a grid of one method's settings.
    """
    found: dict[str, Oscillation] = {}
    methods = set[str]()
    for cell in records.cells_of(task):
        planned = f"{records.plan.methods[cell.planned.method]} {cell.planned.trial}"
        if cell.method in records.controls or planned in found:
            continue
        runs = [run for run in records.finals(cell) if run.status == "done"]
        curves = [run.curves for run in runs if run.curves is not None]
        flips = sum(int(each.flips.sum()) for each in curves)
        if flips:
            undone = 100 * sum(int(each.undone_10.sum()) for each in curves) / flips
            accuracy, gap = (mean(runs, measure) for measure in ("test_top1", "gap"))
            found[planned] = Oscillation(cell.method, undone, accuracy, gap, len(runs))
            methods.add(cell.planned.trial.method.name)
    return list(found.values()) if len(methods) >= ENOUGH_METHODS else []


def mean(runs: Sequence[RunRecord], measure: str) -> float:
    return float(np.mean([measured(run, measure) for run in runs]))


def association(x: Sequence[float], y: Sequence[float]) -> Association | None:
    """None for fewer than eight methods, or equal ones.

    Bonett and Wright 2000, "Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations", Psychometrika 65: Fisher's z with the variance (1 + rho^2 / 2) / (n - 3). A perfect order
    has the interval of the next one, with two neighbours exchanged, out to itself: z is infinite there.
    """
    n = len(x)
    if n < ENOUGH_METHODS or len(set(x)) == 1 or len(set(y)) == 1:
        return None
    rho = float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])
    next_one = 1 - 12 / (n**3 - n)
    within = min(max(rho, -next_one), next_one)
    half_width = float(stats.norm.ppf(0.975)) * math.sqrt((1 + within**2 / 2) / (n - 3))
    z = math.atanh(within)
    low, high = math.tanh(z - half_width), math.tanh(z + half_width)
    return Association(rho, Interval(min(low, rho), max(high, rho)), n)

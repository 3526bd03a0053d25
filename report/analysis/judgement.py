"""What the final runs of a task say about its methods: intervals, differences, and one reading for each."""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

from report.analysis.differences import Difference, differences, erratic_methods
from report.analysis.evidence import SAME, MethodEvidence, TaskEvidence
from report.analysis.intervals import Interval, pooled_interval, t_interval, variance_of
from report.analysis.readings import RANKED, Kind, Reading, against_best

ENOUGH_UNITS = 3  # for a verdict: two say too little of how a method varies


@dataclass(frozen=True)
class MethodJudgement:
    """One method. Accuracies are fractions; NaN where a number does not exist."""

    method: str
    unit: Literal["study", "run"]
    mean: float  # over units, each diverged run at chance
    mean_without_diverged: float
    sd: float  # of a unit; 0 if the units do not differ, which is to be said
    procedure: Interval | None  # 95 %: of tuning and training again; over studies
    setting: Interval | None  # 95 %: of training these settings again; over seeds, pooled within studies
    units: int
    runs: int
    planned_runs: int
    diverged: int
    may_be_best: bool  # in the set that holds the true best of the methods that are not erratic, in 95 %
    behind: Difference | None  # the best less this one, where both are complete and have enough units
    reading: Reading

    @property
    def interval(self) -> Interval | None:
        """The one of what is compared: of the procedure if units are studies, else of the setting."""
        return self.procedure if self.unit == "study" else self.setting


@dataclass(frozen=True)
class Judgement:
    """All planned methods of a task, in the order of the plan."""

    methods: tuple[MethodJudgement, ...]
    best: str | None  # the highest mean of complete methods with enough units; of equal ones the first name
    pairs: tuple[Difference, ...]  # of all competing methods with enough units, damaged ones too
    competing: int  # planned methods, for which the pairs are corrected
    unit: Literal["study", "run"]
    conditional: bool  # given one draw of the tuning

    def of_kind(self, *kinds: Kind) -> list[MethodJudgement]:
        return [each for each in self.methods if each.reading.kind in kinds]


def judge(task: TaskEvidence) -> Judgement:
    """Controls have their mean and intervals but do not compete."""
    competing = [each for each in task.methods if not each.control]
    comparable = [each for each in competing if enough(each)]
    apart = erratic_methods(task, comparable)
    pairs = differences(task, comparable, len(competing), apart)
    means = {each.method: mean_of(task, each) for each in competing if each.units and not each.damaged}
    best = best_of(means, comparable)
    behind = {}
    for pair in pairs:
        if best in (pair.first, pair.second):
            oriented = pair if pair.first == best else pair.reversed()
            behind[oriented.second] = oriented
    return Judgement(
        methods=tuple(judge_method(task, each, best, means, behind, apart) for each in task.methods),
        best=best,
        pairs=tuple(pairs),
        competing=len(competing),
        unit=task.unit,
        conditional=task.conditional,
    )


def best_of(means: dict[str, float], comparable: list[MethodEvidence]) -> str | None:
    """Of the rows with enough units, if there are any: nothing can be compared with one that has too few."""
    with_enough = {each.method: means[each.method] for each in comparable if each.method in means}
    candidates = with_enough or means
    highest = [method for method, mean in candidates.items() if mean > max(candidates.values()) - SAME]
    return min(highest, default=None)


def enough(method: MethodEvidence) -> bool:
    return len(method.units) >= ENOUGH_UNITS


def mean_of(task: TaskEvidence, method: MethodEvidence) -> float:
    return float(task.means[method.method].mean()) if method.units else math.nan


def judge_method(
    task: TaskEvidence,
    method: MethodEvidence,
    best: str | None,
    means: dict[str, float],
    behind: dict[str, Difference],
    apart: Collection[str],
) -> MethodJudgement:
    unit_means = task.means[method.method]
    finished = [float(np.mean(unit.scores)) for unit in method.units if unit.scores]
    read = reading(task, method, best, means, behind, apart)
    complete = read.kind in RANKED or read.kind == Kind.ALONE
    return MethodJudgement(
        method=method.method,
        unit=task.unit,
        mean=mean_of(task, method),
        mean_without_diverged=float(np.mean(finished)) if finished else math.nan,
        sd=math.sqrt(variance_of(unit_means)) if len(unit_means) > 1 else math.nan,
        procedure=t_interval(unit_means) if task.unit == "study" else None,
        setting=setting_interval(task, method),
        units=len(method.units),
        runs=method.runs,
        planned_runs=method.planned_runs,
        diverged=method.diverged,
        may_be_best=complete
        and read.kind != Kind.ERRATIC
        and (method.method not in behind or behind[method.method].second_may_be_best),
        behind=behind.get(method.method) if complete else None,
        reading=read,
    )


def setting_interval(task: TaskEvidence, method: MethodEvidence) -> Interval | None:
    """Over seeds: within each study if there are several, else over all runs."""
    if task.unit == "study":
        return pooled_interval([task.runs_of(unit) for unit in method.units])
    return t_interval(task.means[method.method])


def reading(
    task: TaskEvidence,
    method: MethodEvidence,
    best: str | None,
    means: dict[str, float],
    behind: dict[str, Difference],
    apart: Collection[str],
) -> Reading:
    gap = means[best] - mean_of(task, method) if best is not None else math.nan
    if method.control:
        return Reading(Kind.CONTROL, gap)
    if method.damaged:
        kind = Kind.PROVISIONAL if method.missing else Kind.DIVERGES
        return Reading(kind, gap, runs=method.runs, planned=method.planned_runs, diverged=method.diverged)
    if not enough(method):
        return Reading(Kind.TOO_FEW, gap, unit=task.unit)
    if len(means) == 1:
        return Reading(Kind.ALONE, gap)
    if gap < SAME:
        return Reading(Kind.HIGHEST, gap)
    if method.method not in behind:  # the best has too few units
        return Reading(Kind.TOO_FEW, gap, unit=task.unit)
    return against_best(behind[method.method], task.margin, method.method in apart)

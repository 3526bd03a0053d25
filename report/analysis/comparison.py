"""The judgement of a task, and what the page shows beside it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.analysis.judgement import Judgement, MethodJudgement, judge
from report.analysis.readings import Kind
from report.analysis.units import task_evidence
from report.read.records import Records, RunRecord, Task
from suite.machine.words import plural
from suite.records.schema import DataSizes

MANY_METHODS = 8  # of a task: beyond this the best come first, and each is drawn in a panel of its own
LARGE = 64  # pixels: images with a longer side are of ImageNet's kind


@dataclass(frozen=True)
class Standing:
    """One row of a task. Accuracies are fractions; NaN where a number does not exist."""

    judged: MethodJudgement
    units: tuple[tuple[float, ...], ...]  # scores of the finished runs of each unit, diverged ones left out
    validation: float  # mean of the studies' winners
    top5: float | None  # mean of the runs with a result; None where top-5 is not usual

    @property
    def method(self) -> str:
        return self.judged.method

    @property
    def scores(self) -> tuple[float, ...]:
        """Of all finished runs."""
        return tuple(score for unit in self.units for score in unit)


@dataclass(frozen=True)
class Comparison:
    """All rows of a task, in the order of the plan; if they are many, the best first and controls last."""

    task: Task
    judgement: Judgement
    standings: list[Standing]

    @property
    def best(self) -> str | None:
        return self.judgement.best

    @property
    def has_scores(self) -> bool:
        return any(each.judged.units for each in self.standings)


def compare(records: Records, task: Task) -> Comparison:
    """The evidence of a task takes the most memory of all, and is gone when it is judged."""
    evidence = task_evidence(records, task)
    judgement = judge(evidence)
    by_method = {each.method: each for each in evidence.methods}
    standings = [
        Standing(
            judged=judged,
            units=tuple(unit.scores for unit in by_method[judged.method].units),
            validation=mean([each.value for each in cell.winners.values()]),
            top5=top5(records.finals(cell)) if judged_by_top5(records.plan.data[task.data]) else None,
        )
        for cell, judged in zip(records.cells_of(task), judgement.methods, strict=True)
    ]
    if len(standings) > MANY_METHODS:
        standings.sort(key=best_first)
    return Comparison(task, judgement, standings)


def best_first(standing: Standing) -> tuple[bool, float]:
    judged = standing.judged
    return judged.reading.kind == Kind.CONTROL, -np.nan_to_num(judged.mean)


def judged_by_top5(sizes: DataSizes) -> bool:
    """Whether papers report top-5 on such a data set: of many classes, or with images of ImageNet's kind."""
    return sizes.classes > 10 or max(sizes.shape) > LARGE


def top5(runs: list[RunRecord]) -> float:
    """Mean test top-5 of the runs that have a score; NaN of none."""
    results = [run.result for run in runs if run.result is not None]
    return mean([each.scores.test_top5 for each in results if each.scores.test_top5 is not None])


def mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def over(comparisons: Sequence[Comparison]) -> str:
    """What the interval next to the mean is over."""
    return " or ".join(dict.fromkeys(plural(2, each.judgement.unit) for each in comparisons)) or "runs"


def conditional(comparisons: Sequence[Comparison]) -> bool:
    return any(each.judgement.conditional for each in comparisons)

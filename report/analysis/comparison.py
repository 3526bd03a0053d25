"""Who is best on a task, and what the data can carry."""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from report.analysis.frames import score
from report.analysis.statistics import (
    SAME,
    holm,
    paired_p,
    sampling_noise,
    smallest_difference,
    standard_deviation,
    t_interval,
)
from report.read.experiment import Cell, Records, Run, Task

LEVEL = 0.05
MANY_METHODS = 8  # of a task: from here on the best stand first, and each is drawn in a panel of its own
LARGE = 64  # pixels: images above this side are of ImageNet's kind
BEST, WITHIN, WORSE, UNTOLD = "best", "within noise of best", "worse", "cannot tell"
ABSENT, ALONE, CONTROL = "no score", "only method", "control"


@dataclass(frozen=True)
class Standing:
    """One method on one task. Accuracies are fractions; NaN where a number does not exist."""

    method: str
    mean: float
    half_width: float  # of the 95 % t-interval
    sd: float
    scores: tuple[float, ...]  # of the runs that are in, by seed
    stable_scores: tuple[float, ...]  # without the diverged runs
    planned: int
    diverged: int
    validation: float  # of the tuning's winner
    top5: float | None  # mean of the runs that are in; None where the task is not judged by it
    noise: float  # of the test set
    difference: float  # to the best method, over the common seeds
    resolution: float  # the smallest difference that another test set of the same size would not turn round
    p: float  # of that difference, Holm-corrected
    mark: str

    @property
    def short_mark(self) -> str:
        return "within noise" if self.mark == WITHIN else self.mark


@dataclass(frozen=True)
class Comparison:
    """All methods of a task: in the order of the plan, or if they are many the best first, controls last."""

    task: Task
    standings: list[Standing]
    best: str | None  # the method with the highest mean, whether or not the data can carry that
    tests: int  # how many paired tests the correction covers

    def marked(self, mark: str) -> list[Standing]:
        return [standing for standing in self.standings if standing.mark == mark]


def compare(records: Records, task: Task) -> Comparison:
    """Mean, interval and paired comparison of every method of a task.

    Controls get their mean and interval, and their difference to the best, but compete with nobody.
    The best method is chosen by looking at the same scores, so Holm's correction covers all pairs of methods:
    testing only the others against the best would call equal methods different too often.
    Seeds say how a method varies, not how the test set does: a difference that seeds repeat faithfully is
    called one only if it is also larger than the noise of the test set.
    """
    cells = records.cells_of(task)
    finals = {
        cell.method: {run.seed: score(run) for run in records.finals(cell) if run.scored} for cell in cells
    }
    means = {method: float(np.mean(list(scores.values()))) for method, scores in finals.items() if scores}
    competing = [method for method in means if method not in records.controls]
    best = max(competing, key=lambda method: means[method], default=None)
    pairs = list(itertools.combinations(competing, 2))
    corrected = holm([paired_p(*common(finals[a], finals[b])) for a, b in pairs])
    p_values = {frozenset(pair): p for pair, p in zip(pairs, corrected, strict=True)}
    standings = [stand(records, cell, finals, means, best, p_values) for cell in cells]
    if len(standings) > MANY_METHODS:
        standings.sort(key=lambda each: (each.method in records.controls, -np.nan_to_num(each.mean)))
    return Comparison(task, standings, best, sum(not math.isnan(p) for p in corrected))


def common(
    first: dict[int | None, float], second: dict[int | None, float]
) -> tuple[list[float], list[float]]:
    seeds = [seed for seed in first if seed in second]
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def stand(
    records: Records,
    cell: Cell,
    finals: dict[str, dict[int | None, float]],
    means: dict[str, float],
    best: str | None,
    p_values: dict[frozenset[str], float],
) -> Standing:
    runs, scores = records.finals(cell), list(finals[cell.method].values())
    mean = means.get(cell.method, math.nan)
    images = records.plan["data"][cell.task.data]["test"]
    difference, p, resolution = math.nan, math.nan, math.nan
    if scores and best is not None and best != cell.method:
        mine, theirs = common(finals[cell.method], finals[best])
        difference = float(np.mean(np.subtract(mine, theirs))) if mine else math.nan
        p = p_values.get(frozenset((cell.method, best)), math.nan)
        resolution = smallest_difference(mean, means[best], images)
    standing = Standing(
        method=cell.method,
        mean=mean,
        half_width=t_interval(scores),
        sd=standard_deviation(scores),
        scores=tuple(scores),
        stable_scores=tuple(score(run) for run in runs if run.status == "done"),
        planned=len(runs),
        diverged=sum(run.status == "diverged" for run in runs),
        validation=cell.winner["value"] if cell.winner else math.nan,
        top5=top5(runs) if judged_by_top5(records.plan["data"][cell.task.data]) else None,
        noise=sampling_noise(mean, images),
        difference=difference,
        resolution=resolution,
        p=p,
        mark="",
    )
    if cell.method in records.controls and scores:
        return replace(standing, mark=CONTROL)
    return replace(standing, mark=mark(standing, best, alone=len(means.keys() - records.controls) == 1))


def judged_by_top5(data: dict[str, Any]) -> bool:
    """Whether papers report top-5 on such a data set: of many classes, or with images of ImageNet's kind."""
    return data["classes"] > 10 or max(data.get("shape", [0])) > LARGE


def top5(runs: list[Run]) -> float:
    """Mean test top-5 of the runs that have a score; NaN of none."""
    scores = [run.result["scores"]["test_top5"] for run in runs if run.scored]
    return float(np.mean(scores)) if scores else math.nan


def mark(standing: Standing, best: str | None, alone: bool) -> str:
    """What may be said of a method; see the constants above."""
    if not standing.scores:
        return ABSENT
    if alone:
        return ALONE
    if len(standing.scores) < 2:
        return UNTOLD
    if standing.method == best:
        return BEST
    if math.isnan(standing.p):  # fewer than two common seeds, or the same difference on every seed
        return WITHIN if abs(standing.difference) < SAME else UNTOLD
    if abs(standing.difference) > standing.resolution:
        # Too large to be the test set's noise. Unless the seeds repeat it, in view of all the comparisons,
        # it is not shown to be worse; but that is no sign of being good.
        return WORSE if standing.p < LEVEL else UNTOLD
    # A run at chance level widens the interval until nothing can be told apart: no sign of being good.
    return UNTOLD if standing.diverged else WITHIN

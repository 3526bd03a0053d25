"""Which method is best on a task, and which differences the data support."""

import itertools
import math
from dataclasses import dataclass, replace

import numpy as np

from report.analysis.statistics import (
    SAME,
    holm,
    paired_p,
    sampling_noise,
    smallest_difference,
    standard_deviation,
    t_interval,
)
from report.read.records import CellRecord, Records, RunRecord, Task
from suite.records.schema import DataSizes

LEVEL = 0.05
MANY_METHODS = 8  # of a task: beyond this the best come first, and each is drawn in a panel of its own
LARGE = 64  # pixels: images with a longer side are of ImageNet's kind
BEST, WITHIN_NOISE, WORSE, UNCLEAR = "best", "within noise of best", "worse", "cannot tell"
ABSENT, ALONE, CONTROL = "no score", "only method", "control"

BySeed = dict[int, float]  # test top-1 of the final runs with a result, by seed


@dataclass(frozen=True)
class Standing:
    """One method on one task. Accuracies are fractions; NaN where a number does not exist."""

    method: str
    mean: float
    half_width: float  # of the 95 % t-interval
    sd: float
    scores: tuple[float, ...]  # of the runs with a result, by seed
    stable_scores: tuple[float, ...]  # without the diverged runs
    planned: int
    diverged: int
    validation: float  # mean of the studies' winners
    top5: float | None  # mean of the runs with a result; None where top-5 is not usual
    noise: float  # of the test set
    difference: float  # to the best method, over the common seeds
    resolution: float  # the smallest difference that another test set of the same size would not reverse
    p: float  # of that difference, Holm-corrected
    mark: str

    @property
    def short_mark(self) -> str:
        return "within noise" if self.mark == WITHIN_NOISE else self.mark


@dataclass(frozen=True)
class Comparison:
    """All methods of a task, in the order of the plan; if they are many, the best first and controls last."""

    task: Task
    standings: list[Standing]
    best: str | None  # the method with the highest mean, whether or not the data support the difference
    tests: int  # how many paired tests the correction covers

    def marked(self, mark: str) -> list[Standing]:
        return [standing for standing in self.standings if standing.mark == mark]


def compare(records: Records, task: Task) -> Comparison:
    """Mean, interval and paired comparison of every method of a task.

    Controls get their mean and interval, and their difference to the best, but do not compete.
    The best method is chosen by the same scores, so Holm's correction covers all pairs of methods: testing
    only the others against the best would call equal methods different too often.
    The spread over seeds shows how a method varies, not how the test set does: a difference that repeats on
    every seed counts only if it is also larger than the noise of the test set.
    """
    cells = records.cells_of(task)
    finals = {cell.method: scores_by_seed(records.finals(cell)) for cell in cells}
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


def scores_by_seed(runs: list[RunRecord]) -> BySeed:
    return {run.seed: run.score for run in runs if run.seed is not None and run.score is not None}


def common(first: BySeed, second: BySeed) -> tuple[list[float], list[float]]:
    """The scores of the seeds that both have, in the same order."""
    seeds = [seed for seed in first if seed in second]
    return [first[seed] for seed in seeds], [second[seed] for seed in seeds]


def stand(
    records: Records,
    cell: CellRecord,
    finals: dict[str, BySeed],
    means: dict[str, float],
    best: str | None,
    p_values: dict[frozenset[str], float],
) -> Standing:
    runs, scores = records.finals(cell), list(finals[cell.method].values())
    mean = means.get(cell.method, math.nan)
    sizes = records.plan.data[cell.task.data]
    difference, p, resolution = math.nan, math.nan, math.nan
    if scores and best is not None and best != cell.method:
        mine, theirs = common(finals[cell.method], finals[best])
        difference = float(np.mean(np.subtract(mine, theirs))) if mine else math.nan
        p = p_values.get(frozenset((cell.method, best)), math.nan)
        resolution = smallest_difference(mean, means[best], sizes.test)
    standing = Standing(
        method=cell.method,
        mean=mean,
        half_width=t_interval(scores),
        sd=standard_deviation(scores),
        scores=tuple(scores),
        stable_scores=tuple(run.score for run in runs if run.status == "done" and run.score is not None),
        planned=len(runs),
        diverged=sum(run.status == "diverged" for run in runs),
        validation=float(np.mean([each.value for each in cell.winners])) if cell.winners else math.nan,
        top5=top5(runs) if judged_by_top5(sizes) else None,
        noise=sampling_noise(mean, sizes.test),
        difference=difference,
        resolution=resolution,
        p=p,
        mark="",
    )
    if cell.method in records.controls and scores:
        return replace(standing, mark=CONTROL)
    return replace(standing, mark=mark(standing, best, alone=len(means.keys() - records.controls) == 1))


def judged_by_top5(sizes: DataSizes) -> bool:
    """Whether papers report top-5 on such a data set: of many classes, or with images of ImageNet's kind."""
    return sizes.classes > 10 or max(sizes.shape) > LARGE


def top5(runs: list[RunRecord]) -> float:
    """Mean test top-5 of the runs that have a score; NaN of none."""
    results = [run.result for run in runs if run.result is not None]
    scores = [result.scores.test_top5 for result in results if result.scores.test_top5 is not None]
    return float(np.mean(scores)) if scores else math.nan


def mark(standing: Standing, best: str | None, alone: bool) -> str:
    """How a method compares with the best, one of the constants above."""
    if not standing.scores:
        return ABSENT
    if alone:
        return ALONE
    if len(standing.scores) < 2:
        return UNCLEAR
    if standing.method == best:
        return BEST
    if math.isnan(standing.p):  # fewer than two common seeds, or the same difference on every seed
        return WITHIN_NOISE if abs(standing.difference) < SAME else UNCLEAR
    if abs(standing.difference) > standing.resolution:
        # Too large to be the noise of the test set. It is worse only if the seeds repeat it, all comparisons
        # considered; if they do not, that is no sign of being good.
        return WORSE if standing.p < LEVEL else UNCLEAR
    # A run at chance level widens the interval until nothing can be separated: no sign of being good.
    return UNCLEAR if standing.diverged else WITHIN_NOISE

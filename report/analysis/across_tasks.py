"""Methods over many tasks: mean ranks, performance profiles, normalised scores. Numbers, no drawing.

Below six tasks there are none: no test over so few tasks can separate methods.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from report.analysis.critical import all_pairs
from report.analysis.evidence import SAME
from report.analysis.judgement import Judgement
from report.analysis.readings import Kind

ENOUGH_TASKS = 6


@dataclass(frozen=True)
class TaskScores:
    """The mean accuracy of each method that has one on this task."""

    chance: float
    means: Mapping[str, float]

    @property
    def best(self) -> float:
        return max(self.means.values())


@dataclass(frozen=True)
class AcrossTasks:
    """The methods in the order of their mean rank; `left_out` lack a score on some planned task."""

    tasks: int
    mean_ranks: dict[str, float]  # 1 is best; equal means share their ranks
    critical_difference: float  # of mean ranks, 95 % for all pairs: Nemenyi's
    normalised: dict[str, float]  # mean over tasks of (accuracy - chance) / (best mean - chance)
    error_ratios: dict[str, tuple[float, ...]]  # to the best method's error, one for each task, sorted
    left_out: tuple[str, ...]

    def profile(self, method: str, ratio: float) -> float:
        """The share of the planned tasks on which its error is at most so many times the best one."""
        return sum(each <= ratio for each in self.error_ratios[method]) / self.tasks


def scores_of(task: Judgement, chance: float) -> TaskScores:
    """The means that no missing run can have raised; a diverged run counts at chance."""
    kinds = (Kind.CONTROL, Kind.PROVISIONAL)
    means = {each.method: each.mean for each in task.methods if each.reading.kind not in kinds}
    return TaskScores(chance, means)


def across_tasks(tasks: Sequence[TaskScores], methods: Sequence[str]) -> AcrossTasks | None:
    """All planned tasks, for the planned methods; None below six tasks, or two methods with all scores."""
    ranked = [method for method in methods if all(method in task.means for task in tasks)]
    if len(tasks) < ENOUGH_TASKS or len(ranked) < 2:
        return None
    scores = np.array([[task.means[method] for method in ranked] for task in tasks])
    ranks = ranks_of(scores).mean(axis=0)
    normalised = [np.mean([normalise(task, task.means[method]) for task in tasks]) for method in ranked]
    order = sorted(range(len(ranked)), key=lambda place: (ranks[place], ranked[place]))
    return AcrossTasks(
        tasks=len(tasks),
        mean_ranks={ranked[place]: float(ranks[place]) for place in order},
        critical_difference=critical_difference(len(ranked), len(tasks)),
        normalised={ranked[place]: float(normalised[place]) for place in order},
        error_ratios={method: error_ratios(tasks, method) for method in methods},
        left_out=tuple(method for method in methods if method not in ranked),
    )


def ranks_of(scores: np.ndarray) -> np.ndarray:
    """The ranks within each row; scores that are equal but for rounding share the mean of their ranks."""
    ahead = scores[:, None, :] - scores[:, :, None]
    return (0.5 + (ahead > SAME).sum(axis=2)) + 0.5 * (np.abs(ahead) <= SAME).sum(axis=2)


def critical_difference(methods: int, tasks: int) -> float:
    """How far two mean ranks of equal methods may lie apart (Nemenyi; Demsar 2006)."""
    return all_pairs(methods, math.inf) * math.sqrt(methods * (methods + 1) / (6 * tasks))


def normalise(task: TaskScores, mean: float) -> float:
    return (mean - task.chance) / (task.best - task.chance) if task.best > task.chance else math.nan


def error_ratios(tasks: Sequence[TaskScores], method: str) -> tuple[float, ...]:
    """Infinite where the method has no score, or the best has no error and the method has."""
    return tuple(sorted(error_ratio(task, task.means.get(method)) for task in tasks))


def error_ratio(task: TaskScores, mean: float | None) -> float:
    if mean is None:
        return math.inf
    error, least = 1 - mean, 1 - task.best
    if error - least < SAME:
        return 1.0
    return error / least if least > SAME else math.inf

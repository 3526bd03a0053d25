"""What tuning cost and what it gained, per cell."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from report.analysis.statistics import TuningCurve, best_of_n
from report.read.records import CellRecord, Records, RunRecord
from suite.records.schema import Range
from suite.records.trial import HyperSetting

EDGE = 0.05  # share of a range, on its own scale
NO_CURVE = TuningCurve(np.array([]), np.array([]))


@dataclass(frozen=True)
class TuningSummary:
    """The tuning of one cell. Scores are validation accuracies as fractions."""

    cell: CellRecord
    best_of_n: (
        TuningCurve | None
    )  # of at least two random trials: those of another sampler are not independent
    best_so_far: TuningCurve
    curve: TuningCurve  # the one that is drawn; empty if there is none
    scores: tuple[tuple[int, float], ...]  # (number + 1, score) of each trial that was not the default
    default: float | None  # mean score of the published default over the studies
    winner: float | None  # mean of the studies' winners
    test: float | None  # mean test score of the winners' final runs
    default_test: float | None  # of the published default on the same seeds
    planned: int
    finished: int
    diverged: int
    epochs: int
    seconds: float

    @property
    def method(self) -> str:
        return self.cell.method


def tuning_summary(records: Records, cell: CellRecord) -> TuningSummary:
    """The published default is no part of a best-of-n curve: it was chosen, not drawn."""
    runs = records.trials(cell)
    drawn = trial_scores([run for run in runs if not run.published_default])
    random = cell.track == "random"
    expected = best_of_n([score for _, score in drawn]) if random and len(drawn) >= 2 else None
    reached = best_so_far(trial_scores(runs)) if studies(runs) == 1 else NO_CURVE
    results = [run.result for run in runs if run.result is not None]
    return TuningSummary(
        cell=cell,
        best_of_n=expected,
        best_so_far=reached,
        curve=(expected or NO_CURVE) if random else reached,
        scores=tuple(drawn),
        default=mean([run.score for run in runs if run.published_default]),
        winner=mean([winner.value for winner in cell.winners]),
        test=mean([run.score for run in records.finals(cell)]),
        default_test=mean([run.score for run in records.defaults(cell)]),
        planned=len(runs),
        finished=len(results),
        diverged=sum(result.status == "diverged" for result in results),
        epochs=sum(result.epochs for result in results),
        seconds=sum(result.seconds for result in results),
    )


def mean(scores: Sequence[float | None]) -> float | None:
    """The mean of the scores that there are; None without any."""
    there = [score for score in scores if score is not None]
    return sum(there) / len(there) if there else None


def studies(runs: list[RunRecord]) -> int:
    return len({run.place.study for run in runs})


def trial_scores(runs: list[RunRecord]) -> list[tuple[int, float]]:
    """(number + 1, score) of each tuning trial with a result, study by study."""
    return [(run.place.number + 1, run.score) for run in runs if run.score is not None]


def best_so_far(scores: list[tuple[int, float]]) -> TuningCurve:
    """The best validation score after each trial."""
    values = np.maximum.accumulate(np.array([score for _, score in scores], float))
    return TuningCurve(np.array([number for number, _ in scores], int), values)


def near_edge(value: HyperSetting, searched: Range) -> Literal["lower", "upper"] | None:
    """The end of a log or uniform range that a number is within 5 % of, on the scale of the range."""
    if searched.kind == "choice" or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = map(float, searched.values)  # pyright: ignore[reportArgumentType]
    if low == high:
        return None
    if searched.kind == "log":
        if value <= 0:
            return "lower"
        low, high, value = math.log(low), math.log(high), math.log(value)
    place = (value - low) / (high - low)
    if place <= EDGE:
        return "lower"
    return "upper" if place >= 1 - EDGE else None

"""What tuning cost and what it bought, per cell."""

from dataclasses import dataclass

import numpy as np

from report.analysis.frames import best_so_far, published_default, score, tuning_curve
from report.read.experiment import Cell, Records


@dataclass(frozen=True)
class Tuning:
    """The tuning of one cell. Scores are validation accuracies as fractions."""

    method: str
    trials: np.ndarray  # 1 … n
    values: np.ndarray  # the curve at these trials: best-of-n (random search) or best so far
    lower: np.ndarray | None  # band of a best-of-n curve
    upper: np.ndarray | None
    scores: tuple[tuple[int, float], ...]  # (number + 1, score) of each trial that was not the default
    default: float | None  # score of the published default
    winner: float | None
    planned: int
    finished: int
    diverged: int
    epochs: int
    seconds: float


def tune_summary(records: Records, cell: Cell) -> Tuning:
    runs = records.trials(cell)
    scored = [run for run in runs if run.scored]
    curve = tuning_curve(records, cell)
    if curve is None and records.plan["tuning"]["sampler"] != "random":
        points = best_so_far(records, cell)
        trials, values = np.array([n for n, _ in points]), np.array([value for _, value in points])
    else:
        trials, values = (np.array([]), np.array([])) if curve is None else (curve.trials, curve.median)
    return Tuning(
        method=cell.method,
        trials=trials,
        values=values,
        lower=curve.lower if curve else None,
        upper=curve.upper if curve else None,
        scores=tuple(
            (run.number + 1, score(run))
            for run in scored
            if run.number is not None and not run.published_default
        ),
        default=published_default(records, cell),
        winner=cell.winner["value"] if cell.winner else None,
        planned=len(runs),
        finished=len(scored),
        diverged=sum(run.status == "diverged" for run in runs),
        epochs=sum(run.result["epochs"] for run in scored),
        seconds=sum(run.result["seconds"] for run in scored),
    )

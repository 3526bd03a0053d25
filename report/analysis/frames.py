"""The records as tidy tables: one row per planned run, per epoch, per layer and epoch, per tuning trial."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from report.analysis.statistics import TuningCurve, best_of_n
from report.read.curves import FLIPS, LEARNING, Curves
from report.read.experiment import Cell, Records, Run

COUNTS = ("epochs", "steps", "diverged_at_step", "peak_memory_bytes", "binary_weights", "real_parameters")
RUN = ("cell", "data", "model", "method", "seed", "status", "epoch")
SCORES = ("val_top1", "val_top5", "val_loss", "test_top1", "test_top5", "test_loss")


def runs_frame(records: Records) -> pd.DataFrame:
    """One row per planned run, whatever became of it."""
    rows = pd.DataFrame([run_row(run) for run in records.runs])
    return rows.astype(dict.fromkeys(("number", "seed", *COUNTS), "Int64"))


def run_row(run: Run) -> dict[str, Any]:
    scores, size = run.result.get("scores", {}), run.result.get("bytes_per_binary_weight", {})
    return {
        **labels(run.cell),
        "phase": run.phase,
        "number": run.number,
        "seed": run.seed,
        "run": run.run_id,
        "status": run.status,
        "reason": run.reason,
        "failure": run.failure,
        "published_default": run.published_default,
        **{name: scores.get(name) for name in SCORES},
        **{name: run.result.get(name) for name in (*COUNTS, "seconds", "step_milliseconds")},
        "stored_bytes_per_weight": size.get("stored"),
        "optimizer_bytes_per_weight": size.get("optimizer"),
        "hypers": json.dumps(run.hypers, sort_keys=True, ensure_ascii=False),
    }


def labels(cell: Cell) -> dict[str, str]:
    return {"cell": cell.name, "data": cell.task.data, "model": cell.task.model, "method": cell.method}


def curves_frame(records: Records) -> pd.DataFrame:
    """One row per finished final run and epoch: learning, flips of the whole network, the paper's Eq. 7."""
    runs = with_curves(records)
    names = ("step", *LEARNING, *FLIPS)
    columns = {name: joined(curves.columns[name] for _, curves in runs) for name in ("epoch", *names)}
    return pd.DataFrame({**repeated(runs, [each.epochs for _, each in runs]), **columns})[[*RUN, *names]]


def layers_frame(records: Records) -> pd.DataFrame:
    """One row per finished final run, epoch and binary layer: its flips per weight per step."""
    runs = with_curves(records)
    columns = {
        "epoch": joined(np.repeat(each.columns["epoch"], len(each.layers)) for _, each in runs),
        "layer": joined(np.tile(np.array(each.layers, object), each.epochs) for _, each in runs),
        "weights": joined(np.tile(each.weights, each.epochs) for _, each in runs),
        "flips": joined(each.layer_flips.ravel() for _, each in runs),
        "flip_rate": joined(
            (each.layer_flips / np.outer(each.steps, each.weights)).ravel() for _, each in runs
        ),
    }
    return pd.DataFrame({**repeated(runs, [each.layer_flips.size for _, each in runs]), **columns})


def with_curves(records: Records) -> list[tuple[Run, Curves]]:
    return [(run, run.curves) for run in records.runs if run.curves is not None]


def joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The parts one after another; empty if there are none."""
    return np.concatenate([np.empty(0, int), *parts])


def repeated(runs: list[tuple[Run, Curves]], rows: list[int]) -> dict[str, np.ndarray]:
    """The columns that say which run a row belongs to, so many rows for each run."""
    named = [labels(run.cell) | {"seed": run.seed, "status": run.status} for run, _ in runs]
    return {
        name: np.repeat(np.array([each[name] for each in named], object if name != "seed" else int), rows)
        for name in RUN
        if name != "epoch"
    }


def tuning_frame(records: Records) -> pd.DataFrame:
    """One row per point of a tuning curve: `kind` is `best-of-n` (with a band) or `best so far`."""
    rows = []
    for cell in records.cells:
        curve = tuning_curve(records, cell)
        if curve is not None:
            points = zip(*curve, strict=True)
            names = ("trials", "value", "lower", "upper")
            rows += [
                labels(cell) | {"kind": "best-of-n"} | dict(zip(names, point, strict=True))
                for point in points
            ]
        for trials, value in best_so_far(records, cell):
            rows.append(labels(cell) | {"kind": "best so far", "trials": trials, "value": value})
    return pd.DataFrame(
        rows, columns=["cell", "data", "model", "method", "kind", "trials", "value", "lower", "upper"]
    )


def tuning_curve(records: Records, cell: Cell) -> TuningCurve | None:
    """Best-of-n of the random trials; None for another sampler, whose trials are not independent draws.

    The published default is left out: it was chosen, not drawn.
    """
    scores = [score(run) for run in records.trials(cell) if run.scored and not run.published_default]
    random = records.plan["tuning"]["sampler"] == "random"
    return best_of_n(scores) if random and len(scores) >= 2 else None


def best_so_far(records: Records, cell: Cell) -> list[tuple[int, float]]:
    """The best validation score after each trial, in the order in which they were drawn."""
    points: list[tuple[int, float]] = []
    for run in records.trials(cell):
        if run.scored and run.number is not None:
            points.append((run.number + 1, max([score(run), *(value for _, value in points[-1:])])))
    return points


def score(run: Run) -> float:
    """What a run is judged by: validation in tuning, test in a final run."""
    return run.result["scores"]["val_top1" if run.phase == "tuning" else "test_top1"]


def published_default(records: Records, cell: Cell) -> float | None:
    """The validation score of the published default, if that trial has finished."""
    return next((score(run) for run in records.trials(cell) if run.published_default and run.scored), None)

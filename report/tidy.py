"""The records as tidy tables: one row per planned run, per epoch, per layer and epoch, per tuning trial."""

import json
from typing import Any

import numpy as np
import pandas as pd

from report.read import Cell, Records, Run
from report.statistics import TuningCurve, best_of_n

UNDONE = (1, 2, 5, 10)  # steps within which a flip back counts as undone
COUNTS = ("epochs", "steps", "diverged_at_step", "peak_memory_bytes", "binary_weights", "real_parameters")
RUN = ("cell", "data", "model", "method", "seed", "status", "epoch")
LEARNING = ("train_loss", "train_top1", "val_loss", "val_top1")
FLIPS = ("flips", "flip_rate", "pi", *(f"undone_{k}" for k in UNDONE), "undone_share_10", "never", "distance")
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
    rows = [
        labels(run.cell) | {"seed": run.seed, "status": run.status} | row
        for run in records.runs
        for row in epoch_rows(run)
    ]
    return pd.DataFrame(rows, columns=[*RUN, "step", *LEARNING, *FLIPS])


def epoch_rows(run: Run) -> list[dict[str, Any]]:
    rows, before = [], 0
    for epoch in run.epochs:
        counts, steps = epoch["flips"], epoch["step"] - before
        flips, weights = sum(counts["flips"]), run.result["binary_weights"]
        rows.append(
            {
                **{name: epoch[name] for name in ("epoch", "step", *LEARNING)},
                "flips": flips,
                "flip_rate": flips / (weights * steps),
                "pi": mean_pi(run, before, epoch["step"]),
                **{f"undone_{k}": sum(counts[f"undone_{k}"]) for k in UNDONE},
                "undone_share_10": sum(counts["undone_10"]) / flips if flips else float("nan"),
                "never": sum(counts["never"]) / weights,
                "distance": sum(counts["distance"]) / weights,
            }
        )
        before = epoch["step"]
    return rows


def mean_pi(run: Run, first: int, last: int) -> float:
    """The paper's Eq. 7, log(flips / weights + e^-9) of the last binary layer, averaged over these steps."""
    assert run.last_layer_flips is not None
    share = run.last_layer_flips[first:last] / run.result["layers"][-1]["weights"]
    return float(np.mean(np.log(share + np.exp(-9.0)))) if len(share) else float("nan")


def layers_frame(records: Records) -> pd.DataFrame:
    """One row per finished final run, epoch and binary layer: its flips per weight per step."""
    rows = []
    for run in records.runs:
        before = 0
        for epoch in run.epochs:
            steps, before = epoch["step"] - before, epoch["step"]
            for layer, flips in zip(run.result["layers"], epoch["flips"]["flips"], strict=True):
                rate = flips / (layer["weights"] * steps)
                rows.append(
                    labels(run.cell)
                    | {"seed": run.seed, "status": run.status, "epoch": epoch["epoch"]}
                    | {"layer": layer["name"], "weights": layer["weights"], "flips": flips, "flip_rate": rate}
                )
    return pd.DataFrame(rows, columns=[*RUN, "layer", "weights", "flips", "flip_rate"])


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

"""The numbers as tidy tables, one for each CSV file of the report."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from report.analysis.comparison import Comparison, Standing
from report.analysis.intervals import Interval
from report.read.curves import COLUMNS, Curves
from report.read.records import CellRecord, Records, RunRecord
from suite.records.codec import encode

SCORES = ("val_top1", "val_top5", "val_loss", "test_top1", "test_top5", "test_loss")
COUNTS = ("epochs", "steps", "diverged_at_step", "peak_memory_bytes", "binary_weights", "real_parameters")
RUN = ("cell", "data", "model", "method", "study", "seed", "status")


def accuracy_frame(comparisons: list[Comparison]) -> pd.DataFrame:
    """One row per task and method, fractions and unrounded, unlike the tables for reading.

    But for p: machines differ beyond eight decimals, and none is said to be below 1e-8.
    """
    return pd.DataFrame(
        [
            accuracy_row(comparison, standing)
            for comparison in comparisons
            for standing in comparison.standings
        ]
    )


def accuracy_row(comparison: Comparison, standing: Standing) -> dict[str, Any]:
    each, judgement = standing.judged, comparison.judgement
    behind = each.behind
    return {
        "data": comparison.task.data,
        "model": comparison.task.model,
        "method": each.method,
        "test_top1": each.mean,
        **bounds("procedure", each.procedure),
        **bounds("setting", each.setting),
        "sd": each.sd,
        "unit": judgement.unit,
        "units": each.units,
        "runs": each.runs,
        "planned": each.planned_runs,
        "diverged": each.diverged,
        "test_top1_without_diverged": each.mean_without_diverged,
        "validation_of_winner": standing.validation,
        "behind_best": each.reading.gap,
        **bounds("behind_best", behind.interval if behind else None),
        "p": max(round(behind.p, 8), 1e-8) if behind else None,
        "compared_methods": judgement.competing,
        "one_draw_of_tuning": judgement.conditional,
        "may_be_best": each.may_be_best,
        "reading": str(each.reading.kind),
    }


def bounds(name: str, interval: Interval | None) -> dict[str, float | None]:
    """The two columns of an interval, empty without one."""
    low, high = (interval.low, interval.high) if interval else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}


def runs_frame(records: Records) -> pd.DataFrame:
    """One row per planned run, finished or not; with a column `source` where winners run on other tasks."""
    rows = pd.DataFrame([run_row(run) for run in records.runs])
    if not records.plan.tuning.transfer:
        rows = rows.drop(columns="source")
    return rows.astype(dict.fromkeys(("seed", *COUNTS), "Int64"))


def run_row(run: RunRecord) -> dict[str, Any]:
    scores = run.result.scores if run.result else None
    size = run.result.bytes_per_binary_weight if run.result else None
    return {
        **labels(run.cell),
        "method": run.cell.method if run.place.track else run.cell.planned.method,
        "phase": run.phase,
        "track": run.place.track,
        "study": run.place.study,
        "number": run.place.number,
        "source": run.place.source,
        "seed": run.seed,
        "run": run.run_id,
        "status": run.status,
        "reason": run.reason,
        "failure": run.failure,
        "published_default": run.published_default,
        **{name: getattr(scores, name, None) for name in SCORES},
        **{name: getattr(run.result, name, None) for name in (*COUNTS, "seconds", "step_milliseconds")},
        "stored_bytes_per_weight": size.stored if size else None,
        "optimizer_bytes_per_weight": size.optimizer if size else None,
        "hypers": json.dumps(encode(run.hypers), sort_keys=True, ensure_ascii=False),
    }


def labels(cell: CellRecord) -> dict[str, str]:
    return {"cell": cell.name, "data": cell.task.data, "model": cell.task.model, "method": cell.method}


def curves_frame(records: Records) -> pd.DataFrame:
    """One row per finished final run and epoch: learning, flips of the whole network, the paper's Eq. 7."""
    runs = with_curves(records)
    columns = {name: joined(getattr(curves, name) for _, curves in runs) for name in COLUMNS}
    return pd.DataFrame({**repeated(runs, [len(curves.epoch) for _, curves in runs]), **columns})


def layers_frame(records: Records) -> pd.DataFrame:
    """One row per finished final run, epoch and binary layer: its flips per weight and step."""
    runs = with_curves(records)
    layers = [(curves, curves.layers) for _, curves in runs]
    columns = {
        "epoch": joined(np.repeat(curves.epoch, len(each.names)) for curves, each in layers),
        "layer": joined(np.tile(np.array(each.names, object), len(each.flips)) for _, each in layers),
        "weights": joined(np.tile(each.weights, len(each.flips)) for _, each in layers),
        "flips": joined(each.flips.ravel() for _, each in layers),
        "flip_rate": joined(
            (each.flips / np.outer(curves.steps, each.weights)).ravel() for curves, each in layers
        ),
    }
    return pd.DataFrame({**repeated(runs, [each.flips.size for _, each in layers]), **columns})


def with_curves(records: Records) -> list[tuple[RunRecord, Curves]]:
    return [(run, run.curves) for run in records.runs if run.curves is not None]


def joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    """The parts one after another; empty if there are none."""
    return np.concatenate([np.empty(0, int), *parts])


def repeated(runs: list[tuple[RunRecord, Curves]], rows: list[int]) -> dict[str, np.ndarray]:
    """The columns that name the run of a row, for as many rows as each run has."""
    named = [
        labels(run.cell) | {"study": run.place.study, "seed": run.seed, "status": run.status}
        for run, _ in runs
    ]
    numbers = ("study", "seed")
    return {
        name: np.repeat(np.array([each[name] for each in named], int if name in numbers else object), rows)
        for name in RUN
    }

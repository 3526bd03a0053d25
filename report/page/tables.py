"""The tables of the report as cells of text; html.py and texts.py write them as HTML and Markdown."""

from dataclasses import dataclass

import numpy as np

from report.analysis.comparison import BEST, Comparison
from report.analysis.numbers import NONE, count, duration, megabytes, p_value, percent, points
from report.read.curves import Curves
from report.read.records import Records, Task
from suite.records.schema import WITHIN, Result


@dataclass(frozen=True)
class Table:
    """Columns and rows of text. The first column names the row; `text` columns are set left, others right."""

    columns: list[str]
    rows: list[list[str]]
    text: tuple[int, ...] = (0,)
    strong: tuple[int, ...] = ()  # rows to stress
    warn: frozenset[tuple[int, int]] = frozenset()  # cells (row, column) to warn about
    left_out: int = 0  # rows beyond these; runs.csv has them all


def accuracy_table(comparison: Comparison) -> Table:
    top5 = any(each.top5 is not None for each in comparison.standings)
    columns = [
        "method",
        "test top\u20111,\u00a0%",
        "±\u00a095\u00a0%",
        "sd over seeds",
        *(["test top\u20115,\u00a0%"] if top5 else []),
        "runs in",
        "diverged",
        "validation of winner,\u00a0%",
        "test-set noise",
        "Δ to best, points",
        "p (Holm)",
        "reading",
    ]
    rows = [
        [
            each.method,
            percent(each.mean),
            percent(each.half_width) if len(each.scores) != 1 else "n = 1",
            percent(each.sd),
            *([percent(each.top5)] if top5 else []),
            f"{len(each.scores)} / {each.planned}",
            str(each.diverged),
            percent(each.validation),
            f"±{percent(each.noise)}" if each.scores else NONE,
            points(each.difference),
            p_value(each.p),
            each.mark,
        ]
        for each in comparison.standings
    ]
    numbered = list(enumerate(comparison.standings))
    runs_in = columns.index("runs in")
    incomplete = {(row, runs_in) for row, each in numbered if len(each.scores) < each.planned}
    diverged = {(row, runs_in + 1) for row, each in numbered if each.diverged}
    strong = tuple(row for row, each in numbered if each.mark == BEST)
    return Table(
        columns, rows, text=(0, len(columns) - 1), strong=strong, warn=frozenset(incomplete | diverged)
    )


def flips_table(records: Records, task: Task) -> Table:
    """The flips of the whole training, pooled over the finished final runs."""
    columns = [
        "method",
        "runs",
        "flips per weight",
        *(f"undone within {count(k, 'step')}, %" for k in WITHIN),
        "never flipped, %",
        "distance from start, %",
    ]
    rows = []
    for cell in records.cells_of(task):
        runs = [run for run in records.finals(cell) if run.status == "done"]
        curves = [run.curves for run in runs if run.curves is not None and len(run.curves.epoch)]
        rows.append(
            [
                cell.method,
                str(len(curves)),
                *(flip_numbers(curves) if curves else [NONE] * (len(columns) - 2)),
            ]
        )
    return Table(columns, rows)


def flip_numbers(curves: list[Curves]) -> list[str]:
    """The numbers of one row; shares of the pooled flips and weights of all runs."""
    weights = [each.layers.weights.sum() for each in curves]
    flips = int(sum(each.flips.sum() for each in curves))
    undone = [int(sum(each.undone(k).sum() for each in curves)) for k in WITHIN]
    never = sum(each.never[-1] * count for each, count in zip(curves, weights, strict=True))
    distance = sum(each.distance[-1] * count for each, count in zip(curves, weights, strict=True))
    pooled = int(sum(weights))
    return [
        f"{flips / pooled:.3f}",
        *(percent(each / flips, 1) if flips else NONE for each in undone),
        percent(never / pooled, 1),
        percent(distance / pooled, 1),
    ]


def cost_table(records: Records, task: Task) -> Table:
    columns = [
        "method",
        "stored, bytes/weight",
        "optimizer, bytes/weight",
        "together",
        "peak memory",
        "median step, ms",
        "time of tuning + finals",
    ]
    rows = []
    for cell in records.cells_of(task):
        results = [run.result for run in records.runs_of(cell) if run.result is not None]
        rows.append([cell.method, *(cost_numbers(results) if results else [NONE] * 6)])
    return Table(columns, rows)


def cost_numbers(results: list[Result]) -> list[str]:
    stored = max(each.bytes_per_binary_weight.stored for each in results)
    optimizer = max(each.bytes_per_binary_weight.optimizer for each in results)
    steps = [each.step_milliseconds for each in results if each.step_milliseconds is not None]
    peaks = [each.peak_memory_bytes for each in results if each.peak_memory_bytes is not None]
    return [
        f"{stored:.4g}",
        f"{optimizer:.4g}",
        f"{stored + optimizer:.4g}",
        megabytes(max(peaks)) if peaks else NONE,
        f"{np.median(steps):.2f}" if steps else NONE,
        duration(sum(each.seconds for each in results)),
    ]

"""The tables of the report as cells of text; page.py and texts.py write them as HTML and Markdown."""

from dataclasses import dataclass

import numpy as np

from report.analysis.comparison import BEST, Comparison
from report.analysis.numbers import NONE, count, duration, hyper, megabytes, p_value, percent, points
from report.analysis.ranges import at_edge
from report.analysis.tuning import Tuning
from report.read.curves import UNDONE, Curves
from report.read.experiment import Cell, Records, Task


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
    """Where the weights went by the end of training: means over the finished final runs."""
    columns = [
        "method",
        "runs",
        "flips per weight",
        *(f"undone within {count(k, 'step')}, %" for k in UNDONE),
        "never flipped, %",
        "distance from start, %",
    ]
    rows = []
    for cell in records.cells_of(task):
        runs = [run for run in records.finals(cell) if run.status == "done"]
        curves = [run.curves for run in runs if run.curves is not None and run.curves.epochs]
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
    weights = sum(int(each.weights.sum()) for each in curves)
    flips = total(curves, "flips")
    undone = [percent(total(curves, f"undone_{k}") / flips, 1) if flips else NONE for k in UNDONE]
    never, distance = (
        sum(each.columns[name][-1] * each.weights.sum() for each in curves) / weights
        for name in ("never", "distance")
    )
    return [f"{flips / weights:.3f}", *undone, percent(never, 1), percent(distance, 1)]


def total(curves: list[Curves], name: str) -> int:
    return sum(int(each.columns[name].sum()) for each in curves)


def tuning_table(tunings: list[Tuning]) -> Table:
    columns = [
        "method",
        "trials in",
        "diverged",
        "epochs spent",
        "time spent",
        "published default, %",
        "winner, %",
        "gain, points",
    ]
    rows = []
    for each in tunings:
        gain = None if each.default is None or each.winner is None else each.winner - each.default
        rows.append(
            [
                each.method,
                f"{each.finished} / {each.planned}",
                str(each.diverged),
                str(each.epochs),
                duration(each.seconds),
                percent(each.default),
                percent(each.winner),
                points(gain),
            ]
        )
    return Table(columns, rows)


def hypers_table(records: Records, task: Task) -> Table:
    """What the final runs of every cell use, beside default and range; a warning at the edge of a range."""
    rows, warn = [], set()
    for cell in records.cells_of(task):
        # With no tuning the published defaults are what the final runs use.
        decided = cell.winner is not None or not records.plan["tuning"]["trials"]
        for name, chosen, default, text in cell_hypers(records, cell):
            edge = at_edge(chosen, text) if text and cell.winner else None
            if edge:
                warn.add((len(rows), 5))
            rows.append(
                [
                    cell.method,
                    name,
                    hyper(chosen) if decided else "not yet",
                    hyper(default),
                    text or "not tuned",
                    f"within 5 % of the {edge} edge" if edge else "",
                ]
            )
    columns = ["method", "hyperparameter", "in the final runs", "published default", "range", "note"]
    return Table(columns, rows, text=(0, 1, 4, 5), warn=frozenset(warn))


def cell_hypers(records: Records, cell: Cell) -> list[tuple[str, object, object, str | None]]:
    """Name, value in the final runs, default and range of every hyperparameter.

    The value is the winner's, or what the experiment sets, else the default. What the plan does not list
    comes last.
    """
    planned = records.plan["methods"][cell.method]["hypers"]
    first = next((run.hypers for run in records.trials(cell) if run.published_default), {})
    chosen = cell.winner["hypers"] if cell.winner else {}
    trial = next(spec.get("trial", {}) for spec in records.plan["cells"] if spec["cell"] == cell.name)
    fixed = {**trial.get("hypers", {}), **{f"real.{name}": v for name, v in trial.get("real", {}).items()}}
    known = []
    for name, spec in planned.items():
        value = spec["default"] if spec["range"] else fixed.get(name, spec["default"])
        known.append((name, chosen.get(name, value), spec["default"], spec["range"]))
    return known + [(name, chosen[name], first.get(name), None) for name in chosen if name not in planned]


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
        runs = [run.result for run in (*records.trials(cell), *records.finals(cell)) if run.scored]
        rows.append([cell.method, *(cost_numbers(runs) if runs else [NONE] * 6)])
    return Table(columns, rows)


def cost_numbers(results: list[dict]) -> list[str]:
    stored = max(each["bytes_per_binary_weight"]["stored"] for each in results)
    optimizer = max(each["bytes_per_binary_weight"]["optimizer"] for each in results)
    steps = [each["step_milliseconds"] for each in results if each["step_milliseconds"] is not None]
    peaks = [each["peak_memory_bytes"] for each in results if each["peak_memory_bytes"] is not None]
    return [
        f"{stored:.4g}",
        f"{optimizer:.4g}",
        f"{stored + optimizer:.4g}",
        megabytes(max(peaks)) if peaks else NONE,
        f"{np.median(steps):.2f}" if steps else NONE,
        duration(sum(each["seconds"] for each in results)),
    ]

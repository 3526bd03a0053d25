"""The tables of the report as cells of text, for HTML, Markdown and LaTeX alike."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from report.analysis.comparison import Comparison
from report.analysis.numbers import NONE, duration, gap, half_width, megabytes, p_value, percent
from report.read.curves import Curves
from report.read.records import Records, Task
from suite.machine.words import count
from suite.records.schema import WITHIN, PublishedScore, Result


@dataclass(frozen=True)
class Table:
    """Columns and rows of text. The first column names the row; `text` columns are set left, others right."""

    columns: list[str]
    rows: list[list[str]]
    text: tuple[int, ...] = (0,)
    strong: tuple[int, ...] = ()  # rows to stress
    warn: frozenset[tuple[int, int]] = frozenset()  # cells (row, column) to warn about
    left_out: int = 0  # rows beyond these; runs.csv has them all

    def column(self, name: str) -> dict[str, str]:
        """The cells of a column by their row's name; ValueError for an unknown column."""
        at = self.columns.index(name)
        return {row[0]: row[at] for row in self.rows}


def accuracy_table(comparison: Comparison, published: Sequence[PublishedScore] = ()) -> Table:
    """One row per method. Bold: the set that may contain the best. published: of this task."""
    standings = comparison.standings
    studies = comparison.judgement.unit == "study"
    top5 = any(each.top5 is not None for each in standings)
    diverged = any(each.judged.diverged for each in standings)
    columns = [
        "method",
        "test top\u20111,\u00a0%",
        *(["without diverged,\u00a0%"] if diverged else []),
        *(["±\u00a095\u00a0% tuning again"] if studies else []),
        "±\u00a095\u00a0% training again",
        "reading",
        "behind the best, points",
        "p",
        "sd of studies" if studies else "sd of runs",
        *(["test top\u20115,\u00a0%"] if top5 else []),
        *(["published,\u00a0%"] if published else []),
        *(["studies"] if studies else []),
        "runs in",
        "diverged",
        "validation of winner,\u00a0%",
    ]
    rows = [
        [
            each.method,
            percent(each.judged.mean),
            *([percent(each.judged.mean_without_diverged)] if diverged else []),
            *([half_width(each.judged.procedure)] if studies else []),
            half_width(each.judged.setting) if each.judged.runs != 1 else "n = 1",
            each.judged.reading.words,
            gap(each.judged.reading.gap),
            p_value(each.judged.behind.p) if each.judged.behind else NONE,
            percent(each.judged.sd),
            *([percent(each.top5)] if top5 else []),
            *([scores_of(published, each.method)] if published else []),
            *([str(each.judged.units)] if studies else []),
            f"{each.judged.runs} / {each.judged.planned_runs}",
            str(each.judged.diverged),
            percent(each.validation),
        ]
        for each in standings
    ]
    numbered = [(row, each.judged) for row, each in enumerate(standings)]
    runs_in = columns.index("runs in")
    incomplete = {(row, runs_in) for row, each in numbered if each.runs < each.planned_runs}
    warn = incomplete | {(row, runs_in + 1) for row, each in numbered if each.diverged}
    strong = tuple(row for row, each in numbered if each.may_be_best)
    text = (0, columns.index("reading"))
    return Table(columns, rows, text=text, strong=strong, warn=frozenset(warn))


def scores_of(published: Sequence[PublishedScore], method: str) -> str:
    """Top-1, and top-5 where it is reported, of every paper."""
    found = [each for each in published if each.method == method]
    return ", ".join(map(score_words, found)) or NONE


def score_words(each: PublishedScore) -> str:
    return f"{each.top1:g}" if each.top5 is None else f"{each.top1:g} / {each.top5:g}"


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

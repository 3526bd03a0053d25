"""The tables of the report as cells of text; html.py and texts.py write them as HTML and Markdown."""

from dataclasses import dataclass

import numpy as np

from report.analysis.comparison import Comparison
from report.analysis.numbers import (
    NONE,
    count,
    duration,
    gap,
    half_width,
    hyper,
    megabytes,
    p_value,
    percent,
    points,
)
from report.analysis.tuning import TuningSummary, near_edge
from report.read.curves import Curves
from report.read.records import CellRecord, Records, Task
from suite.records.schema import WITHIN, Range, Result
from suite.records.trial import HyperSetting


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
    """One row per method. Bold: the set that may contain the best."""
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


def tuning_table(tunings: list[TuningSummary]) -> Table:
    columns = [
        "method",
        "trials in",
        "diverged",
        "epochs spent",
        "time spent",
        "published default, %",
        "winner, %",
        "gain, points",
        "winner on test, %",
        "default on test, %",
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
                percent(each.test),
                percent(each.default_test),
            ]
        )
    return Table(columns, rows)


def hypers_table(records: Records, task: Task) -> Table:
    """The values that the final runs use, with default and range, and a warning at the edge of a range."""
    rows, warn = [], set()
    for cell in records.cells_of(task):
        # With no tuning the published defaults are what the final runs use.
        decided = bool(cell.winners) or cell.track is None
        for each in cell_hypers(records, cell):
            near = [near_edge(value, each.range) for value in each.chosen if each.range and cell.winners]
            edge = next(filter(None, near), None)
            if edge:
                warn.add((len(rows), 5))
            rows.append(
                [
                    cell.method,
                    each.name,
                    ", ".join(map(hyper, each.chosen)) if decided else "not yet",
                    hyper(each.default),
                    str(each.range or "not tuned"),
                    f"within 5 % of the {edge} edge" if edge else "",
                ]
            )
    columns = ["method", "hyperparameter", "in the final runs", "published default", "range", "note"]
    return Table(columns, rows, text=(0, 1, 4, 5), warn=frozenset(warn))


@dataclass(frozen=True)
class ChosenHyper:
    """A hyperparameter of a cell: its default, its range if it was tuned, and its values in the final runs.

    chosen: one for each study, or one alone where all are the same.
    """

    name: str
    chosen: list[HyperSetting]
    default: HyperSetting
    range: Range | None


def cell_hypers(records: Records, cell: CellRecord) -> list[ChosenHyper]:
    """Every hyperparameter of a cell, those that the plan does not list last.

    The value is the winner's, or the one that the experiment sets, else the default.
    """
    cards = records.plan.methods[cell.planned.method].hypers
    first = next((run.hypers for run in records.trials(cell) if run.published_default), {})
    winners = [winner.hypers for winner in cell.winners]
    fixed = {**cell.planned.trial.method.options, "real.lr": cell.planned.trial.real_lr}
    known = []
    for name, card in cards.items():
        untuned = card.default if card.range else fixed.get(name, card.default)
        chosen = [winner.get(name, untuned) for winner in winners] or [untuned]
        known.append(ChosenHyper(name, _once(chosen), card.default, card.range))
    others = dict.fromkeys(name for winner in winners for name in winner if name not in cards)
    return known + [
        ChosenHyper(name, _once([winner[name] for winner in winners]), first.get(name), None)
        for name in others
    ]


def _once(values: list[HyperSetting]) -> list[HyperSetting]:
    """The values, or the one that all of them are."""
    return values[:1] if all(value == values[0] for value in values) else values


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

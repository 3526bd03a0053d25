"""The page's part about tuning: sentences, figures and tables of a task, once for all formats."""

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from report.analysis.importance import ENOUGH_DRAWS
from report.analysis.numbers import NONE, duration, hyper, p_value, percent
from report.analysis.search import crowded_edges, searched, tried
from report.analysis.study import BUDGET, MethodStudy, TaskStudy
from report.draw.drawing import Drawing
from report.draw.slices import slice_drawings
from report.draw.styles import Looks
from report.draw.tuning import shown, tuning_drawings
from report.page.answer import answer, gain, needed, notes, shares
from report.page.tables import Table
from report.read.records import CellRecord, Records, Task
from suite.records.schema import Range
from suite.records.trial import HyperSetting

MANY_STUDIES = 5  # winners that a cell of the table lists one by one


@dataclass(frozen=True)
class TuningPage:
    """What tuning bought on one task."""

    answer: list[str]
    notes: list[str]
    drawings: list[Drawing]
    slices: list[Drawing]  # a figure for each of a few methods
    ease: Table
    shown: Table | None  # of many rows those that are drawn
    spent: Table
    hypers: Table
    importance: Table


def tuning_page(records: Records, study: TaskStudy, looks: Looks) -> TuningPage:
    drawn = shown(study.competing)
    return TuningPage(
        answer=answer(study),
        notes=notes(study),
        drawings=tuning_drawings(study, looks),
        slices=slice_drawings(study, looks),
        ease=ease_table(study.methods),
        shown=ease_table(drawn) if len(drawn) < len(study.competing) else None,
        spent=spent_table(records, study),
        hypers=hypers_table(records, study.task),
        importance=importance_table(study),
    )


def ease_table(rows: Sequence[MethodStudy]) -> Table:
    """The answer in numbers, each with its interval."""
    columns = [
        "method",
        "random draws",
        "within 1 point, % of draws",
        "draws for 95 % chance",
        f"best of {BUDGET} draws, % on validation",
        "gain over the default, points on test",
        "default below the best known, points on test",
    ]
    return Table(columns, [[row.method, *ease_numbers(row)] for row in rows])


def ease_numbers(row: MethodStudy) -> list[str]:
    draws, near, lacking = len(row.search.scores), NONE, NONE
    planned = draws + row.search.missing
    if row.near and row.near.draws:
        near = f"{100 * row.near.share:.0f} {shares(row.near)}"
        value, low, high = map(needed, row.near.draws_needed)
        lacking = f"{value} [{low}, {high}]"
    return [
        (f"{draws} / {planned}" if row.search.missing else str(draws)) if planned else NONE,
        near,
        lacking,
        best_of(row),
        gain(row.gain) if row.gain.value == row.gain.value else NONE,
        regret(row),
    ]


def regret(row: MethodStudy) -> str:
    if row.regret.value != row.regret.value:
        return NONE
    if row.regret.same_runs:
        return "is the best known"
    return gain(row.regret)


def best_of(row: MethodStudy) -> str:
    """The median best of 8 draws, a lower end if some are lost; its band only where the draws carry one."""
    curve, place = row.budget, row.budget.place(BUDGET)
    if place is None:
        return NONE
    median = f"{percent(curve.median[place])}{' or more' if row.search.missing else ''}"
    if curve.carried < BUDGET:
        return f"{median} (no band)"
    return f"{median} [{percent(curve.low[place])}, {percent(curve.high[place])}]"


def spent_table(records: Records, study: TaskStudy) -> Table:
    """What the tuning took, and the two scores that a gain is the difference of."""
    columns = [
        "method",
        "trials in",
        "diverged",
        "epochs spent",
        "time spent",
        "default on test, %",
        "winners on test, %",
        "won by the default",
        "decided by the loss",
    ]
    rows = []
    for row in study.methods:
        spent, tied = row.spent, decided_by_loss(records, row.cell)
        rows.append(
            [
                row.method,
                f"{spent.finished} / {spent.planned}",
                str(spent.diverged),
                str(spent.epochs),
                duration(spent.seconds),
                percent(row.default_test),
                percent(row.winner_test),
                f"{row.won_by_default} of {row.studies}" if row.studies else NONE,
                f"{tied} of {row.studies}" if row.studies else NONE,
            ]
        )
    incomplete = {(n, 1) for n, row in enumerate(study.methods) if row.spent.finished < row.spent.planned}
    diverged = {(n, 2) for n, row in enumerate(study.methods) if row.spent.diverged}
    return Table(columns, rows, warn=frozenset(incomplete | diverged))


def decided_by_loss(records: Records, cell: CellRecord) -> int:
    """In how many studies several settings had the winner's validation top-1; equal draws share a run."""
    won = cell.winners
    best = {study: set[str]() for study in won}
    for run in records.trials(cell):
        if run.place.study in won and run.score == won[run.place.study].value:
            best[run.place.study].add(run.run_id)
    return sum(len(runs) > 1 for runs in best.values())


def hypers_table(records: Records, task: Task) -> Table:
    """The settings that won, of what was searched, for all tracks side by side.

    Where nothing was tuned, all settings that were used.
    """
    tracks = [track.name for track in records.plan.tuning.tracks]
    won = (
        [f"won ({track})" for track in tracks] if len(tracks) > 1 else ["won, by study" if tracks else "used"]
    )
    columns = ["method", "hyperparameter", *won, "published default", "searched", "note"]
    rows, warn = [], set()
    for cells in by_method(records.cells_of(task)):
        first, ranges = cells[0], searched(records, cells[0])
        for name, card in records.plan.methods[first.planned.method].hypers.items():
            if tracks and name not in ranges:
                continue
            values = [chosen(cell, name, card.default) for cell in cells]
            notes = [edge_note(records, cell, name, ranges.get(name)) for cell in cells]
            if any(notes):
                warn.add((len(rows), len(columns) - 1))
            rows.append(
                [
                    first.planned.method,
                    name,
                    *(winners(each) if each else "not yet" for each in values),
                    hyper(card.default),
                    str(ranges.get(name, "not tuned")),
                    "; ".join(filter(None, notes)),
                ]
            )
    text = (0, 1, len(columns) - 2, len(columns) - 1)
    return Table(columns, rows, text=text, warn=frozenset(warn))


def by_method(cells: Sequence[CellRecord]) -> list[list[CellRecord]]:
    """The rows of each method, one for each track."""
    return [list(group) for _, group in itertools.groupby(cells, lambda cell: cell.name)]


def chosen(cell: CellRecord, name: str, default: HyperSetting) -> list[HyperSetting]:
    """The value of a hyperparameter in each study's winner.

    Where nothing is tuned, the one that the experiment sets, else the published default.
    """
    fixed = cell.planned.trial.setting
    untuned = fixed.get(name, default)
    return [winner.hypers.get(name, untuned) for winner in cell.winners.values()] if cell.track else [untuned]


def winners(values: list[HyperSetting]) -> str:
    """The values one by one; of many the middle and the ends, or each with how often it won."""
    if len(values) <= MANY_STUDIES:
        return ", ".join(map(hyper, values))
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values) and len(set(values)) > MANY_STUDIES:
        middle = sorted(numbers)[(len(numbers) - 1) // 2]
        return f"{hyper(min(numbers))} … {hyper(max(numbers))}, median {hyper(middle)}"
    counts = Counter(map(hyper, values))
    return ", ".join(f"{word} ({times}\u00d7)" for word, times in counts.most_common())


def edge_note(records: Records, cell: CellRecord, name: str, range_: Range | None) -> str:
    """Where more winners lie at an edge of the range than chance would put there; from 20 settings on.

    Of the winners that were drawn: the published default may lie at an edge, and shows nothing by it.
    """
    if range_ is None or tried(records.trials(cell)) < ENOUGH_DRAWS:
        return ""
    drawn = [winner.hypers[name] for winner in cell.winners.values() if winner.number]
    ends = crowded_edges(drawn, range_)
    return "; ".join(f"{times} of {len(drawn)} at the {end} edge" for end, times in ends.items())


def importance_table(study: TaskStudy) -> Table:
    """What the parts of each range explain, and the median score in each part."""
    columns = [
        "method",
        "hyperparameter",
        "random draws",
        "explains, %",
        "p",
        "median validation by part, % (draws)",
    ]
    rows = []
    for row in study.methods:
        for each in row.effects:
            parts = ", ".join(f"{part.name} {percent(part.median, 1)} ({part.draws})" for part in each.slices)
            rows.append(
                [
                    row.method,
                    each.name,
                    str(each.draws),
                    f"{100 * each.explained:.0f}",
                    p_value(each.p),
                    parts,
                ]
            )
    return Table(columns, rows, text=(0, 1, 5))

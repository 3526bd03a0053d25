"""Two experiments, or two versions of one, side by side: which rows changed, and by how much."""

import math
from dataclasses import dataclass

import numpy as np

from report.analysis.intervals import Interval, welch_interval
from report.analysis.judgement import ENOUGH_UNITS
from report.analysis.units import studies_of, unit_groups
from report.read.records import CellRecord, Records

LEVEL = 0.05  # for all rows at once
SAME_RUNS, HIGHER, LOWER, UNCHANGED = "the same runs", "higher", "lower", "no change shown"
TOO_FEW, INCOMPLETE = "too few runs or studies", "runs are missing"
CONSTANT = "no run varies"  # as where all have diverged: a difference of zero width proves nothing
ONLY_FIRST, ONLY_SECOND = "only in the first", "only in the second"


@dataclass(frozen=True)
class Row:
    """A method on a task in both. Accuracies are fractions; NaN where there is none.

    interval: of second - first, 95 % for all compared rows at once.
    """

    data: str
    model: str
    method: str
    first: float
    second: float
    first_units: int
    second_units: int
    interval: Interval | None
    reading: str

    @property
    def difference(self) -> float:
        return self.second - self.first

    @property
    def changed(self) -> bool:
        return self.reading in (HIGHER, LOWER)


def compare_versions(first: Records, second: Records) -> list[Row]:
    """All rows of either, in the order of the first; a row is known by its data, model and method.

    And by its track, where one of the two has several: the other's single track may be one of them.
    """
    with_track = any(len(each.plan.tuning.tracks) > 1 for each in (first, second))
    sides = [{key_of(cell, with_track): cell for cell in each.cells} for each in (first, second)]
    keys = list(dict.fromkeys([*sides[0], *sides[1]]))
    pairs = [
        (key, unit_scores(first, sides[0].get(key)), unit_scores(second, sides[1].get(key))) for key in keys
    ]
    both = [key for key in keys if all(key in side for side in sides)]
    same = {key for key in both if finals(first, sides[0][key]) == finals(second, sides[1][key]) != {}}
    lost = {key for key in both if incomplete(first, sides[0][key]) or incomplete(second, sides[1][key])}
    left_out = {*same, *lost, *(key for key, *units in pairs if min(map(len, units)) < ENOUGH_UNITS)}
    compared = len(pairs) - len(left_out)
    rows = []
    for key, before, after in pairs:
        interval = welch_interval(after, before, 1 - LEVEL / max(1, compared))
        means = [float(np.mean(scores)) if scores else math.nan for scores in (before, after)]
        if key not in both:
            reading = ONLY_FIRST if key in sides[0] else ONLY_SECOND
        elif key in same:
            reading = SAME_RUNS
        elif key in lost:  # the lost run may be the worst one
            reading = INCOMPLETE
        elif key in left_out:
            reading = TOO_FEW
        else:
            reading = CONSTANT if interval is None else reading_of(interval)
        if reading not in (HIGHER, LOWER, UNCHANGED):
            interval = None
        (data, model, method), (one, other) = key, means
        rows.append(Row(data, model, method, one, other, len(before), len(after), interval, reading))
    return rows


def key_of(cell: CellRecord, with_track: bool) -> tuple[str, str, str]:
    """Data, model, and the method, as a table names it."""
    track = f" ({cell.track})" if with_track and cell.track else ""
    return cell.task.data, cell.task.model, f"{cell.planned.method}{track}"


def reading_of(interval: Interval) -> str:
    return HIGHER if interval.low > 0 else LOWER if interval.high < 0 else UNCHANGED


def finals(records: Records, cell: CellRecord) -> dict[str, float]:
    """The scores of the final runs by name; the same settings and seed have the same name."""
    return {run.run_id: run.score for run in records.finals(cell) if run.score is not None}


def incomplete(records: Records, cell: CellRecord) -> bool:
    return not all(run.scored for run in records.finals(cell))


def unit_scores(records: Records, cell: CellRecord | None) -> list[float]:
    """The mean of each unit of a comparison."""
    if cell is None:
        return []
    runs = [run for run in records.finals(cell) if run.scored]
    groups = unit_groups(runs, task_studies(records, cell))
    means = [[run.score for run in group if run.score is not None] for group in groups]
    return [float(np.mean(scores)) for scores in means]


def task_studies(records: Records, cell: CellRecord) -> int:
    return studies_of(records.plan, [row.planned for row in records.cells_of(cell.task)])


def conditional(records: Records) -> bool:
    """Whether some statement is about the settings of one draw of the tuning."""
    return any(task_studies(records, cell) == 1 for cell in records.cells)

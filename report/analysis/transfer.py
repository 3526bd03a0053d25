"""Does a setting carry over? The winners of one task, run on another, against what was tuned there.

Related: Adkins, Bowling and White, NeurIPS 2024, "A method for evaluating hyperparameter sensitivity in
reinforcement learning", who compare tuning for each task with one setting for all tasks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from report.analysis.frames import bounds, labels
from report.analysis.gain import SAME_RUNS, Gain, welch
from report.analysis.study import are_runs_of, default_of, gain_of_tuning, mean, test_scores, units_of
from report.analysis.units import by_study
from report.read.records import CellRecord, Records, RunRecord, Task
from suite.records.schema import task_name

COLUMNS = (
    *("cell", "data", "model", "method", "track", "source", "tuned_there", "tuned_here", "default"),
    *("over_tuned_here", "over_tuned_here_low", "over_tuned_here_high"),
    *("over_default", "over_default_low", "over_default_high", "runs", "planned", "diverged"),
)


@dataclass(frozen=True)
class Transfer:
    """The winners of a row on the task `source`, run on the task of `cell`. Means on test, in fractions.

    over_own, over_default: moved - own and moved - default, in the same fractions. NaN without a run.
    """

    cell: CellRecord
    source: Task
    runs: tuple[RunRecord, ...]
    moved: float
    own: float  # of the winners that were tuned on this task
    default: float  # of its published default
    over_own: Gain
    over_default: Gain

    @property
    def method(self) -> str:
        return self.cell.method

    @property
    def scored(self) -> int:
        """How many of its runs have a result."""
        return sum(run.scored for run in self.runs)

    @property
    def diverged(self) -> int:
        """How many of them have diverged, and count at the level of chance."""
        return sum(run.status == "diverged" for run in self.runs)

    @property
    def one_study(self) -> bool:
        """Whether both sides rest on one draw of the tuning."""
        return len({run.place.study for run in self.runs}) == 1


def transfers_of(records: Records, task: Task) -> list[Transfer]:
    """Every row of a task that competes, with each other task's winners, if the experiment runs them here."""
    tasks = {task_name(each.data, each.model): each for each in records.tasks}
    return [
        transfer(records, cell, tasks[source], runs)
        for cell in records.cells_of(task)
        if cell.method not in records.controls
        for source, runs in by_source(records.transfers(cell)).items()
    ]


def by_source(runs: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """The runs by the task whose winner they train."""
    groups: dict[str, list[RunRecord]] = {}
    for run in runs:
        if run.place.source is not None:
            groups.setdefault(run.place.source, []).append(run)
    return groups


def transfer(records: Records, cell: CellRecord, source: Task, runs: Sequence[RunRecord]) -> Transfer:
    own, default = records.finals(cell), default_of(records, cell)
    return Transfer(
        cell=cell,
        source=source,
        runs=tuple(runs),
        moved=mean(test_scores(runs)),
        own=mean(test_scores(own)),
        default=mean(default.test),
        over_own=difference(runs, own),
        over_default=gain_of_tuning(runs, default),
    )


def difference(moved: Sequence[RunRecord], own: Sequence[RunRecord]) -> Gain:
    """Units: the studies on both sides if there are several, else the runs."""
    units = [units_of([*by_study(runs).values()]) for runs in (moved, own)]
    found = SAME_RUNS if units[0] and are_runs_of(moved, own) else welch(*units)
    return replace(found, provisional=not all(run.scored for run in (*moved, *own)))


def transfer_frame(found: Iterable[Transfer]) -> pd.DataFrame:
    """One row per task, row and other task, as fractions and unrounded."""
    return pd.DataFrame([transfer_row(each) for each in found], columns=list(COLUMNS))


def transfer_row(each: Transfer) -> dict[str, Any]:
    return {
        **labels(each.cell),
        "track": each.cell.track,
        "source": task_name(each.source.data, each.source.model),
        "tuned_there": each.moved,
        "tuned_here": each.own,
        "default": each.default,
        "over_tuned_here": each.over_own.value,
        **bounds("over_tuned_here", each.over_own.interval),
        "over_default": each.over_default.value,
        **bounds("over_default", each.over_default.interval),
        "runs": each.scored,
        "planned": len(each.runs),
        "diverged": each.diverged,
    }

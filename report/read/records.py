"""The records of one experiment as the report holds them.

Every planned run is one `RunRecord`, finished or not, so that nothing can drop out of a denominator.
"""

import functools
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Literal, get_args

from report.read.curves import Curves
from suite.records.schema import (
    DataRecord,
    Environment,
    FailureKind,
    Ledger,
    Phase,
    Place,
    PlannedCell,
    PlanRecord,
    Result,
    TrackName,
    Winner,
)
from suite.records.trial import Settings

Status = Literal["done", "diverged", "failed", "damaged", "missing"]
STATUSES: tuple[Status, ...] = get_args(Status)
FAILURES: tuple[FailureKind, ...] = get_args(FailureKind)


@dataclass(frozen=True)
class Task:
    """A data set and a model: what the methods are compared on."""

    data: str
    model: str
    key: str  # safe in a file name

    @property
    def title(self) -> str:
        return f"{self.data} \u00d7 {self.model}"


@dataclass(frozen=True)
class CellRecord:
    """One method on one task, tuned in one way. The ledger is empty before the first trial, and if damaged.

    track: none where nothing is tuned; then the final runs are those of the published default.
    method: its label, with the track where there are several.
    """

    planned: PlannedCell
    task: Task
    track: TrackName | None
    method: str
    ledger: Ledger
    problem: str = ""  # why the ledger cannot be trusted

    @property
    def name(self) -> str:
        return self.planned.cell

    @property
    def winners(self) -> dict[int, Winner]:
        """The winners of the studies that have one so far, by the number of the study."""
        studies = [each for each in self.ledger.studies if each.track == self.track]
        return {each.number: each.winner for each in studies if each.winner is not None}


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One planned run; `seed` of a final run, which methods share."""

    cell: CellRecord
    place: Place
    seed: int | None
    status: Status
    reason: str = ""  # why there is no result
    failure: FailureKind | None = None  # of a failed run
    run_id: str = ""
    hypers: Settings = field(default_factory=dict)
    result: Result | None = None  # of a run that is done or diverged
    environment: Environment | None = None  # runs made in the same one share it
    curves: Curves | None = None  # of a final run with a result
    correct: bytes = b""  # packed bits of the test images, of a final run that is done

    @property
    def phase(self) -> Phase:
        return self.place.phase

    @property
    def published_default(self) -> bool:
        """Whether it is the published default as such: trial 0 of a study, or one of its final runs."""
        return self.phase == "default" or self.place[::3] == ("tuning", 0)

    @property
    def score(self) -> float | None:
        """Top-1 on validation in tuning, on test in a final run; None without a result.

        A diverged run has its chance-level score.
        """
        if self.result is None:
            return None
        scores = self.result.scores
        return scores.val_top1 if self.phase == "tuning" else scores.test_top1

    @property
    def scored(self) -> bool:
        return self.result is not None


@dataclass(frozen=True)
class DataFile:
    """data/<data set>.json: no record where there is no such file, or where it is damaged."""

    record: DataRecord | None = None
    problem: str = ""  # why the file cannot be trusted


@dataclass(frozen=True)
class Records:
    """All that a report needs of one experiment; cells and runs are in the order of the plan."""

    plan: PlanRecord
    tasks: list[Task]
    cells: list[CellRecord]
    runs: list[RunRecord]
    data: dict[str, DataFile]
    unplanned: str = ""  # what the folder holds beyond the plan

    @property
    def damaged(self) -> list[str]:
        """The file and the problem of every damaged or contradictory record, once."""
        runs = [run.reason for run in self.runs if run.status == "damaged"]
        return list(dict.fromkeys([*runs, *(file.problem for file in self.data.values() if file.problem)]))

    @functools.cached_property
    def controls(self) -> frozenset[str]:
        """The methods that do not compete: floors and ceilings for comparison."""
        return frozenset(c.method for c in self.cells if self.plan.methods[c.planned.method].control)

    @functools.cached_property
    def methods(self) -> list[str]:
        """The labels of all rows, in the order of the plan."""
        return list(dict.fromkeys(cell.method for cell in self.cells))

    @property
    def first_track(self) -> TrackName | None:
        """The track that the runs of the default go with, and that a claim's tests are about."""
        return next((track.name for track in self.plan.tuning.tracks), None)

    def finals(self, cell: CellRecord) -> list[RunRecord]:
        """The final runs of all studies' winners; of the published default where nothing is tuned."""
        return self._by_cell[cell.name, cell.track, "final"] if cell.track else self.defaults(cell)

    def defaults(self, cell: CellRecord) -> list[RunRecord]:
        """The final runs of the published default."""
        return self._by_cell[cell.name, None, "default"]

    def transfers(self, cell: CellRecord) -> list[RunRecord]:
        """The final runs of the winners of the same row on other tasks; `place.source` is the task."""
        return self._by_cell[cell.name, cell.track, "transfer"]

    def trials(self, cell: CellRecord) -> list[RunRecord]:
        """The tuning trials of all studies."""
        return self._by_cell[cell.name, cell.track, "tuning"]

    def planned(self, cell: CellRecord, phase: Phase) -> list[RunRecord]:
        """The runs of one phase in the row of a cell: those of the default go with the first track."""
        if phase == "default":
            return self.defaults(cell) if cell.track == self.first_track else []
        return self._by_cell[cell.name, cell.track, phase]

    def runs_of(self, cell: CellRecord) -> list[RunRecord]:
        """All planned runs behind a row, tuning first; a run that the winner and the default share once.

        What other tasks' winners do here is not part of it. The default's own runs are in the row of the
        first track alone, so that rows add up.
        """
        runs = [*self.trials(cell), *self.finals(cell)]
        known = {run.run_id for run in runs if run.run_id}
        return runs + [run for run in self.planned(cell, "default") if cell.track and run.run_id not in known]

    def cells_of(self, task: Task) -> list[CellRecord]:
        return self._by_task[task]

    @functools.cached_property
    def _by_cell(self) -> dict[tuple[str, TrackName | None, Phase], list[RunRecord]]:
        runs: dict[tuple[str, TrackName | None, Phase], list[RunRecord]] = defaultdict(list)
        for run in self.runs:
            runs[run.cell.name, run.place.track, run.phase].append(run)
        return runs

    @functools.cached_property
    def _by_task(self) -> dict[Task, list[CellRecord]]:
        cells: dict[Task, list[CellRecord]] = {task: [] for task in self.tasks}
        for cell in self.cells:
            cells[cell.task].append(cell)
        return cells

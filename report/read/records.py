"""The records of one experiment as the report holds them.

Every planned run is one `RunRecord`, finished or not, so that nothing can drop out of a denominator.
"""

import functools
from dataclasses import dataclass, field
from typing import Literal, get_args

from report.read.curves import Curves
from suite.records.schema import (
    DataRecord,
    Environment,
    FailureKind,
    Ledger,
    PlannedCell,
    PlanRecord,
    Result,
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
    """One method on one task. The ledger is empty before the first trial, and if it is damaged."""

    planned: PlannedCell
    task: Task
    ledger: Ledger
    problem: str = ""  # why the ledger cannot be trusted

    @property
    def name(self) -> str:
        return self.planned.cell

    @property
    def method(self) -> str:
        return self.planned.method

    @property
    def winner(self) -> Winner | None:
        return self.ledger.winner


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One planned run: `number` of the trial in tuning, `seed` of a final run."""

    cell: CellRecord
    number: int | None
    seed: int | None
    status: Status
    reason: str = ""  # why there is no result
    failure: FailureKind | None = None  # of a failed run
    run_id: str = ""
    published_default: bool = False
    hypers: Settings = field(default_factory=dict)
    result: Result | None = None  # of a run that is done or diverged
    environment: Environment | None = None  # runs made in the same one share it
    curves: Curves | None = None  # of a final run with a result

    @property
    def phase(self) -> Literal["tuning", "final"]:
        return "tuning" if self.seed is None else "final"

    @property
    def score(self) -> float | None:
        """Top-1 on validation in tuning, on test in a final run; None without a result.

        A diverged run has its chance-level score.
        """
        if self.result is None:
            return None
        return self.result.scores.val_top1 if self.seed is None else self.result.scores.test_top1

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
        return frozenset(name for name, card in self.plan.methods.items() if card.control)

    def finals(self, cell: CellRecord) -> list[RunRecord]:
        return self._by_cell[cell.name, "final"]

    def trials(self, cell: CellRecord) -> list[RunRecord]:
        return self._by_cell[cell.name, "tuning"]

    def runs_of(self, cell: CellRecord) -> list[RunRecord]:
        """All planned runs of a cell, tuning first."""
        return [*self.trials(cell), *self.finals(cell)]

    def cells_of(self, task: Task) -> list[CellRecord]:
        return self._by_task[task]

    @functools.cached_property
    def _by_cell(self) -> dict[tuple[str, str], list[RunRecord]]:
        runs: dict[tuple[str, str], list[RunRecord]] = {
            (cell.name, phase): [] for cell in self.cells for phase in ("tuning", "final")
        }
        for run in self.runs:
            runs[run.cell.name, run.phase].append(run)
        return runs

    @functools.cached_property
    def _by_task(self) -> dict[Task, list[CellRecord]]:
        cells: dict[Task, list[CellRecord]] = {task: [] for task in self.tasks}
        for cell in self.cells:
            cells[cell.task].append(cell)
        return cells

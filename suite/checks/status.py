"""How far a sweep has come, seen from outside: its records are read and nothing is written.

How long a run takes is read from the seconds in the records, so no clock is compared with another machine's.
Nothing here imports torch.
"""

import contextlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from suite.records.agreement import NamedRun, named_runs
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, is_owned
from suite.records.schema import EpochLine, PlannedCell, PlanRecord


class Finished(NamedTuple):
    """The part of a result that is kept between two looks; a result never changes."""

    status: str
    val_top1: float
    epochs: int
    seconds: float


class Running(NamedTuple):
    """A run that some process trains now, and the epochs that it has finished."""

    cell: str
    which: str
    run: str
    epoch: int
    epochs: int


@dataclass
class CellStatus:
    """One cell: its planned and finished runs, its planned and finished epochs, and the time per epoch."""

    cell: str
    tuning: int
    tuning_planned: int
    final: int
    final_planned: int
    failed: int = 0
    diverged: int = 0
    best_val_top1: float | None = None  # of the tuning trials so far
    epochs: int = 0
    epochs_planned: int = 0
    seconds_per_epoch: float | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing is left to run. Without a tuning trial that worked there are no final runs."""
        nothing_to_train = self.failed == self.tuning_planned > 0 == self.tuning
        ended = self.tuning + self.final + self.failed
        return nothing_to_train or ended == self.tuning_planned + self.final_planned


@dataclass
class Status:
    """An experiment at one moment. Rate and time left assume the runs that are in progress now."""

    experiment: str
    working: bool
    cells: list[CellStatus] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)  # or of another experiment: the file and the problem
    unplanned: str = ""  # what is recorded and is no part of the plan
    epochs_per_minute: float | None = None
    work_left_seconds: float | None = None  # for one run at a time

    @property
    def settled(self) -> bool:
        """Whether every run that can be made has a result or has failed."""
        return all(cell.ended for cell in self.cells)


class Observer:
    """Looks at one experiment, again and again: a finished run is read only once."""

    def __init__(self, folder: Path) -> None:
        self.folder = ExperimentFolder(folder)
        self._finished: dict[tuple[str, str, str], Finished] = {}  # by cell, which, run

    def look(self) -> Status:
        """How far it is now; damaged files are named in the status.

        Raises FileNotFoundError without a plan, DamagedRecord for a plan that cannot be read.
        """
        plan = self.folder.plan()
        status = Status(plan.experiment, is_owned(self.folder.path))
        begun, named = set(self.folder.run_names()), set[str]()
        for planned in plan.cells:
            status.cells.append(self._cell(planned, plan, begun, named, status))
        status.unplanned = str(self.folder.unplanned(plan, named))
        _estimate(status)
        return status

    def _cell(
        self, planned: PlannedCell, plan: PlanRecord, begun: set[str], names: set[str], status: Status
    ) -> CellStatus:
        """One cell; `names` collects the runs that its ledger names."""
        trials, seeds = plan.tuning.trials, len(plan.seeds)
        epochs_planned = planned.epochs * (trials + seeds)
        cell = CellStatus(planned.cell, 0, trials, 0, seeds, epochs_planned=epochs_planned)
        try:
            ledger = self.folder.ledger(planned, plan)
        except FileNotFoundError:
            return cell
        except DamagedRecord as error:
            self._add_damaged(status, error)
            return cell
        epochs = seconds = 0.0
        for named in named_runs(ledger, planned, plan):
            names.add(named.run)
            if named.run not in begun:
                continue
            try:
                if (finished := self._result(cell.cell, named)) is not None:
                    _count(cell, finished, planned.epochs, tuning=named.seed is None)
                    epochs, seconds = epochs + finished.epochs, seconds + finished.seconds
                else:
                    lines = self._unfinished(cell, named, planned.epochs, status)
                    epochs, seconds = epochs + len(lines), seconds + sum(line.seconds for line in lines)
            except DamagedRecord as error:
                self._add_damaged(status, error)
        cell.seconds_per_epoch = seconds / epochs if epochs else None
        return cell

    def _add_damaged(self, status: Status, error: DamagedRecord) -> None:
        status.damaged.append(f"{error.path.relative_to(self.folder.path)}: {error.problem}")

    def _result(self, cell: str, named: NamedRun) -> Finished | None:
        key = (cell, named.which, named.run)
        if key not in self._finished:
            folder = self.folder.run(named.run)
            result = folder.result()
            if result is None:
                return None
            named.check(folder)
            self._finished[key] = Finished(
                result.status, result.scores.val_top1, result.epochs, result.seconds
            )
        return self._finished[key]

    def _unfinished(self, cell: CellStatus, named: NamedRun, epochs: int, status: Status) -> list[EpochLine]:
        """Count a run that has begun; the lines of its epochs so far."""
        folder = self.folder.run(named.run)
        owned = is_owned(folder.path)
        with contextlib.suppress(FileNotFoundError):  # it is written when the training begins
            named.check(folder)
        if not owned and folder.failure() is not None:
            cell.failed += 1
            return []
        lines = folder.epochs_so_far()
        cell.epochs += len(lines)
        if owned:
            status.running.append(Running(cell.cell, named.which, named.run, len(lines), epochs))
        return lines


def _count(cell: CellStatus, finished: Finished, epochs: int, *, tuning: bool) -> None:
    cell.epochs += epochs  # a diverged run has spent its budget
    cell.diverged += finished.status == "diverged"
    if tuning:
        cell.tuning += 1
        cell.best_val_top1 = max(finished.val_top1, cell.best_val_top1 or 0.0)
    else:
        cell.final += 1


def _estimate(status: Status) -> None:
    """Rate and work left. A cell without an epoch so far is assumed to be as fast as the others."""
    known = {cell.cell: cell.seconds_per_epoch for cell in status.cells if cell.seconds_per_epoch}
    if not known:
        return
    usual = sum(known.values()) / len(known)
    status.epochs_per_minute = sum(60 / known.get(run.cell, usual) for run in status.running)
    status.work_left_seconds = 0.0
    for cell in status.cells:
        if cell.ended:
            continue
        each = cell.epochs_planned / (cell.tuning_planned + cell.final_planned)
        left = max(0.0, cell.epochs_planned - cell.epochs - cell.failed * each)
        status.work_left_seconds += left * known.get(cell.cell, usual)

"""How far a sweep has come, seen from outside: its records are read and nothing is written.

How long a run takes is read from the seconds in the records, so no clock is compared with another machine's.
Nothing here imports torch.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from suite.records.agreement import NamedRun, named_runs
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, is_owned
from suite.records.schema import PHASES, EpochLine, Phase, Place, PlannedCell, PlanRecord


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
    """One cell: its planned and finished runs, its planned and finished epochs, and the time per epoch.

    A run that is in two places counts twice: a winner may be the published default. transfer: final runs
    of other tasks' winners. never: final runs that are planned and are not made, because every trial of their
    study failed.
    """

    cell: str
    tuning_planned: int
    final_planned: int
    default_planned: int
    transfer_planned: int
    tuning: int = 0
    final: int = 0
    default: int = 0
    transfer: int = 0
    failed: int = 0
    never: int = 0
    diverged: int = 0
    best_val_top1: float | None = None  # of the tuning trials so far
    epochs: int = 0
    epochs_planned: int = 0
    seconds_per_epoch: float | None = None

    @property
    def finished(self) -> int:
        return self.tuning + self.final + self.default + self.transfer

    @property
    def planned(self) -> int:
        return self.tuning_planned + self.final_planned + self.default_planned + self.transfer_planned

    @property
    def ended(self) -> bool:
        """Whether nothing is left to run."""
        return self.finished + self.failed + self.never == self.planned


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
        self._finished: dict[tuple[str, Place, str], Finished] = {}  # by cell, place, run

    def look(self) -> Status:
        """How far it is now; damaged files are named in the status.

        Raises FileNotFoundError without a plan, DamagedRecord for a plan that cannot be read.
        """
        plan = self.folder.plan()
        status = Status(plan.experiment, is_owned(self.folder.path))
        begun, named = set(self.folder.run_names()), set[str]()
        lost: Counter[tuple[str, str]] = Counter()  # studies without a winner, by method and task
        for planned in plan.cells:
            cell, failed = self._cell(planned, plan, begun, named, status)
            status.cells.append(cell)
            lost[planned.method, planned.task] = failed
        for planned, cell in zip(plan.cells, status.cells, strict=True):
            elsewhere = [task for task in plan.tuning.transfer if task != planned.task]
            without = lost[planned.method, planned.task] + sum(lost[planned.method, t] for t in elsewhere)
            cell.never = plan.seeds * without
        status.unplanned = str(self.folder.unplanned(plan, named))
        _estimate(status)
        return status

    def _cell(
        self, planned: PlannedCell, plan: PlanRecord, begun: set[str], names: set[str], status: Status
    ) -> tuple[CellStatus, int]:
        """One cell, and how many of its studies failed; `names` collects the runs that its ledger names."""
        tuning = plan.tuning_of(planned)
        cell = CellStatus(planned.cell, *(tuning.count(phase, plan.seeds) for phase in PHASES))
        cell.epochs_planned = planned.epochs * cell.planned
        try:
            ledger = self.folder.ledger(planned, plan)
        except FileNotFoundError:
            return cell, 0
        except DamagedRecord as error:
            self._add_damaged(status, error)
            return cell, 0
        epochs = seconds = 0.0
        failed: Counter[tuple[str | None, int]] = Counter()  # trials, by track and study
        for named in named_runs(ledger, planned, plan):
            names.add(named.run)
            if named.run not in begun:
                continue
            try:
                if (finished := self._result(cell.cell, named)) is not None:
                    _count(cell, finished, planned.epochs, named.place.phase)
                    epochs, seconds = epochs + finished.epochs, seconds + finished.seconds
                elif (lines := self._unfinished(cell, named, planned.epochs, status)) is None:
                    cell.failed += 1
                    failed[named.place.track, named.place.study] += named.place.phase == "tuning"
                else:
                    epochs, seconds = epochs + len(lines), seconds + sum(line.seconds for line in lines)
            except DamagedRecord as error:
                self._add_damaged(status, error)
        cell.seconds_per_epoch = seconds / epochs if epochs else None
        without = [
            track
            for track in tuning.tracks
            for n in range(track.studies)
            if failed[track.name, n] == track.trials
        ]
        return cell, len(without)

    def _add_damaged(self, status: Status, error: DamagedRecord) -> None:
        text = f"{error.path.relative_to(self.folder.path)}: {error.problem}"
        if text not in status.damaged:  # a run may be in two places
            status.damaged.append(text)

    def _result(self, cell: str, named: NamedRun) -> Finished | None:
        key = (cell, named.place, named.run)
        if key not in self._finished:
            folder = self.folder.run(named.run)
            result = folder.result()
            if result is None:
                return None
            try:
                named.check(folder)
            except FileNotFoundError:
                raise DamagedRecord(folder.path / "trial.json", "there is none beside a result") from None
            self._finished[key] = Finished(
                result.status, result.scores.val_top1, result.epochs, result.seconds
            )
        return self._finished[key]

    def _unfinished(
        self, cell: CellStatus, named: NamedRun, epochs: int, status: Status
    ) -> list[EpochLine] | None:
        """Count a run that has begun; the lines of its epochs so far, None if it has failed."""
        folder = self.folder.run(named.run)
        owned = is_owned(folder.path)
        with contextlib.suppress(FileNotFoundError):  # it is written when the training begins
            named.check(folder)
        if not owned and folder.failure() is not None:
            return None
        lines = folder.epochs_so_far()
        cell.epochs += len(lines)
        if owned and all(run.run != named.run for run in status.running):  # it may be in two places
            status.running.append(Running(cell.cell, str(named.place), named.run, len(lines), epochs))
        return lines


def _count(cell: CellStatus, finished: Finished, epochs: int, phase: Phase) -> None:
    cell.epochs += epochs  # a diverged run has spent its budget
    cell.diverged += finished.status == "diverged"
    setattr(cell, phase, getattr(cell, phase) + 1)
    if phase == "tuning":
        cell.best_val_top1 = max(finished.val_top1, cell.best_val_top1 or 0.0)


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
        each = cell.epochs_planned / cell.planned
        left = max(0.0, cell.epochs_planned - cell.epochs - (cell.failed + cell.never) * each)
        status.work_left_seconds += left * known.get(cell.cell, usual)

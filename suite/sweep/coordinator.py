"""The coordinator: walks every cell from its studies to its final runs, over a pool of workers.

It decides nothing that the plan has not fixed, so it may be killed and started again at any instant: finished
runs are skipped, unfinished ones resume from their checkpoints, and no draw is repeated.
"""

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NoReturn

from optimizers import METHODS
from suite.experiment.plan import Plan
from suite.machine.errors import UserError
from suite.machine.preemption import StopRequested, requested
from suite.records.agreement import changed_images, same_images
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder, OtherFormat
from suite.records.files import DamagedRecord, clear_torn, make_folder, make_part, set_aside, write_json
from suite.records.replan import edited_data, forget_edited_plugins, require_same_work
from suite.records.schema import DataRecord, MethodFile, Result
from suite.records.trial import Trial
from suite.sweep.cell import CellProgress
from suite.sweep.messages import Busy, DiskFull, Done, EpochDone, Failed, Kept, Lost, Message, Preempted
from suite.sweep.optuna_log import OptunaLog
from suite.sweep.pool import Pool
from suite.sweep.worker import disk_trouble
from suite.training.provenance import method_file

ATTEMPTS = 3  # of a run that the machine fails, before it counts as failed
POLL = 0.5  # seconds between looks at a run that another process has, and at a request to stop
WITHOUT_NETWORK = (
    "of the final runs {count} were finished before and hold no network; none is made again. To get their "
    "networks, move the folders of these runs out of {runs}, and sweep again with --no-adopt"
)
GRACE = 20.0  # seconds for the workers to save: schedulers kill after 30 or more, and the end takes a few


class DiskFailed(UserError):
    """Nothing more can be written where the results are."""


@dataclass
class Job:
    """One run to be made, for all cells that need it: they may share one, and a cell may need it twice."""

    trial: Trial
    askers: list[CellProgress]
    lost: int = 0  # attempts
    busy_shown: bool = False
    settled: bool = False
    result: Result | None = None  # once settled; None for a failure


@dataclass
class Sweep:
    """One walk over a plan.

    `on_message` gets the messages about runs, with the trial and the name of the cell that asked for it;
    `on_note` those about the folder.
    """

    plan: Plan
    folder: Path
    pool: Pool
    tuning_only: bool = False
    on_message: Callable[[Message, Trial, str], None] = lambda message, trial, cell: None
    on_note: Callable[[str], None] = lambda text: None
    _jobs: dict[str, Job] = field(default_factory=dict)
    _queue: deque[Job] = field(default_factory=deque)
    _running: set[str] = field(default_factory=set)  # run ids that the pool has
    _started: list[Job] = field(default_factory=list)  # that the log does not show yet
    _later: list[tuple[float, Job]] = field(default_factory=list)
    _method_files: dict[str, MethodFile] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)
    _without_network: int = 0  # finished final runs that should keep theirs

    def __post_init__(self) -> None:
        self.records = ExperimentFolder(self.folder)

    def run(self) -> bool:
        """Run everything that is not finished; True if every planned run then has a result.

        Raises DiskFailed at the first sign that results can no longer be written, and StopRequested if this
        process was asked to stop: the workers have saved their state by then, or had GRACE for it.
        """
        try:
            return self._walk()
        except OSError as error:
            if text := disk_trouble(error):
                raise DiskFailed(text) from error
            raise

    def _walk(self) -> bool:
        make_part(self.folder / "cells")
        self.optuna_log = OptunaLog(self.records)
        unopened = deque(self.plan.cells)
        cells: list[CellProgress] = []
        while unopened or self._queue or self._later or self._running:
            if requested():
                self._stop()
            if unopened:  # one at a time, while the pool works
                cell = CellProgress(self.plan, unopened.popleft(), self.records, tuning_only=self.tuning_only)
                if self.plan.tuning.transfer:
                    _introduce(cell, cells)
                cells.append(cell)
                self._collect(cell)
            self._submit()
            messages = self.pool.listen(self._patience() if not unopened else 0.0)
            self._submit()  # the next trials first: nobody waits for the bookkeeping
            for message in messages:
                self._take(message)
            self._log_started()
        if self._without_network:
            self.on_note(WITHOUT_NETWORK.format(count=self._without_network, runs=self.folder / "runs"))
        return all(cell.complete() for cell in cells)

    def _stop(self) -> NoReturn:
        """Let the workers save, and keep a run that finishes at that moment."""
        for message in self.pool.stop(GRACE):
            if not isinstance(message, Lost):  # a machine that is taken back may kill a worker
                self._take(message)
        raise StopRequested

    def _patience(self) -> float:
        """How long there is nothing to do unless the pool has a message, in seconds."""
        return POLL if self._later or self._running or self._queue else 0.0

    def _submit(self) -> None:
        now = time.monotonic()
        if self._later:
            self._queue.extend(job for due, job in self._later if due <= now)
            self._later = [(due, job) for due, job in self._later if due > now]
        while self._queue and self.pool.free and not requested():
            job = self._queue.popleft()
            try:
                self.pool.submit(self.records.run(job.trial.run_id).path, job.trial)
            except StopRequested:  # while it reads the test images
                self._stop()
            self._running.add(job.trial.run_id)
            self._started.append(job)

    def _log_started(self) -> None:
        """Enter the runs in progress into the log for Optuna's tools, last of all."""
        for job in self._started:
            for cell in () if job.settled else dict.fromkeys(job.askers):
                for entry in cell.entries(job.trial):
                    self.optuna_log.started(cell, entry, job.trial.run_id)
        self._started.clear()

    def _collect(self, cell: CellProgress) -> None:
        """Queue the runs that are ready in this cell; finished ones may make more of them ready.

        Then those of the cells where its new winners run too.
        """
        for each in (cell, *cell.others):
            while trials := each.ready():
                for trial in trials:
                    self._ask(trial, each)
            each.write_ledger()
            while each.notes:
                self.on_note(each.notes.pop(0))

    def _ask(self, trial: Trial, cell: CellProgress) -> None:
        job = self._jobs.get(trial.run_id)
        if job is None:
            job = self._jobs[trial.run_id] = Job(trial, [cell])
            job.result = self._finished_before(trial)
            job.settled = job.result is not None
            if not job.settled:
                self._queue.append(job)
                return
        elif not job.settled:
            job.askers.append(cell)
            return
        self._hand_over(job, cell)

    def _finished_before(self, trial: Trial) -> Result | None:
        run = self.records.run(trial.run_id)
        try:
            result = run.whole()
        except (DamagedRecord, OSError):
            return None  # the worker sets it aside, or reads it, or reports what is wrong with it
        if result:
            run.clear_leftovers()
            self._without_network += self.plan.keep_weights and run.lacks_weights(trial, result)
        return result

    def _take(self, message: Message) -> None:
        """Act on a message about a run."""
        job = self._jobs[message.run_id]
        if not isinstance(message, EpochDone):
            self._running.discard(message.run_id)
        match message:
            case EpochDone():
                self._tell(message, job.askers[0])
            case DiskFull():
                raise DiskFailed(message.text)
            case Busy():
                self._wait_for(job, message)
            case Lost():
                self._try_again(job, message)
            case Preempted():
                self._tell(message, job.askers[0])
                self._queue.appendleft(job)
            case Done() | Failed():
                self._settle(job, message)

    def _wait_for(self, job: Job, message: Busy) -> None:
        if not job.busy_shown:
            job.busy_shown = True
            self._tell(message, job.askers[0])
        self._later.append((time.monotonic() + POLL, job))

    def _try_again(self, job: Job, message: Lost) -> None:
        """The machine failed a run, which is not to blame until that has happened several times."""
        job.lost += 1
        if job.lost < ATTEMPTS:
            self._tell(message, job.askers[0])
            self._queue.appendleft(job)
            return
        error = f"{message.failure.error}, {ATTEMPTS} times"
        failure = replace(message.failure, error=error)
        try:
            self.records.run(job.trial.run_id).fail(failure)
        except OSError as unwritable:  # of this run alone, unless nothing can be written any more
            if disk_trouble(unwritable):
                raise
        self._settle(job, Failed(job.trial.run_id, failure))

    def _settle(self, job: Job, message: Done | Failed) -> None:
        """A run has its result or has failed: hand it to its cells, and queue the runs that are ready now."""
        job.settled, job.result = True, message.result if isinstance(message, Done) else None
        self._tell(message, job.askers[0])
        first, *others = job.askers
        self._book(job, first)
        for cell in others:
            self._hand_over(job, cell)
        waiting = len(self._queue)
        for cell in dict.fromkeys(job.askers):
            self._collect(cell)
        # What this makes ready comes before cells that have not begun: a sweep that stops leaves whole cells.
        self._queue.extendleft([self._queue.pop() for _ in range(len(self._queue) - waiting)])

    def _hand_over(self, job: Job, cell: CellProgress) -> None:
        """Give a cell a run that it did not have to wait for."""
        self._book(job, cell)
        run_id = job.trial.run_id
        kept = Kept(run_id, self._other_code(job.trial)) if job.result else Failed(run_id, None)
        self._tell(kept, cell)

    def _tell(self, message: Message, cell: CellProgress) -> None:
        self.on_message(message, self._jobs[message.run_id].trial, cell.cell.name)

    def _book(self, job: Job, cell: CellProgress) -> None:
        cell.learn(job.trial, job.result.scores if job.result else None)
        for entry in cell.entries(job.trial):
            self.optuna_log.finished(cell, entry, job.trial.run_id, job.result)

    def _other_code(self, trial: Trial) -> str:
        """A warning, once per file, if a kept run was made with another version of the method's file."""
        name = trial.method.name
        if trial.plugin:  # a hash of a plugin's file is part of the run's name
            return ""
        if name not in self._method_files:
            self._method_files[name] = method_file(METHODS[name])
        if self._method_files[name].name in self._warned:
            return ""
        try:
            made_with = self.records.run(trial.run_id).environment().method_file
        except (DamagedRecord, OSError) as error:
            return str(error)
        if made_with == self._method_files[name]:
            return ""
        self._warned.add(made_with.name)
        return (
            f"made with another version of {made_with.name}; to run it again, move the results folder away "
            "and sweep with --no-adopt"
        )


def _introduce(cell: CellProgress, cells: Sequence[CellProgress]) -> None:
    """Make a cell and those of the same method on other tasks known to each other, in the plan's order."""
    for other in cells:
        if other.cell.method_label == cell.cell.method_label:
            cell.others.append(other)
            other.others.append(cell)


def prepare_folder(plan: Plan, folder: Path, data_records: Mapping[str, DataRecord]) -> list[str]:
    """Write down, before anything runs, the plan and the data sets that it is measured on.

    Returns notes about damaged files that were set aside, and about the plan that was there. Raises UserError
    if finished runs would not be part of this plan, or if a data set has changed since they were made.
    """
    make_folder(folder)
    clear_torn(folder)
    for name in ("runs", "cells", "data"):
        make_part(folder / name)
        clear_torn(folder / name)
    records, notes, edited = ExperimentFolder(folder), [], set[str]()
    try:
        before = records.plan()
        notes.append(require_same_work(records, before, plan.record))
        notes.append(forget_edited_plugins(records, before, plan.record))
        edited = edited_data(before, plan.record)
    except FileNotFoundError:
        pass
    except OtherFormat as error:
        raise UserError(str(error)) from None
    except DamagedRecord as error:
        set_aside(records.plan_path)
        notes.append(f"{error}; set aside, and written again")
    for label, record in data_records.items():
        if label not in edited:
            _check_same_data(records, label, record, notes)
    for label, record in data_records.items():
        write_json(records.data_path(label), encode(record))
    write_json(records.plan_path, encode(plan.record))
    return [note for note in notes if note]


def _check_same_data(records: ExperimentFolder, label: str, record: DataRecord, notes: list[str]) -> None:
    """A run_id names the data set that was asked for; its images must not have changed since."""
    path = records.data_path(label)
    try:
        before = records.data(label)
    except FileNotFoundError:
        return
    except DamagedRecord as error:
        set_aside(path)
        notes.append(f"{error}; set aside, and written again")
        return
    if not same_images(before, record):
        raise UserError(changed_images(path))

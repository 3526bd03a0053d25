"""The coordinator: walks every cell from its tuning trials to its final runs, over a pool of workers.

It decides nothing that the plan has not fixed, so it may be killed and started again at any instant: what is
finished is skipped, what is unfinished goes on from its checkpoint, what is drawn is not drawn again.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from optimizers import METHODS
from suite.experiment.plan import Plan
from suite.experiment.trial import Trial
from suite.machine.environment import method_file
from suite.machine.errors import UserError
from suite.machine.preemption import Preempted, requested
from suite.records.files import DamagedRecord, clear_torn, make_folder, read_json, set_aside, write_json
from suite.records.run import RunFolder
from suite.sweep.cell import CellProgress, Scores
from suite.sweep.pool import Pool
from suite.sweep.worker import Report, disk_trouble

ATTEMPTS = 3  # of a run that the machine fails, before it counts as failed
POLL = 0.5  # seconds between looks at a run that another process has, and at whether one is told to stop
GRACE = 20.0  # seconds for the workers to save: schedulers kill after 30 or more, and the end takes a few


class Busy(UserError):
    """Another sweep works in this folder."""


class DiskFailed(UserError):
    """Nothing more can be written where the results are."""


@dataclass
class Run:
    """One run, whoever asks for it: cells may share one, and a cell may ask twice."""

    trial: Trial
    askers: list[CellProgress]
    lost: int = 0  # attempts
    said_busy: bool = False
    settled: bool = False
    scores: Scores | None = None  # once settled; None for a failure


@dataclass
class Sweep:
    """One walk over a plan. `on_report` sees every report of a run, `on_note` what else is to be said."""

    plan: Plan
    folder: Path
    pool: Pool
    tuning_only: bool = False
    on_report: Callable[[Report, Trial], None] = lambda report, trial: None
    on_note: Callable[[str], None] = lambda text: None
    _runs: dict[str, Run] = field(default_factory=dict)
    _queue: deque[Run] = field(default_factory=deque)
    _given: set[str] = field(default_factory=set)  # what the pool has
    _later: list[tuple[float, Run]] = field(default_factory=list)
    _files: dict[str, dict[str, str]] = field(default_factory=dict)
    _warned: set[str] = field(default_factory=set)

    def run(self) -> bool:
        """Run what is not finished; True if every planned run now has a result.

        DiskFailed at the first sign that results cannot be written any more. Preempted if this process was
        asked to stop: the workers have saved what they were at, or had GRACE for it.
        """
        try:
            return self._walk()
        except OSError as error:
            if told := disk_trouble(error, self.folder):
                raise DiskFailed(told) from error
            raise

    def _walk(self) -> bool:
        make_folder(self.folder / "cells")
        unopened = deque(self.plan.cells)
        cells: list[CellProgress] = []
        while unopened or self._queue or self._later or self._given:
            if requested():
                self._stop()
            if unopened:  # one at a time, while the pool works
                cell = CellProgress(self.plan, unopened.popleft(), self.folder, tuning_only=self.tuning_only)
                cells.append(cell)
                self._collect(cell)
            self._give_out()
            reports = self.pool.listen(self._patience() if not unopened else 0.0)
            self._give_out()  # the next trials first: nobody waits for the bookkeeping
            for report in reports:
                self._take(report)
        return all(cell.complete() for cell in cells)

    def _stop(self) -> NoReturn:
        """Let the workers save, and keep what one finishes in that moment."""
        for report in self.pool.stop(GRACE):
            if report.kind != "lost":  # a machine that is taken back may kill a worker: not the run's fault
                self._take(report)
        raise Preempted

    def _patience(self) -> float:
        """How long there is nothing to do unless the pool says something, in seconds."""
        return POLL if self._later or self._given or self._queue else 0.0

    def _give_out(self) -> None:
        now = time.monotonic()
        if self._later:
            self._queue.extend(run for due, run in self._later if due <= now)
            self._later = [(due, run) for due, run in self._later if due > now]
        while self._queue and self.pool.free:
            run = self._queue.popleft()
            self.pool.submit(self.folder / "runs" / run.trial.run_id, run.trial)
            self._given.add(run.trial.run_id)

    def _collect(self, cell: CellProgress) -> None:
        """Queue what this cell can run now; what is already finished may make more of it ready."""
        while trials := cell.ready():
            for trial in trials:
                self._ask(trial, cell)
        cell.write_ledger()
        while cell.notes:
            self.on_note(cell.notes.pop(0))

    def _ask(self, trial: Trial, cell: CellProgress) -> None:
        run = self._runs.get(trial.run_id)
        if run is None:
            run = self._runs[trial.run_id] = Run(trial, [cell])
            if result := self._finished_before(trial):
                run.settled, run.scores = True, result["scores"]
            else:
                self._queue.append(run)
                return
        elif not run.settled:
            run.askers.append(cell)
            return
        self._tell(run, cell)

    def _finished_before(self, trial: Trial) -> dict[str, Any] | None:
        run = RunFolder(self.folder / "runs" / trial.run_id)
        try:
            result = run.whole()
        except DamagedRecord:
            return None  # the worker sets it aside, says so, and repeats the run
        if result:
            run.clear_leftovers()
        return result

    def _take(self, report: Report) -> None:
        """Act on what is said of a run."""
        run = self._runs[report.run_id]
        if report.kind == "epoch":
            self.on_report(report, run.trial)
            return
        self._given.discard(report.run_id)
        if report.kind == "disk":
            raise DiskFailed(report.text)
        if report.kind == "busy":
            self._wait_for(run)
        elif report.kind == "lost":
            self._again(run, report)
        elif report.kind == "preempted":
            self.on_report(report, run.trial)
            self._queue.appendleft(run)
        else:
            self._settle(run, report)

    def _wait_for(self, run: Run) -> None:
        if not run.said_busy:
            run.said_busy = True
            said = Report("busy", run.trial.run_id, "another process has this run; waiting for it")
            self.on_report(said, run.trial)
        self._later.append((time.monotonic() + POLL, run))

    def _again(self, run: Run, report: Report) -> None:
        """The machine failed a run, which is not to blame until that has happened several times."""
        run.lost += 1
        if run.lost < ATTEMPTS:
            self.on_report(report._replace(text=f"{report.text}; it is run again"), run.trial)
            self._queue.appendleft(run)
            return
        reason = f"{report.text}, {ATTEMPTS} times"
        folder = RunFolder(self.folder / "runs" / run.trial.run_id)
        folder.fail(report.fault, reason, report.where, report.traceback)
        self._settle(run, report._replace(kind="failed", text=reason))

    def _settle(self, run: Run, report: Report) -> None:
        """A run has its result, or has failed: tell the cells, and queue what it makes possible."""
        run.settled, run.scores = True, report.result["scores"] if report.result else None
        self.on_report(report, run.trial)
        first, *others = run.askers
        first.learn(run.trial, run.scores)
        for cell in others:
            self._tell(run, cell)
        for cell in dict.fromkeys(run.askers):
            self._collect(cell)

    def _tell(self, run: Run, cell: CellProgress) -> None:
        """Tell a cell of a run that it did not have to wait for."""
        cell.learn(run.trial, run.scores)
        kind, text = ("kept", self._other_code(run.trial)) if run.scores else ("failed", "")
        self.on_report(Report(kind, run.trial.run_id, text), run.trial)

    def _other_code(self, trial: Trial) -> str:
        """A warning, once per method, if a kept run was made with another version of the method's file."""
        if trial.method in self._warned:
            return ""
        if trial.method not in self._files:
            self._files[trial.method] = method_file(METHODS[trial.method])
        now = self._files[trial.method]
        try:
            made_with = RunFolder(self.folder / "runs" / trial.run_id).environment().get("method_file", now)
        except (DamagedRecord, OSError) as error:
            return str(error)
        if made_with == now:
            return ""
        self._warned.add(trial.method)
        return f"made with another version of {now['name']}; to run it anew, move the results folder away"


def prepare_folder(plan: Plan, folder: Path, data_records: dict[str, dict[str, Any]]) -> list[str]:
    """Write down, before anything runs, what is promised and what it is measured on.

    Returns what was found damaged and set aside.
    """
    for name in ("", "runs", "cells", "data", "studies"):
        make_folder(folder / name)
        clear_torn(folder / name)
    notes: list[str] = []
    for label, record in data_records.items():
        _check_same_data(folder / "data" / f"{label}.json", record, notes)
    _read_before(folder / "plan.json", notes)
    for label, record in data_records.items():
        write_json(folder / "data" / f"{label}.json", record)
    write_json(folder / "plan.json", plan.as_dict())
    return notes


def _read_before(path: Path, notes: list[str]) -> dict[str, Any] | None:
    """What an earlier sweep wrote; None if there is nothing, or if it is damaged and is set aside."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return None
    except DamagedRecord as error:
        set_aside(path)
        notes.append(f"{error}; set aside, and written anew")
        return None


def _check_same_data(path: Path, record: dict[str, Any], notes: list[str]) -> None:
    """A run_id says which data set was asked for; what it held must not have changed since."""
    before = _read_before(path, notes)
    if before and before["options"] == record["options"] and before["sha256"] != record["sha256"]:
        raise UserError(
            f"{path}: the images of this data set have changed since the runs of this folder were made; "
            "move the folder away, or give the experiment another name"
        )

"""The coordinator: walks every cell from its tuning trials to its final runs, over worker processes.

It decides nothing that the plan has not fixed, so it may be killed and started again at any instant: what is
finished is skipped, what is unfinished goes on from its checkpoint, what is drawn is not drawn again.
"""

import multiprocessing
import os
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from optimizers import METHODS
from suite.environment import method_file
from suite.errors import UserError
from suite.ledger import CellProgress
from suite.plan import Plan
from suite.records import DamagedRecord, RunFolder, read_json, write_json
from suite.trial import Trial
from suite.worker import Report, work

ATTEMPTS = 3  # of a run whose worker dies, before it counts as failed
POLL = 0.5  # seconds between looks at a run that another process has


class Busy(UserError):
    """Another sweep works in this folder."""


@dataclass(frozen=True)
class Machine:
    """Where trials run: one entry per worker process, the device it uses."""

    devices: tuple[str, ...]
    threads: int = 1
    checkpoint_every: float = 60.0


@dataclass
class Worker:
    """A worker process, the pipe to it, and what it is doing."""

    process: ForkServerProcess
    pipe: Connection
    device: str
    trial: Trial | None = None


@dataclass
class Sweep:
    """One walk over a plan. `on_report` sees every report of a worker, for progress."""

    plan: Plan
    folder: Path
    machine: Machine
    tuning_only: bool = False
    on_report: Callable[[Report, Trial], None] = lambda report, trial: None
    _queue: deque[Trial] = field(default_factory=deque)
    _deaths: dict[str, int] = field(default_factory=dict)
    _later: list[tuple[float, Trial]] = field(default_factory=list)
    _warned: set[str] = field(default_factory=set)

    def run(self) -> bool:
        """Run what is not finished; True if every planned run now has a result."""
        self.cells = [
            CellProgress(self.plan, cell, self.folder, tuning_only=self.tuning_only)
            for cell in self.plan.cells
        ]
        (self.folder / "cells").mkdir(exist_ok=True)
        self._collect(self.cells)
        self.workers: list[Worker] = []
        try:
            while self._queue or self._later or any(worker.trial for worker in self.workers):
                self._give_out()
                self._listen()
        finally:
            for worker in self.workers:
                worker.process.terminate()
            for worker in self.workers:
                worker.process.join()
        return all(cell.complete() for cell in self.cells)

    def _collect(self, cells: Iterable[CellProgress]) -> None:
        """Queue what these cells can run now; what is already finished may make more of it ready."""
        for cell in cells:
            while trials := cell.ready():
                for trial in trials:
                    if not self._already_finished(trial):
                        self._queue.append(trial)
            cell.write_ledger()

    def _already_finished(self, trial: Trial) -> bool:
        try:
            result = RunFolder(self.folder / "runs" / trial.run_id).result()
        except DamagedRecord:
            return False  # the worker sets it aside, says so, and repeats the run
        if result is None:
            return False
        for cell in self._cells_of(trial):
            cell.outcome[trial.run_id] = result
        self.on_report(Report("kept", trial.run_id, self._other_code(trial)), trial)
        return True

    def _other_code(self, trial: Trial) -> str:
        """A warning, once per method, if a kept run was made with another version of the method's file."""
        now = method_file(METHODS[trial.method])
        made_with = RunFolder(self.folder / "runs" / trial.run_id).environment().get("method_file", now)
        if made_with == now or trial.method in self._warned:
            return ""
        self._warned.add(trial.method)
        return f"made with another version of {now['name']}; to run it anew, move the results folder away"

    def _cells_of(self, trial: Trial) -> list[CellProgress]:
        return [cell for cell in self.cells if trial.run_id in cell.asked]

    def _finished(self, trial: Trial, result: dict[str, Any] | None) -> None:
        """Take in the outcome of a run, None for a failure, and queue what it makes possible."""
        cells = self._cells_of(trial)
        for cell in cells:
            cell.outcome[trial.run_id] = result
        self._collect(cells)

    def _give_out(self) -> None:
        """Give each idle worker a trial, starting workers as long as there is work for them."""
        now = time.monotonic()
        self._queue.extend(trial for due, trial in self._later if due <= now)
        self._later = [(due, trial) for due, trial in self._later if due > now]
        idle = deque(worker for worker in self.workers if worker.trial is None)
        while self._queue:
            if not idle and len(self.workers) == len(self.machine.devices):
                return
            worker = idle.popleft() if idle else self._start()
            trial = self._queue.popleft()
            if any(other.trial and other.trial.run_id == trial.run_id for other in self.workers):
                self._later.append((now + POLL, trial))  # two cells may share a run
                idle.append(worker)
                continue
            try:
                worker.pipe.send((self.folder / "runs" / trial.run_id, trial))
                worker.trial = trial
            except OSError:  # it died idle
                self._queue.appendleft(trial)
                self._bury(worker)

    def _start(self) -> Worker:
        used = [worker.device for worker in self.workers]
        device = min(self.machine.devices, key=used.count)
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["suite.worker"])  # torch is imported once, not by every worker
        here, there = context.Pipe()
        process = context.Process(
            target=work,
            args=(there, device, self.machine.threads, self.plan.plugins, self.machine.checkpoint_every),
        )
        process.start()
        there.close()
        self.workers.append(Worker(process, here, device))
        return self.workers[-1]

    def _listen(self) -> None:
        """Wait for a worker to say something, or to die."""
        speaking = {worker.pipe: worker for worker in self.workers if worker.trial}
        for pipe in wait(list(speaking), timeout=POLL if self._later else None):
            worker = speaking[pipe]  # type: ignore[index]
            try:
                report = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            self._take(worker, report)

    def _take(self, worker: Worker, report: Report) -> None:
        trial = worker.trial
        assert trial is not None
        if report.kind == "epoch":
            self.on_report(report, trial)
            return
        worker.trial = None
        if report.kind == "lost":
            self._again(trial, report.text)
            return
        self.on_report(report, trial)
        if report.kind == "busy":
            self._later.append((time.monotonic() + POLL, trial))
            return
        done = report.kind == "done"
        self._finished(trial, RunFolder(self.folder / "runs" / trial.run_id).result() if done else None)

    def _lost(self, worker: Worker) -> None:
        """A worker died in mid-trial."""
        trial = worker.trial
        assert trial is not None
        code = self._bury(worker)
        hint = ", as when memory runs out" if code == -9 else ""
        self._again(trial, f"its worker died (exit code {code}{hint})")

    def _again(self, trial: Trial, reason: str) -> None:
        """The machine failed a trial, which is not to blame until that has happened several times."""
        self._deaths[trial.run_id] = self._deaths.get(trial.run_id, 0) + 1
        if self._deaths[trial.run_id] < ATTEMPTS:
            self.on_report(Report("lost", trial.run_id, f"{reason}; it is run again"), trial)
            self._queue.appendleft(trial)
            return
        reason = f"{reason}, {ATTEMPTS} times"
        RunFolder(self.folder / "runs" / trial.run_id).fail(reason, "")
        self.on_report(Report("failed", trial.run_id, reason), trial)
        self._finished(trial, None)

    def _bury(self, worker: Worker) -> int | None:
        worker.process.join()
        worker.pipe.close()
        self.workers.remove(worker)
        return worker.process.exitcode


def prepare_folder(plan: Plan, folder: Path, data_records: dict[str, dict[str, Any]]) -> None:
    """Write down, before anything runs, what is promised and what it is measured on."""
    for name in ("runs", "cells", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for label, record in data_records.items():
        _check_same_data(folder / "data" / f"{label}.json", record)
    for label, record in data_records.items():
        write_json(folder / "data" / f"{label}.json", record)
    write_json(folder / "plan.json", plan.as_dict())


def _check_same_data(path: Path, record: dict[str, Any]) -> None:
    """A run_id says which data set was asked for; what it held must not have changed since."""
    try:
        before = read_json(path)
    except (FileNotFoundError, DamagedRecord):
        return
    if before["options"] == record["options"] and before["sha256"] != record["sha256"]:
        raise UserError(
            f"{path}: the images of this data set have changed since the runs of this folder were made; "
            "move the folder away, or give the experiment another name"
        )


def default_devices(device: str, workers: int | None) -> tuple[str, ...]:
    """One worker per core, or per GPU; more than one share a GPU when `workers` says so."""
    if device == "cuda":
        import torch

        names = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    else:
        names = [device] * (_cores() if device == "cpu" else 1)
    count = workers or len(names)
    return tuple(names[n % len(names)] for n in range(count))


def _cores() -> int:
    """The cores that this process may use, where the system can tell; else all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Where trials run: worker processes on this machine."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

import torch

from suite.data import AnyImages, Splits, load_test
from suite.data.held import Loan
from suite.experiment.trial import Trial
from suite.machine.environment import cores
from suite.machine.errors import UserError
from suite.machine.forkserver import fork_context
from suite.records.files import canonical
from suite.sweep.worker import Report, work


class Pool(Protocol):
    """A number of slots, each of which runs one trial after another."""

    @property
    def free(self) -> int:
        """How many trials it would start at once."""
        ...

    def submit(self, folder: Path, trial: Trial) -> None:
        """Run a trial into its folder; only while a slot is free."""
        ...

    def listen(self, timeout: float) -> list[Report]:
        """What the trials say, the last report of each apart from `epoch`; waits until there is something.

        After `timeout` seconds, or when a slot has become free otherwise, the list may be empty.
        """
        ...

    def stop(self, seconds: float) -> list[Report]:
        """Ask all trials to save and stop; what they say until all have, or for so many seconds."""
        ...

    def lend(self, data: Mapping[str, object], splits: Splits) -> str:
        """Offer the images of a trial's `data` to the workers; what went wrong if they cannot share them."""
        ...

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        ...


@dataclass(frozen=True)
class Machine:
    """One entry per worker process, the device it uses."""

    devices: tuple[str, ...]
    threads: int = 1
    checkpoint_every: float = 60.0


@dataclass
class Worker:
    """A worker process, the pipe to it, what it is doing, and which images it has."""

    process: ForkServerProcess
    pipe: Connection
    device: str
    trial: Trial | None = None
    borrowed: set[tuple[str, str]] = field(default_factory=set)


class LocalPool:
    """Worker processes, started when they are first needed. What is lost with one is its trial.

    `plugins` are files with methods of the user's own.
    """

    def __init__(self, machine: Machine, plugins: Sequence[str] = ()) -> None:
        self.machine, self.plugins, self.shelf = machine, plugins, Shelf()
        self.workers: list[Worker] = []
        self._context = fork_context()

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        return f"{len(self.machine.devices)} workers on {', '.join(dict.fromkeys(self.machine.devices))}"

    @property
    def free(self) -> int:
        return len(self.machine.devices) - sum(worker.trial is not None for worker in self.workers)

    def lend(self, data: Mapping[str, object], splits: Splits) -> str:
        return self.shelf.put(data, splits)

    def submit(self, folder: Path, trial: Trial) -> None:
        while True:
            worker = next((worker for worker in self.workers if worker.trial is None), None) or self._start()
            try:
                worker.pipe.send((folder, trial, self.shelf.loan(trial, worker.borrowed)))
            except OSError:  # it died idle
                self._bury(worker)
                continue
            worker.trial = trial
            return

    def listen(self, timeout: float) -> list[Report]:
        speaking = {worker.pipe: worker for worker in self.workers}
        reports: list[Report] = []
        for pipe in wait(list(speaking), timeout):
            worker = speaking[pipe]  # type: ignore[index]
            try:
                reports.append(self._heard(worker, worker.pipe.recv()))
            except (EOFError, OSError):
                reports += self._lost(worker)
        return reports

    def stop(self, seconds: float) -> list[Report]:
        deadline = time.monotonic() + seconds
        for worker in self.workers:
            worker.process.terminate()
        reports: list[Report] = []
        while any(worker.trial for worker in self.workers) and (left := deadline - time.monotonic()) > 0:
            reports += self.listen(left)
        return reports

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in list(self.workers):
            self._bury(worker)

    def _start(self) -> Worker:
        used = [worker.device for worker in self.workers]
        device = min(self.machine.devices, key=used.count)
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=work,
            args=(there, device, self.machine.threads, self.plugins, self.machine.checkpoint_every),
        )
        process.start()
        there.close()
        self.workers.append(Worker(process, here, device))
        return self.workers[-1]

    def _heard(self, worker: Worker, report: Report) -> Report:
        if report.kind != "epoch":
            worker.trial = None
        # After a failure its GPU context may be broken; one that was told to stop would stop its next trial.
        broken = report.kind in ("failed", "lost") and worker.device != "cpu"
        if broken or report.kind == "preempted":
            worker.process.kill()
            self._bury(worker)
        return report

    def _lost(self, worker: Worker) -> list[Report]:
        """A worker died: of one that had a trial, say so."""
        code = self._bury(worker)
        if worker.trial is None:
            return []
        hint = ", as when memory runs out" if code == -9 else ""
        text = f"its worker died (exit code {code}{hint})"
        return [Report("lost", worker.trial.run_id, text, fault="worker died")]

    def _bury(self, worker: Worker) -> int | None:
        worker.process.join(timeout=5)  # it has closed its pipe, or was killed
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.workers.remove(worker)
        return worker.process.exitcode


class Shelf:
    """The images of an experiment in shared memory, lent to workers. The system frees it after the last one.

    The test part is read when the first final run needs it, and lent with final runs only.
    """

    def __init__(self) -> None:
        self._splits: dict[str, Splits] = {}
        self._tests: dict[str, AnyImages | None] = {}

    def put(self, data: Mapping[str, object], splits: Splits) -> str:
        """Share the images of a trial's `data`; what went wrong if that cannot be, else nothing."""
        try:
            splits.train.share()
            splits.val.share()
        except RuntimeError as error:
            return str(error).splitlines()[0]
        self._splits[canonical(data)] = splits
        return ""

    def loan(self, trial: Trial, borrowed: set[tuple[str, str]]) -> Loan:
        """What the trial needs and the borrower has not yet; remembers it in `borrowed`."""
        data = canonical(trial.data)
        loan = Loan(data)
        if data not in self._splits:
            return loan
        if ("tune", data) not in borrowed:
            loan = loan._replace(splits=self._splits[data])
        if trial.stage == "final" and ("final", data) not in borrowed:
            loan = loan._replace(test=self._test(trial, data))
        borrowed |= {("tune", data), (trial.stage, data)}
        return loan

    def _test(self, trial: Trial, data: str) -> AnyImages | None:
        if data not in self._tests:
            options = dict(trial.data)
            try:
                test = load_test(options.pop("name"), options)
                test.share()
            except (UserError, OSError, RuntimeError):
                test = None  # the worker will read it for itself, and say what is wrong
            self._tests[data] = test
        return self._tests[data]


def default_devices(device: str, workers: int | None) -> tuple[str, ...]:
    """One worker per core, or per GPU; more than one share a GPU when `workers` says so."""
    if device == "cuda":
        names = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    else:
        names = [device] * (cores() if device == "cpu" else 1)
    count = workers or len(names)
    return tuple(names[n % len(names)] for n in range(count))

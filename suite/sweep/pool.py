"""A pool of worker processes on this machine."""

import os
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Protocol

import torch

from suite.data import Splits, load_test
from suite.data.held import ReadTest, Shelf
from suite.machine.environment import choose_device, cores
from suite.machine.forkserver import fork_context
from suite.machine.words import count
from suite.records.schema import Failure
from suite.records.trial import Choice, Trial
from suite.sweep.messages import EpochDone, Failed, Lost, Message, Preempted
from suite.sweep.worker import Files, files_of, work


class Pool(Protocol):
    """A number of slots, each of which runs one trial after another."""

    @property
    def free(self) -> int:
        """How many trials it would start at once."""
        ...

    def submit(self, folder: Path, trial: Trial) -> None:
        """Run a trial into its folder; only while a slot is free."""
        ...

    def listen(self, timeout: float) -> list[Message]:
        """The messages of the trials; waits until there is one.

        After `timeout` seconds, or when a slot has become free in another way, the list may be empty.
        """
        ...

    def stop(self, seconds: float) -> list[Message]:
        """Ask all trials to save and stop; their messages until all have, at most for so many seconds."""
        ...

    def lend(self, data: Choice, splits: Splits, read_test: ReadTest = ...) -> str:
        """Offer the images of a data set to the workers. Returns why they cannot be shared, or nothing.

        read_test: reads the test part, when a final run needs it.
        """
        ...

    def close(self) -> None:
        """End all workers at once."""
        ...


@dataclass(frozen=True)
class Machine:
    """How the worker processes of this machine work: one for each entry of `devices`, the device it uses.

    keep_weights: whether final runs keep their networks.
    """

    devices: tuple[str, ...]
    threads: int = 1
    checkpoint_every: float = 60.0
    keep_weights: bool = False


@dataclass
class Worker:
    """A worker process, the pipe to it, the plugins that it has imported, and the trial that it trains."""

    process: ForkServerProcess
    pipe: Connection
    device: str
    files: Files = field(default_factory=dict)
    trial: Trial | None = None


class LocalPool:
    """Worker processes, started when they are first needed. Losing one loses its trial.

    `plugins` are the files from outside the catalogue, by the hash in their trials. A worker that has
    imported some trains only trials of just these from then on: their code may change what others compute.
    """

    def __init__(self, machine: Machine, plugins: Files | None = None) -> None:
        self.machine, self.plugins, self.shelf = machine, plugins or {}, Shelf()
        self.workers: list[Worker] = []
        self._context = fork_context()

    def __enter__(self) -> "LocalPool":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __str__(self) -> str:
        devices = self.machine.devices
        return f"{count(len(devices), 'worker')} on {', '.join(dict.fromkeys(devices))}"

    @property
    def free(self) -> int:
        return len(self.machine.devices) - sum(worker.trial is not None for worker in self.workers)

    def lend(self, data: Choice, splits: Splits, read_test: ReadTest = load_test) -> str:
        return self.shelf.put(data, splits, read_test)

    def submit(self, folder: Path, trial: Trial) -> None:
        files = files_of(trial, self.plugins)
        while True:
            worker = self._worker_for(files)
            try:
                worker.pipe.send((folder, trial, files, self.shelf.loan(trial.data, trial.stage)))
            except OSError:  # it died idle
                self._bury(worker)
                continue
            worker.files, worker.trial = files, trial
            return

    def _worker_for(self, files: Files) -> Worker:
        """An idle worker that has imported just these or nothing; else a new one, in another's place."""
        idle = [worker for worker in self.workers if worker.trial is None]
        for known in (files, {}):
            for worker in idle:
                if worker.files == known:
                    return worker
        if len(self.workers) == len(self.machine.devices):
            idle[0].process.kill()
            self._bury(idle[0])
        return self._start()

    def listen(self, timeout: float) -> list[Message]:
        pipes = {worker.pipe: worker for worker in self.workers}
        messages: list[Message] = []
        for pipe in wait(list(pipes), timeout):
            worker = pipes[pipe]  # type: ignore[index]
            try:
                messages.append(self._receive(worker))
            except (EOFError, OSError):
                messages += self._lost(worker)
        return messages

    def stop(self, seconds: float) -> list[Message]:
        deadline = time.monotonic() + seconds
        for worker in self.workers:
            worker.process.terminate()
        messages: list[Message] = []
        while any(worker.trial for worker in self.workers) and (left := deadline - time.monotonic()) > 0:
            messages += self.listen(left)
        return messages

    def close(self) -> None:
        for worker in self.workers:
            worker.process.kill()
        for worker in list(self.workers):
            self._bury(worker)

    def _start(self) -> Worker:
        used = [worker.device for worker in self.workers]
        device, machine = min(self.machine.devices, key=used.count), self.machine
        here, there = self._context.Pipe()
        process = self._context.Process(
            target=work,
            args=(
                there,
                device,
                machine.threads,
                machine.checkpoint_every,
                machine.keep_weights,
                dict(os.environ),
            ),
        )
        try:
            process.start()
        except (
            EOFError,
            ConnectionError,
        ):  # what workers are forked from was ended meanwhile: start it again
            process.start()
        there.close()
        self.workers.append(Worker(process, here, device))
        return self.workers[-1]

    def _receive(self, worker: Worker) -> Message:
        message: Message = worker.pipe.recv()
        if not isinstance(message, EpochDone):
            worker.trial = None
        # After a failure its GPU context may be broken; one that was asked to stop would stop its next trial.
        broken = isinstance(message, Failed | Lost) and worker.device != "cpu"
        if broken or isinstance(message, Preempted):
            worker.process.kill()
            self._bury(worker)
        return message

    def _lost(self, worker: Worker) -> list[Message]:
        """A worker died: a message about its trial, if it had one."""
        code = self._bury(worker)
        if worker.trial is None:
            return []
        hint = ", as when memory runs out" if code == -9 else ""
        failure = Failure(kind="worker died", error=f"its worker died (exit code {code}{hint})")
        return [Lost(worker.trial.run_id, failure)]

    def _bury(self, worker: Worker) -> int | None:
        worker.process.join(timeout=5)  # it has closed its pipe or was killed
        worker.process.kill()
        worker.process.join()
        worker.pipe.close()
        self.workers.remove(worker)
        return worker.process.exitcode


def devices_of(device: str, workers: int | None, runs: int) -> tuple[str, ...]:
    """The device of each worker that `--device` and `--workers` ask for; no more workers than runs.

    UserError if there is no such device.
    """
    chosen = choose_device(device)
    alone = ":" in device  # this GPU and no other
    devices = (str(chosen),) * (workers or 1) if alone else default_devices(chosen.type, workers)
    return devices[:runs]


def default_devices(device: str, workers: int | None) -> tuple[str, ...]:
    """One worker per core or per GPU; if there are more `workers` than GPUs, they share them."""
    if device == "cuda":
        names = [f"cuda:{n}" for n in range(torch.cuda.device_count())]
    else:
        names = [device] * (cores() if device == "cpu" else 1)
    count = workers or len(names)
    return tuple(names[n % len(names)] for n in range(count))

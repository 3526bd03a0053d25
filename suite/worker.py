"""A worker process: warm, trains one trial after another. Losing it loses one trial."""

import os
import signal
import threading
import traceback
from collections.abc import Sequence
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

import torch

from optimizers import load_plugin
from suite.environment import use_device
from suite.records import DamagedRecord, RunFolder, owned
from suite.train import train
from suite.trial import Trial


class Report(NamedTuple):
    """What a worker says about its run: `epoch`, and last one of `done`, `failed`, `lost`, `busy`.

    `failed` is the run's own fault, `lost` the machine's: no memory, no disk.
    """

    kind: str
    run_id: str
    text: str = ""


def work(
    pipe: Connection, device: str, threads: int, plugins: Sequence[str], checkpoint_every: float
) -> None:
    """Train the (folder, trial) pairs that come through the pipe until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    for plugin in plugins:
        load_plugin(Path(plugin))
    use_device(torch.device(device), threads)
    while True:
        try:
            folder, trial = pipe.recv()
        except EOFError:
            return
        report = run_once(folder, trial, torch.device(device), checkpoint_every, pipe)
        pipe.send(report)
        if report.kind in ("failed", "lost") and device != "cpu":
            return  # what went wrong may have broken the process' GPU context: the next trial gets a new one


def _end_with_parent() -> None:
    """A coordinator that was killed must not leave workers behind that write where its successor works."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def run_once(
    folder: Path, trial: Trial, device: torch.device, checkpoint_every: float, pipe: Connection
) -> Report:
    """Train one trial unless it is finished or taken; whatever goes wrong becomes a report."""
    run = RunFolder(folder)
    with owned(folder) as mine:
        if not mine:
            return Report("busy", trial.run_id)
        try:
            note = ""
            try:
                finished = run.result() is not None
            except DamagedRecord as error:
                run.set_aside_damaged_result()
                finished, note = False, f"{error}; set aside, the run is repeated"
            if not finished:
                train(
                    trial,
                    run,
                    device,
                    checkpoint_every,
                    on_epoch=lambda line: pipe.send(Report("epoch", trial.run_id, str(line["epoch"]))),
                )
            damaged = sorted(path.name for path in folder.glob("checkpoint*.damaged"))
            if damaged and not note:
                note = f"damaged and set aside: {', '.join(damaged)}"
            return Report("done", trial.run_id, note)
        except (OSError, MemoryError, torch.OutOfMemoryError) as error:
            return Report("lost", trial.run_id, f"{type(error).__name__}: {error}")
        except Exception as error:  # a method is a user's code: one bad cell never stops a sweep
            reason = f"{type(error).__name__}: {error}"
            try:
                run.fail(reason, traceback.format_exc())
            except OSError as unwritable:
                reason += f" (and {unwritable})"
            return Report("failed", trial.run_id, reason)

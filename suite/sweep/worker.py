"""A worker: warm, trains one trial after another, reports how each ended. Losing it loses one trial."""

import errno
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path

import torch

from optimizers import load_plugin
from suite.data import DecoderDied
from suite.data.held import borrow
from suite.machine.environment import use_device
from suite.machine.preemption import StopRequested, heed_sigterm
from suite.records.files import DamagedRecord, WriteError, set_aside
from suite.records.run import RunFolder
from suite.records.schema import Failure, FailureKind, Result
from suite.records.trial import Trial
from suite.sweep.messages import Busy, DiskFull, Done, EpochDone, Failed, Lost, Message, Preempted
from suite.training.loop import train
from suite.training.progress import Progress

Send = Callable[[Message], None]


def work(
    pipe: Connection, device: str, threads: int, plugins: Sequence[str], checkpoint_every: float
) -> None:
    """Train the (folder, trial, loan of images) that come through the pipe until it is closed."""
    heed_sigterm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    get_ready(device, threads, plugins)
    while True:
        try:
            folder, trial, loan = pipe.recv()
        except EOFError:
            return
        borrow(loan)
        pipe.send(run_once(folder, trial, torch.device(device), checkpoint_every, pipe.send))


def _end_with_parent() -> None:
    """A coordinator that was killed must not leave workers behind that write where its successor works."""
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def get_ready(device: str, threads: int, plugins: Sequence[str]) -> None:
    """Prepare a process for its first trial."""
    for plugin in plugins:
        load_plugin(Path(plugin))
    use_device(torch.device(device), threads)


def run_once(
    folder: Path,
    trial: Trial,
    device: torch.device,
    checkpoint_every: float,
    send: Send = lambda message: None,
) -> Message:
    """Train one trial unless it is finished or taken; every failure becomes a message."""
    run, progress = RunFolder(folder), Progress()
    try:
        with run.owned() as mine:
            if not mine:
                return Busy(trial.run_id)
            result = _finished_before(run, progress) or train(
                trial,
                run,
                device,
                progress=progress,
                checkpoint_every=checkpoint_every,
                on_epoch=lambda line: send(EpochDone(trial.run_id, line.epoch)),
            )
            return Done(trial.run_id, result, "; ".join(progress.notes))
    except StopRequested as stopped:
        return Preempted(trial.run_id, f"{stopped}; it resumes from there later")
    except Exception as error:  # a method is a user's code: one bad cell never stops a sweep
        return _explain(error, run, trial, progress)


def _finished_before(run: RunFolder, progress: Progress) -> Result | None:
    """The result of a run that needs no training, because all files that belong to it are whole."""
    try:
        result = run.whole()
    except DamagedRecord as error:
        for path in (error.path, run.path / "result.json"):  # the mark of a finished run last
            if path.exists():
                set_aside(path)
        progress.notes.append(f"{error}; set aside, the run is repeated")
        return None
    if result:
        run.clear_leftovers()
    return result


def _explain(error: Exception, run: RunFolder, trial: Trial, progress: Progress) -> Message:
    """Whose fault an error is: the run's, which then fails; the machine's; or the disk's."""
    if text := disk_trouble(error, run.path):
        return DiskFull(trial.run_id, text)
    failure = Failure(
        kind=_kind_of(error),
        error=f"{type(error).__name__}: {error}",
        where=f"in step {progress.step + 1}",
        traceback=traceback.format_exc(),
    )
    # A network's file system fails now and then: an OSError may pass.
    if failure.kind != "error" or isinstance(error, OSError):
        return Lost(trial.run_id, failure)
    try:
        run.fail(failure)
    except OSError as unwritable:
        if text := disk_trouble(unwritable, run.path):
            return DiskFull(trial.run_id, text)
    return Failed(trial.run_id, failure)


def _kind_of(error: Exception) -> FailureKind:
    if is_out_of_memory(error):
        return "out of memory"
    return "worker died" if isinstance(error, DecoderDied) else "error"


NO_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG}


def disk_trouble(error: Exception, folder: Path) -> str:
    """A message if the disk of this folder accepts nothing more, from no run at all; else nothing."""
    if not isinstance(error, OSError) or error.errno not in NO_DISK:
        return ""
    if isinstance(error, WriteError):
        return str(error)
    path = folder if error.filename is None else Path(os.fsdecode(error.filename))
    return str(WriteError(path, error)) if path.resolve().is_relative_to(folder.resolve()) else ""


def is_out_of_memory(error: Exception) -> bool:
    """Whether the memory of the machine or of the GPU ran out. Torch has no single type for that."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)

"""A worker: warm, trains one trial after another, says how each ended. Losing it loses one trial."""

import errno
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import torch

from optimizers import load_plugin
from suite.data.held import borrow
from suite.experiment.trial import Trial
from suite.machine.environment import use_device
from suite.machine.preemption import Preempted, heed_sigterm
from suite.records.files import DamagedRecord, cannot_write, owned, set_aside
from suite.records.run import RunFolder
from suite.training.loop import train


class Report(NamedTuple):
    """What is said of a run: `epoch`, and last one of `done`, `failed`, `lost`, `preempted`, `busy`, `disk`.

    `failed` is the run's own fault, `lost` the machine's; a `preempted` one was told to stop and has saved
    its state; after `disk` no run can leave its record.
    `fault`, `where` and `traceback` are what failure.json says of it.
    """

    kind: str
    run_id: str
    text: str = ""
    result: dict[str, Any] | None = None
    fault: str = ""
    where: str = ""
    traceback: str = ""


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
    """What a process does once, before its first trial."""
    for plugin in plugins:
        load_plugin(Path(plugin))
    use_device(torch.device(device), threads)


def run_once(
    folder: Path,
    trial: Trial,
    device: torch.device,
    checkpoint_every: float,
    say: Callable[[Report], None] = lambda report: None,
) -> Report:
    """Train one trial unless it is finished or taken; whatever goes wrong becomes a report."""
    run = RunFolder(folder)
    try:
        with owned(folder) as mine:
            if not mine:
                return Report("busy", trial.run_id)
            return _train(trial, run, device, checkpoint_every, say)
    except Preempted as stopped:
        return Report("preempted", trial.run_id, f"{stopped}; it goes on from there later")
    except Exception as error:  # a method is a user's code: one bad cell never stops a sweep
        return _explain(error, run, trial)


def _train(
    trial: Trial, run: RunFolder, device: torch.device, every: float, say: Callable[[Report], None]
) -> Report:
    result = _finished_before(run)
    if result is None:
        result = train(
            trial,
            run,
            device,
            every,
            on_epoch=lambda line: say(Report("epoch", trial.run_id, str(line["epoch"]))),
        )
    return Report("done", trial.run_id, "; ".join(run.notes), result)


def _finished_before(run: RunFolder) -> dict[str, Any] | None:
    """The result of a run that needs no training: all that it vouches for is whole."""
    try:
        result = run.whole()
    except DamagedRecord as error:
        for path in (error.path, run.path / "result.json"):  # the mark of a finished run last
            if path.exists():
                set_aside(path)
        run.notes.append(f"{error}; set aside, the run is repeated")
        return None
    if result:
        run.clear_leftovers()
    return result


def _explain(error: Exception, run: RunFolder, trial: Trial) -> Report:
    """Whose fault it is: the run's, which then fails; the machine's; or the disk's."""
    reason = f"{type(error).__name__}: {error}"
    if told := disk_trouble(error, run.path):
        return Report("disk", trial.run_id, told)
    where = f"in step {run.step + 1}"
    told = Report("lost", trial.run_id, reason, None, "error", where, traceback.format_exc())
    if is_out_of_memory(error):
        return told._replace(fault="out of memory")
    if isinstance(error, OSError):  # a network's file system has its moods
        return told
    if "DataLoader worker" in reason:  # a decoding process was killed
        return told._replace(fault="worker died")
    try:
        run.fail("error", reason, where, told.traceback)
    except OSError as unwritable:
        if stop := disk_trouble(unwritable, run.path):
            return Report("disk", trial.run_id, stop)
        reason += f" (and {unwritable})"
    return told._replace(kind="failed", text=reason)


NO_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG}


def disk_trouble(error: Exception, folder: Path) -> str:
    """What to tell if the disk of this folder takes nothing more, from no run at all; else nothing."""
    if not isinstance(error, OSError) or error.errno not in NO_DISK:
        return ""
    if "cannot write" in str(error):  # said by `records`
        return str(error)
    path = folder if error.filename is None else Path(os.fsdecode(error.filename))
    return str(cannot_write(path, error)) if path.resolve().is_relative_to(folder.resolve()) else ""


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out, the machine's or the GPU's; torch says so in several ways."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in str(error) for word in words)

"""A worker: warm, trains one trial after another, reports how each ended. Losing it loses one trial."""

import errno
import functools
import os
import signal
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import torch

from suite.data import DecoderDied
from suite.data.held import borrow
from suite.machine.environment import use_device
from suite.machine.errors import UserError, described, traceback_of
from suite.machine.forkserver import end_with_parent
from suite.machine.plugin_file import source_of
from suite.machine.preemption import StopRequested, heed_sigterm
from suite.machine.streams import secure_streams
from suite.plugins import load_plugin
from suite.records.files import DamagedRecord, WriteError, set_aside
from suite.records.run import RunFolder
from suite.records.schema import Failure, FailureKind, Result
from suite.records.trial import Trial
from suite.sweep.messages import Busy, DiskFull, Done, EpochDone, Failed, Lost, Message, Preempted
from suite.training.loop import train
from suite.training.progress import Progress

Send = Callable[[Message], None]
Files = Mapping[str, str]  # hash of its content -> the path of a plugin's file


def work(
    pipe: Connection,
    device: str,
    threads: int,
    checkpoint_every: float,
    keep_weights: bool,
    variables: Mapping[str, str],
) -> None:
    """Train the (folder, trial, files, loan of images) that come through the pipe until it is closed.

    variables: the environment of the process that starts it. What it is forked from may have an older one.
    """
    os.environ.update(variables)
    heed_sigterm()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the coordinator's to handle
    end_with_parent()
    secure_streams(results=False)
    use_device(torch.device(device), threads)

    def send(message: Message) -> None:
        try:
            pipe.send(message)
        except OSError:  # the coordinator was killed: nobody waits for this run
            os._exit(1)

    while True:
        try:
            folder, trial, files, loan = pipe.recv()
        except (EOFError, ConnectionError):
            return
        borrow(loan)
        send(run_once(folder, trial, torch.device(device), checkpoint_every, send, files, keep_weights))


def run_once(
    folder: Path,
    trial: Trial,
    device: torch.device,
    checkpoint_every: float,
    send: Send = lambda message: None,
    files: Files | None = None,
    keep_weights: bool = False,
) -> Message:
    """Train one trial unless it is finished or taken; every failure becomes a message.

    `files` are those of its method, its model and its data set that are not in the catalogue. `keep_weights`
    as in `train`.
    """
    run, progress = RunFolder(folder), Progress()
    try:
        with run.owned() as mine:
            if not mine:
                return Busy(trial.run_id)
            load_files(files or {})
            result = _finished_before(run, progress) or train(
                trial,
                run,
                device,
                progress=progress,
                checkpoint_every=checkpoint_every,
                on_epoch=lambda line: send(EpochDone(trial.run_id, line.epoch)),
                keep_weights=keep_weights,
            )
            return Done(trial.run_id, result, "; ".join(progress.notes))
    except StopRequested as stopped:
        return Preempted(trial.run_id, f"{stopped}; it resumes from there later")
    except BaseException as error:  # a method is a user's code: it may raise anything, also SystemExit
        return _explain(error, run, trial, progress)


def files_of(trial: Trial, plugins: Files) -> Files:
    """The files of plugins that a trial uses, in the order in which they are imported."""
    return {source: plugins[source] for source in trial.sources if source in plugins}


def load_files(files: Files) -> None:
    """Import each of these files once; UserError if one is no longer what the sweep was planned with."""
    for source, plugin in files.items():
        _load(source, plugin)


@functools.cache
def _load(source: str, plugin: str) -> None:
    path = Path(plugin)
    if source_of(path) != source:
        raise UserError(f"{plugin} was changed after this sweep had begun: start it again")
    load_plugin(path)


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


def _explain(error: BaseException, run: RunFolder, trial: Trial, progress: Progress) -> Message:
    """Whose fault an error is: the run's, which then fails; the machine's; or the disk's."""
    if text := disk_trouble(error):
        return DiskFull(trial.run_id, text)
    failure = Failure(
        kind=_kind_of(error),
        error=described(error),
        where=progress.place,
        traceback=traceback_of(error),
    )
    # A network's file system fails now and then: an OSError may pass.
    if failure.kind != "error" or isinstance(error, OSError):
        return Lost(trial.run_id, failure)
    try:
        run.fail(failure)
    except OSError as unwritable:
        if text := disk_trouble(unwritable):
            return DiskFull(trial.run_id, text)
    return Failed(trial.run_id, failure)


def _kind_of(error: BaseException) -> FailureKind:
    if is_out_of_memory(error):
        return "out of memory"
    return "worker died" if isinstance(error, DecoderDied) else "error"


NO_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EFBIG}


def disk_trouble(error: BaseException) -> str:
    """A message if no record can be written any more, of no run at all; else nothing.

    Only a WriteError says so: an error of the system with the same number may be a method's or a reader's.
    """
    return str(error) if isinstance(error, WriteError) and error.errno in NO_DISK else ""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the memory of the machine or of the GPU ran out. Torch has no single type for that."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    words = ("can't allocate memory", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, RuntimeError) and any(word in described(error) for word in words)

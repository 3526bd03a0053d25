"""Batches of images on disk: decoded and cropped by processes of their own, one part of a batch at a time.

The content of a batch depends on the images, the seed and the epoch alone, not on the number of processes.
"""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from suite.data.errors import DataError, DecoderDied
from suite.data.image_set import Batch
from suite.data.stored.crops import normalise
from suite.machine import preemption
from suite.machine.environment import cores

AHEAD = 2  # parts that each decoding process has ready
LOOK = 1.0  # seconds between two looks at the decoding processes, and at a request to stop, while waiting
PATIENCE = 600.0  # seconds for one part of a batch, from the slowest disk; then it is held to be lost
GRACE = 5.0  # seconds for the same after a request to stop: all processes of a run stop at the same step
SHARED_MEMORY = "/dev/shm"
KNOWS_SENDER = hasattr(signal, "sigwaitinfo")  # whether the system names the sender of a signal; not on macOS


class Request(NamedTuple):
    """Samples (B,) to decode together, and the key of their random crops, None for the central ones."""

    samples: Tensor
    key: int | None


class Crops(NamedTuple):
    """A decoded request: pixels uint8 (B, size, size, 3), labels int64 (B,), the names of damaged images."""

    pixels: Tensor
    labels: Tensor
    damaged: list[str]


Decode = Callable[[Request], Crops]


def decoders() -> int:
    """The number of decoding processes: FLIPBENCH_DECODERS, by default one for each core but one.

    The cores are divided among the processes that torchrun has started on this machine. DataError for a
    value that is not a number.
    """
    text = os.environ.get("FLIPBENCH_DECODERS", "")
    if text and not text.isdecimal():
        raise DataError(f"FLIPBENCH_DECODERS must be a number of processes, 0 or more, not {text!r}")
    return int(text) if text else spare_cores(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def share_decoders(workers: int) -> None:
    """Divide the cores among workers that are not yet started, unless the user has set FLIPBENCH_DECODERS."""
    os.environ.setdefault("FLIPBENCH_DECODERS", str(spare_cores(workers)))


def spare_cores(processes: int) -> int:
    """How many cores each of these processes has, apart from its own."""
    return max(0, cores() // processes - 1)


def require_shared_memory(images: int, size: int, workers: int = 1) -> None:
    """DataError if the parts on their way from decoding processes have too little shared memory.

    images: of the largest part, size x size pixels each. workers: processes that train at the same time, each
    with its own decoding processes. Without free space, a part would be lost on its way.
    """
    processes = decoders()
    try:
        free = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:  # not Linux
        return
    part = workers * images * size * size * 3
    if processes and (needed := (AHEAD * processes + IN_USE) * part) > free:
        possible = max(0, int(free / part - IN_USE) // AHEAD)
        raise DataError(
            f"decoding needs {needed / 1e6:,.0f} MB of shared memory ({SHARED_MEMORY}), and "
            f"{free / 1e6:,.0f} MB are free: give this machine or container more (docker run --shm-size=8g), "
            f"or set FLIPBENCH_DECODERS={possible} (now {processes} for each process that trains)"
        )


IN_USE = 2  # parts that the training process has taken: the current one, and the next


class _Decoded(Dataset):
    """Item n is request n, decoded, or the reason why it is not: raised here, it would be a traceback."""

    def __init__(self, decode: Decode, requests: Sequence[Request]) -> None:
        self.decode, self.requests = decode, requests

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, number: int) -> Crops | DataError | DecoderDied:
        try:
            crops = self.decode(self.requests[number])
        except DataError as error:
            return error
        if get_worker_info() is not None:
            try:  # torch would share them in a thread, and lose the crops with its error
                crops.pixels.share_memory_()
                crops.labels.share_memory_()
            except RuntimeError as error:
                return DecoderDied(f"a decoding process could not hand over its images: {error}")
        return crops


def decoded_batches(
    decode: Decode, requests: Sequence[Request], device: torch.device, damaged: set[str]
) -> Iterator[Batch]:
    """The batch of every request in turn, on the device. The names of damaged images are added to `damaged`.

    DataError from `decode`; DecoderDied if a decoding process dies, also while the caller computes, or if no
    batch comes for PATIENCE seconds. StopRequested if this process was asked to stop, and none comes then.
    """
    processes = decoders()
    loader = DataLoader(
        _Decoded(decode, requests),
        batch_size=None,  # a request is a batch already
        num_workers=processes,
        timeout=LOOK if processes else 0,
        prefetch_factor=AHEAD if processes else None,
        pin_memory=device.type == "cuda",
        # In a sweep's worker the default would be a slow start from the forkserver, which SIGTERM ends.
        multiprocessing_context="fork" if processes else None,
        worker_init_fn=_obey_only_the_parent if KNOWS_SENDER else None,
    )
    with _sigterm_blocked() if KNOWS_SENDER else nullcontext():
        answers = iter(loader)
    if processes:
        _name_death_by_signal()
    while (crops := _next(answers)) is not None:
        if isinstance(crops, Exception):
            raise crops
        damaged.update(crops.damaged)
        pixels = crops.pixels.to(device, non_blocking=True)
        yield normalise(pixels), crops.labels.to(device, non_blocking=True)


# ---- a decoding process that dies or is silent: torch has no types for that, only RuntimeError and its words


def _next(answers: Iterator[Crops | Exception]) -> Crops | Exception | None:
    """The next answer, None at the end; the exceptions are those of `decoded_batches`."""
    start, stop_after = time.monotonic(), None
    while True:
        try:
            return next(answers, None)
        except DecoderDied:
            raise
        except RuntimeError as error:
            if str(error).startswith("DataLoader worker (pid"):
                raise DecoderDied(f"a decoding process died: {error}") from error
            if not str(error).startswith("DataLoader timed out"):
                raise
        waited = time.monotonic() - start
        if preemption.requested():
            stop_after = stop_after or waited + GRACE
            if waited >= stop_after:
                raise preemption.StopRequested("stopped while waiting for images")
        if waited >= PATIENCE:
            raise DecoderDied(f"no images came from the decoding processes for {waited:.0f} seconds")


_torch_handler: Any = None  # torch's handler of SIGCHLD
_named = False  # whether a death was raised since the latest loader began


def _name_death_by_signal() -> None:
    """Have DecoderDied raised where torch's handler of SIGCHLD raises RuntimeError, for a dead decoder only.

    Signals reach the main thread alone; elsewhere `_next` notices the death.
    """
    global _torch_handler, _named
    handler, _named = signal.getsignal(signal.SIGCHLD), False
    if threading.current_thread() is threading.main_thread() and handler is not _on_child_death:
        _torch_handler = handler
        signal.signal(signal.SIGCHLD, _on_child_death)


def _on_child_death(signum: int, frame: Any) -> None:
    """Raise one death: torch's handler raises one of every loader, also while the first is being handled."""
    global _named
    if _named:
        return
    try:
        _torch_handler(signum, frame)
    except RuntimeError as error:
        _named = True
        raise DecoderDied(f"a decoding process died: {error}") from error


# ---- SIGTERM, which schedulers send to all processes: training needs its decoders until it has saved


@contextmanager
def _sigterm_blocked() -> Iterator[None]:
    """SIGTERM is not delivered in this block, nor to processes started in it until they ask for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey_only_the_parent(worker: int) -> None:
    """Runs first in a decoding process: SIGTERM then ends it only if the training process sent it."""
    threading.Thread(target=_end_at_sigterm_of_the_parent, daemon=True).start()


def _end_at_sigterm_of_the_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)

"""Batches from images that stay on disk: decoded and cropped in processes of their own, a part at a time.

What a batch holds depends on the images, the seed and the epoch alone, however many processes decode.
"""

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from suite.data.batches import Batch, epoch_order, samples_of
from suite.data.source import DataError
from suite.data.stored.crops import normalise
from suite.data.stored.images import Crops, StoredImages
from suite.machine.environment import cores
from suite.machine.random_keys import random_key

AHEAD = 2  # parts that each decoding process has ready
SENDER_IS_TOLD = hasattr(signal, "sigwaitinfo")  # whether the system says who sent a signal; macOS does not


def decoders() -> int:
    """Decoding processes beside this one: FLIPBENCH_DECODERS, by default one for each core but one.

    The cores are shared out among the processes that torchrun has started on this machine. DataError for a
    value that is no number.
    """
    text = os.environ.get("FLIPBENCH_DECODERS", "")
    if text and not text.isdecimal():
        raise DataError(f"FLIPBENCH_DECODERS must be a number of processes, 0 or more, not {text!r}")
    return int(text) if text else cores_beside(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def share_decoders(workers: int) -> None:
    """Let so many workers, which are yet to be started, share the cores, unless the user has said it."""
    os.environ.setdefault("FLIPBENCH_DECODERS", str(cores_beside(workers)))


def cores_beside(processes: int) -> int:
    """How many cores each of these processes has, apart from its own."""
    return max(0, cores() // processes - 1)


class Request(NamedTuple):
    """What to decode together: samples, and the key of their random crops, None for the central ones."""

    samples: Tensor
    key: int | None


class _Decoded(Dataset):
    """Item n is what request n asks for."""

    def __init__(self, images: StoredImages, requests: Sequence[Request]) -> None:
        self.images, self.requests = images, requests

    def __len__(self) -> int:
        return len(self.requests)

    def __getitem__(self, number: int) -> Crops | DataError:
        samples, key = self.requests[number]
        chosen = samples.tolist()
        try:
            return self.images.centre_crops(chosen) if key is None else self.images.train_crops(chosen, key)
        except DataError as error:
            return error  # raised here, it would arrive with a traceback for its message


def crops_of(
    images: StoredImages, requests: Sequence[Request], device: torch.device, damaged: set[str]
) -> Iterator[Batch]:
    """The batch for every request in turn, on the device; DataError as in StoredImages.

    The names of images that could not be decoded go to `damaged`.
    """
    processes = decoders()
    loader = DataLoader(
        _Decoded(images, requests),
        batch_size=None,  # a request is a batch already
        num_workers=processes,
        prefetch_factor=AHEAD if processes else None,
        pin_memory=device.type == "cuda",
        # In a sweep's worker the default would be a slow start from the forkserver, which SIGTERM ends.
        multiprocessing_context="fork" if processes else None,
        worker_init_fn=_obey_only_the_parent if SENDER_IS_TOLD else None,
    )
    with _sigterm_waits() if SENDER_IS_TOLD else nullcontext():
        answers = iter(loader)
    for crops in answers:
        if isinstance(crops, DataError):
            raise crops
        damaged.update(crops.damaged)
        pixels = crops.pixels.to(device, non_blocking=True)
        yield normalise(pixels), crops.labels.to(device, non_blocking=True)


@contextmanager
def _sigterm_waits() -> Iterator[None]:
    """SIGTERM is not delivered in here, nor in processes that are started in here until they ask for it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey_only_the_parent(worker: int) -> None:
    """What a decoding process does first: SIGTERM then ends it if it comes from the one that trains.

    Schedulers send it to all processes, and the one that trains needs its decoders until it has saved.
    """
    threading.Thread(target=_end_at_sigterm_of_the_parent, daemon=True).start()


def _end_at_sigterm_of_the_parent() -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != os.getppid():
        pass
    os._exit(0)


class StoredBatches:
    """Shuffled batches of random crops, or of central ones with `augment` none.

    As `TrainBatches` in all else: full batches only, keyed by seed and epoch, cut into `slices`. `damaged`
    collects the names of images that cannot be decoded.
    """

    def __init__(
        self,
        images: StoredImages,
        batch_size: int,
        seed: int,
        augment: str,
        slices: Sequence[slice],
        device: torch.device,
        damaged: set[str],
    ) -> None:
        self.images, self.batch_size = images, min(batch_size, len(images))
        self.seed, self.augment, self.slices = seed, augment, slices
        self.device, self.damaged = device, damaged

    def __len__(self) -> int:
        """Batches, so optimizer steps, per epoch."""
        return len(self.images) // self.batch_size

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, part after part, from a step of it on, counted from 0."""
        key = None if self.augment == "none" else random_key(self.seed, "augment", epoch)
        order = epoch_order(len(self.images), self.seed, epoch)
        parts = samples_of(order, self.batch_size, self.slices, first_step)
        yield from crops_of(self.images, [Request(part, key) for part in parts], self.device, self.damaged)

"""The one interface of images in memory and on disk, and the batches that are taken from them."""

from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from suite.machine.random_keys import generator
from suite.records.trial import Augmentation

Batch = tuple[Tensor, Tensor]  # float32 (B, C, H, W), channels-last; int64 labels (B,)
WHOLE = (slice(None),)
EVAL_BATCH = 125  # images that are evaluated together


class ImageSet(Protocol):
    """Images with their labels. In memory they move to a device; on disk they are decoded batch by batch."""

    # From a pixel x of 0 to 255 to what a batch holds: a formula, one of suite.data.NORMALISATIONS.
    normalisation: ClassVar[str]

    @property
    def labels(self) -> Tensor:
        """The class of each image, int64 (N,)."""
        ...

    def __len__(self) -> int: ...

    def to(self, device: torch.device | str) -> "ImageSet":
        """The same images on a device."""
        ...

    def share(self) -> None:
        """Share the memory with other processes; RuntimeError if the system has too little of that kind."""
        ...

    def subset(self, index: Tensor) -> "ImageSet":
        """The images at the given positions (n,), in that order."""
        ...

    def hashed_tensors(self) -> tuple[Tensor, ...]:
        """The tensors that identify these images in a data record."""
        ...

    def train_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        augment: Augmentation,
        device: torch.device,
        slices: Sequence[slice],
        damaged: set[str],
    ) -> "Batches":
        """Shuffled, augmented batches; the names of images that cannot be decoded are added to `damaged`."""
        ...

    def eval_batches(
        self, device: torch.device, damaged: set[str], first: int = 0, every: int = 1
    ) -> Iterator[Batch]:
        """All images once, in order, unaugmented; or one in `every` of their batches, from number `first` on.

        The last batch may be short, so weight by samples. `damaged` as in `train_batches`.
        """
        ...


# From an epoch's number and the samples of each part, int64 (B,), to the parts themselves.
ReadParts = Callable[[int, Iterator[Tensor]], Iterator[Batch]]


class Batches:
    """Shuffled training batches; an epoch is a pure function of the images, the seed and its number.

    Every epoch has N // batch_size full batches: the incomplete last one is dropped, as in the paper's code
    (other samples every epoch, since the order changes). With fewer images than batch_size, one batch holds
    them all. `slices` cut each batch into the parts that this process computes: the whole batch, unless it is
    accumulated in parts or divided among several processes.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        slices: Sequence[slice],
        read: ReadParts,
        device: torch.device | str = "cpu",
    ) -> None:
        """count: images. read: gives the parts. device: where `read` expects the numbers of the samples."""
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.batch_size = min(batch_size, count)
        self._count, self._seed, self._slices = count, seed, slices
        self._read, self._device = read, device

    def __len__(self) -> int:
        """Optimizer steps, so batches, per epoch."""
        return self._count // self.batch_size

    def steps(self, epoch: int, first_step: int = 0) -> Iterator[tuple[Batch, ...]]:
        """The parts of each batch of an epoch, from a step on, counted from 0.

        Epochs may be counted from any number; each has its own order and its own augmentation.
        """
        parts = self._parts(epoch, first_step)
        return zip(*[parts] * len(self._slices), strict=True)

    def epoch(self, epoch: int) -> Iterator[Batch]:
        """All parts of an epoch, one after the other."""
        return self._parts(epoch, 0)

    def _parts(self, epoch: int, first_step: int) -> Iterator[Batch]:
        order = epoch_order(self._count, self._seed, epoch).to(self._device)
        return self._read(epoch, self._samples(order, first_step))

    def _samples(self, order: Tensor, first_step: int) -> Iterator[Tensor]:
        size = self.batch_size
        for start in range(first_step * size, len(order) - size + 1, size):
            batch = order[start : start + size]
            for part in self._slices:
                yield batch[part]


def epoch_order(count: int, seed: int, epoch: int) -> Tensor:
    """The order (N,) in which an epoch visits its samples: a permutation keyed by seed and epoch."""
    return torch.randperm(count, generator=generator(seed, "order", epoch))

"""What training and evaluation take their batches from, whether images are in memory or stay on disk."""

from collections.abc import Iterator, Sequence

import torch

from suite.data.batches import Batch, TrainBatches, eval_batches
from suite.data.source import Images
from suite.data.stored import AnyImages
from suite.data.stored.batches import Request, StoredBatches, crops_of

SMALL_SIDE, MANY, FEW = 64, 1000, 125  # images that are evaluated together: many up to this size


def train_batches(
    images: AnyImages,
    batch_size: int,
    *,
    seed: int,
    augment: str,
    device: torch.device,
    slices: Sequence[slice],
    damaged: set[str],
) -> TrainBatches | StoredBatches:
    """Shuffled, augmented batches, cut into the slices that this process computes.

    What cannot be decoded is named in `damaged`.
    """
    if isinstance(images, Images):
        return TrainBatches(images, batch_size, seed=seed, augment=augment, slices=slices)
    return StoredBatches(images, batch_size, seed, augment, slices, device, damaged)


def steps_of(
    batches: TrainBatches | StoredBatches, epoch: int, first_step: int
) -> Iterator[tuple[Batch, ...]]:
    """The steps of an epoch from one of them on, counted from 0: for each the parts of its batch."""
    parts = batches.epoch(epoch, first_step)
    return zip(*[parts] * len(batches.slices), strict=True)


def evaluation_batches(
    images: AnyImages,
    device: torch.device,
    damaged: set[str],
    first: int = 0,
    every: int = 1,
) -> Iterator[Batch]:
    """All images in order, unaugmented, or of their batches one in `every` from the first on.

    The last batch may be short, so weight by samples. What cannot be decoded is named in `damaged`.
    """
    if isinstance(images, Images):
        size = MANY if max(images.pixels.shape[2:]) <= SMALL_SIDE else FEW
        yield from eval_batches(images, size, first, every)
        return
    parts = torch.arange(len(images)).split(FEW)[first::every]
    yield from crops_of(images, [Request(part, None) for part in parts], device, damaged)

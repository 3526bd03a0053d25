"""Batches from images that live as one uint8 tensor on the device; augmentation is one gather per batch."""

from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.data.source import IN_MEMORY, Images
from suite.machine.random_keys import generator

Batch = tuple[Tensor, Tensor]  # float32 (B, C, H, W) in [-1, 1], channels-last; int64 labels (B,)
WHOLE = (slice(None),)


def scale(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [-1, 1]: x / 127.5 - 1, as in the paper's code."""
    return pixels.to(torch.float32).div_(127.5).sub_(1)


def epoch_order(n: int, seed: int, epoch: int, device: torch.device | str = "cpu") -> Tensor:
    """The order (n,) in which an epoch visits its samples: a permutation keyed by seed and epoch."""
    return torch.randperm(n, generator=generator(seed, "order", epoch)).to(device)


def augmentation_draws(n: int, pad: int, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """What an epoch does to each sample: the crop's top and left (n, 2) in 0..2*pad, and flipped or not (n,).

    Row i belongs to sample i, so neither the batch size nor the order changes what a sample gets.
    """
    stream = generator(seed, "augment", epoch)
    corners = torch.randint(0, 2 * pad + 1, (n, 2), generator=stream)
    return corners, torch.randint(0, 2, (n,), generator=stream, dtype=torch.bool)


def samples_of(order: Tensor, batch_size: int, slices: Sequence[slice], first_step: int) -> Iterator[Tensor]:
    """The samples of each part of each full batch of an epoch in this order (n,), from a step of it on."""
    for start in range(first_step * batch_size, len(order) - batch_size + 1, batch_size):
        batch = order[start : start + batch_size]
        for part in slices:
            yield batch[part]


class TrainBatches:
    """Shuffled, augmented training batches; epoch e is a pure function of the images, the seed and e.

    Every epoch has N // batch_size full batches: the incomplete last one is dropped, as in the paper's code
    (other samples every epoch, since the order changes). With fewer images than batch_size there is one batch
    of them all. `slices` cut each batch into the parts that this process computes: all of it, unless the
    batch is accumulated in parts or dealt to several processes. Cropping pads by `pad` pixels on each side
    (an eighth of the height unless given: 4 for 32) with the uint8 value 0, so with -1 after scaling.
    """

    def __init__(
        self,
        images: Images,
        batch_size: int,
        *,
        seed: int,
        augment: str = "none",
        pad: int | None = None,
        slices: Sequence[slice] = WHOLE,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if augment not in IN_MEMORY:
            raise ValueError(f"no augmentation {augment!r}; the choices are {list(IN_MEMORY)}")
        self.labels = images.labels
        self.count, _, self.height, self.width = images.pixels.shape
        self.batch_size = min(batch_size, self.count)
        self.seed, self.augment, self.slices = seed, augment, slices
        self.pad = self.height // 8 if pad is None else pad
        # (N, H, W, C). No copy of images that are channels-last already, so several processes may share them:
        # the padding is put around one batch at a time.
        self._pixels = images.pixels.permute(0, 2, 3, 1).contiguous()
        self._columns = self.width + 2 * self.pad
        if augment != "none":
            self._windows = self._window_offsets()

    def __len__(self) -> int:
        """Batches, so optimizer steps, per epoch."""
        return self.count // self.batch_size

    def epoch(self, epoch: int, first_step: int = 0) -> Iterator[Batch]:
        """The batches of one epoch, part after part, from a step of it on, counted from 0.

        Epochs are counted from any number; each has its own order and draws.
        """
        order = epoch_order(self.count, self.seed, epoch, self.labels.device)
        windows = None if self.augment == "none" else self._place_windows(epoch)
        for chosen in samples_of(order, self.batch_size, self.slices, first_step):
            pixels = self._pixels.index_select(0, chosen)
            if windows is not None:
                pixels = self._cut(pixels, *(of_sample.index_select(0, chosen) for of_sample in windows))
            yield scale(pixels).permute(0, 3, 1, 2), self.labels.index_select(0, chosen)

    def _window_offsets(self) -> Tensor:
        """Pixel positions (2, H*W) of a window relative to its corner: as it is, and mirrored."""
        row = torch.arange(self.height)[:, None] * self._columns
        column = torch.arange(self.width)
        offsets = torch.stack([(row + column).flatten(), (row + column.flip(0)).flatten()])
        return offsets.to(self.labels.device)

    def _place_windows(self, epoch: int) -> tuple[Tensor, Tensor]:
        """For every sample (N,): its window's corner as a pixel of the padded image, and 1 if mirrored."""
        corners, flips = augmentation_draws(self.count, self.pad, self.seed, epoch)
        places = corners[:, 0] * self._columns + corners[:, 1]
        mirrored = flips.long() if self.augment == "crop-flip" else torch.zeros_like(places)
        return places.to(self.labels.device), mirrored.to(self.labels.device)

    def _cut(self, pixels: Tensor, corners: Tensor, flips: Tensor) -> Tensor:
        """Of each image (B, H, W, C) of a batch the window at its corner, mirrored where `flips` is 1."""
        padded = F.pad(pixels, (0, 0, self.pad, self.pad, self.pad, self.pad))
        count, rows, columns, channels = padded.shape
        first = torch.arange(0, count * rows * columns, rows * columns, device=padded.device)
        index = self._windows.index_select(0, flips)
        index += (first + corners)[:, None]
        return padded.view(-1, channels).index_select(0, index.flatten()).view(pixels.shape)


def eval_batches(images: Images, batch_size: int, first: int = 0, every: int = 1) -> Iterator[Batch]:
    """All images once, in order, unaugmented; the last batch may be short, so weight by samples.

    Or of these batches one in `every`, from the first on.
    """
    for start in range(first * batch_size, len(images.labels), every * batch_size):
        part = slice(start, start + batch_size)
        yield scale(images.pixels[part]), images.labels[part]

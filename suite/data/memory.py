"""Images in memory: one uint8 tensor on the device; augmentation is one gather per batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from suite.data.image_set import EVAL_BATCH, Batch, Batches
from suite.machine.random_keys import generator
from suite.records.trial import Augmentation

IN_MEMORY: tuple[Augmentation, ...] = ("none", "crop", "crop-flip")  # the augmentations of images in memory
SMALL_SIDE, SMALL_EVAL_BATCH = 64, 1000  # of images up to this size in pixels more are evaluated together


@dataclass(frozen=True, eq=False)
class Images:
    """Images and their labels: uint8 pixels (N, C, H, W), int64 labels (N,)."""

    pixels: Tensor
    labels: Tensor
    normalisation: ClassVar[str] = "x / 127.5 - 1"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "Images":
        """The same images on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))

    def share(self) -> None:
        """Move them into shared memory, in place; RuntimeError if the system has too little of it."""
        self.pixels.share_memory_()
        self.labels.share_memory_()

    def hashed_tensors(self) -> tuple[Tensor, ...]:
        """The pixels by sample, row, column and channel; the labels."""
        return self.pixels.permute(0, 2, 3, 1), self.labels

    def subset(self, index: Tensor) -> "Images":
        """The images at the given positions (n,), channels-last in memory."""
        return Images(self.pixels[index], self.labels[index]).channels_last()

    def channels_last(self) -> "Images":
        """The same images, channels-last in memory: faster for convolutions, and for cropping."""
        return Images(self.pixels.contiguous(memory_format=torch.channels_last), self.labels.contiguous())

    def train_batches(
        self,
        batch_size: int,
        *,
        seed: int,
        augment: Augmentation,
        device: torch.device,
        slices: Sequence[slice],
        damaged: set[str],
    ) -> Batches:
        """Shuffled, augmented batches where the images are; all images can be decoded."""
        return Batches(
            len(self),
            batch_size,
            seed=seed,
            slices=slices,
            read=_Augmented(self, seed, augment).read,
            device=self.labels.device,
        )

    def eval_batches(
        self, device: torch.device, damaged: set[str], first: int = 0, every: int = 1
    ) -> Iterator[Batch]:
        """All images once, in order, unaugmented; or one in `every` of their batches, from `first` on."""
        size = SMALL_EVAL_BATCH if max(self.pixels.shape[2:]) <= SMALL_SIDE else EVAL_BATCH
        for start in range(first * size, len(self), every * size):
            part = slice(start, start + size)
            yield scale(self.pixels[part]), self.labels[part]


class _Augmented:
    """Parts of batches, each image in the window that its epoch draws for it.

    Cropping pads an image on each side, by an eighth of its height (4 for 32), with the uint8 value 0, so
    with -1 after scaling.
    """

    def __init__(self, images: Images, seed: int, augment: Augmentation) -> None:
        if augment not in IN_MEMORY:
            raise ValueError(f"no augmentation {augment!r}; the choices are {list(IN_MEMORY)}")
        self.labels, self.seed, self.augment = images.labels, seed, augment
        _, _, self.height, self.width = images.pixels.shape
        self.pad = self.height // 8
        # (N, H, W, C). No copy of images that are channels-last already, so several processes may share them:
        # the padding is put around one batch at a time.
        self.pixels = images.pixels.permute(0, 2, 3, 1).contiguous()
        self.columns = self.width + 2 * self.pad
        if augment != "none":
            self.windows = self._window_offsets()

    def read(self, epoch: int, parts: Iterator[Tensor]) -> Iterator[Batch]:
        """The images of each part, whose samples (B,) are given."""
        windows = None if self.augment == "none" else self._place_windows(epoch)
        for samples in parts:
            pixels = self.pixels.index_select(0, samples)
            if windows is not None:
                pixels = self._cut(pixels, *(of_sample.index_select(0, samples) for of_sample in windows))
            yield scale(pixels).permute(0, 3, 1, 2), self.labels.index_select(0, samples)

    def _window_offsets(self) -> Tensor:
        """Pixel positions (2, H*W) of a window relative to its corner: as it is, and mirrored."""
        row = torch.arange(self.height)[:, None] * self.columns
        column = torch.arange(self.width)
        offsets = torch.stack([(row + column).flatten(), (row + column.flip(0)).flatten()])
        return offsets.to(self.labels.device)

    def _place_windows(self, epoch: int) -> tuple[Tensor, Tensor]:
        """For every sample (N,): its window's corner as a pixel of the padded image, and 1 if mirrored."""
        corners, flips = augmentation_draws(len(self.labels), self.pad, self.seed, epoch)
        places = corners[:, 0] * self.columns + corners[:, 1]
        mirrored = flips.long() if self.augment == "crop-flip" else torch.zeros_like(places)
        return places.to(self.labels.device), mirrored.to(self.labels.device)

    def _cut(self, pixels: Tensor, corners: Tensor, flips: Tensor) -> Tensor:
        """The window of each image (B, H, W, C) of a batch at its corner, mirrored where `flips` is 1."""
        padded = F.pad(pixels, (0, 0, self.pad, self.pad, self.pad, self.pad))
        count, rows, columns, channels = padded.shape
        first = torch.arange(0, count * rows * columns, rows * columns, device=padded.device)
        index = self.windows.index_select(0, flips)
        index += (first + corners)[:, None]
        return padded.view(-1, channels).index_select(0, index.flatten()).view(pixels.shape)


def augmentation_draws(count: int, pad: int, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """The draws of an epoch: each crop's top and left (N, 2) in 0..2*pad, and whether it is mirrored (N,).

    Row i belongs to sample i, so neither the batch size nor the order changes the draws of a sample.
    """
    stream = generator(seed, "augment", epoch)
    corners = torch.randint(0, 2 * pad + 1, (count, 2), generator=stream)
    return corners, torch.randint(0, 2, (count,), generator=stream, dtype=torch.bool)


def scale(pixels: Tensor) -> Tensor:
    """uint8 pixels as float32 in [-1, 1]: x / 127.5 - 1, as in the paper's code."""
    return pixels.to(torch.float32).div_(127.5).sub_(1)

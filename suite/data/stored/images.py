"""Images that stay on disk: batches of crops are read from them, in whatever process asks for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from suite.data.source import DataError
from suite.data.stored.crops import Draw, central_box, cut, draws, random_box
from suite.data.stored.decode import DamagedImage

Damaged = Literal["stop", "grey"]
GREY = 128


class Reader(Protocol):
    """Where the pixels come from. It is small when pickled, and opens its files in the process that reads."""

    @property
    def folder(self) -> Path:
        """Where the images are."""
        ...

    def name(self, position: int) -> str:
        """The path of an image below the folder, or below the tree that the folder was prepared from."""
        ...

    def read(self, position: int) -> Tensor:
        """Pixels, uint8 (H, W, 3); DamagedImage if there are none to be had."""
        ...


class Crops(NamedTuple):
    """A batch: pixels uint8 (B, size, size, 3), labels int64 (B,), and the images that were damaged."""

    pixels: Tensor
    labels: Tensor
    damaged: list[str]


@dataclass(frozen=True)
class StoredImages:
    """Some of a reader's images: `index`, their positions there, `labels`, their classes; both int64 (N,).

    `damaged` says what becomes of an image that cannot be decoded: "stop" raises DataError with its name,
    "grey" makes it uniformly grey and names it in the batch.
    """

    reader: Reader
    index: Tensor
    labels: Tensor
    size: int
    damaged: Damaged = "stop"

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "StoredImages":
        """Themselves: they reach a device as batches of crops."""
        return self

    def share(self) -> None:
        """Nothing to do: every process reads them from disk."""

    def subset(self, index: Tensor) -> "StoredImages":
        """Those at the given positions (n,) of this one, in that order; they are numbered anew from 0."""
        return replace(self, index=self.index[index], labels=self.labels[index])

    def train_crops(self, samples: Sequence[int], key: int) -> Crops:
        """A random part of each sample, mirrored or not, resized to the size.

        What a sample gets depends on the key (0 to 2^64 - 1) and on its position in here, not on the others.
        DataError as `damaged` says, and if a file cannot be read at all.
        """
        return self._crops(samples, draws(key, samples), _random_crop)

    def centre_crops(self, samples: Sequence[int]) -> Crops:
        """The central part of each sample, resized to the size; DataError as in `train_crops`."""
        return self._crops(samples, [None] * len(samples), _centre_crop)

    def _crops(
        self, samples: Sequence[int], drawn: Sequence[Any], crop: Callable[[Tensor, Tensor, Any], None]
    ) -> Crops:
        chosen = torch.as_tensor(samples, dtype=torch.int64)
        pixels = torch.empty(len(chosen), self.size, self.size, 3, dtype=torch.uint8)
        damaged = []
        for row, position, draw in zip(pixels, self.index[chosen].tolist(), drawn, strict=True):
            try:
                crop(self.reader.read(position), row, draw)
            except DamagedImage as error:
                name = self.reader.name(position)
                if self.damaged == "stop":
                    raise DataError(
                        f"the image {name} of {self.reader.folder} is damaged: {error}"
                    ) from error
                row.fill_(GREY)
                damaged.append(name)
        return Crops(pixels, self.labels[chosen], damaged)


def _random_crop(image: Tensor, row: Tensor, draw: Draw) -> None:
    cut(image, random_box(draw, *image.shape[:2]), row, flipped=draw.flipped)


def _centre_crop(image: Tensor, row: Tensor, draw: None) -> None:
    cut(image, central_box(len(row), *image.shape[:2]), row)

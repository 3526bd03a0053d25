"""Images that stay on disk: batches of crops are read from them, in whichever process asks for them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import torch
from torch import Tensor

from suite.data.errors import DataError
from suite.data.image_set import EVAL_BATCH, WHOLE, Batch, Batches
from suite.data.stored.batches import Crops, Request, decoded_batches, require_shared_memory
from suite.data.stored.crops import NORMALISATION, Draw, central_box, cut, draws, random_box
from suite.data.stored.decode import DamagedImage
from suite.machine.random_keys import random_key
from suite.records.trial import Augmentation

Damaged = Literal["stop", "grey"]
GREY = 128


class Reader(Protocol):
    """Reads pixels. It is small when pickled, and opens its files in the process that uses it."""

    @property
    def folder(self) -> Path:
        """The folder of the images."""
        ...

    def name(self, position: int) -> str:
        """The path of an image below the folder, or below the tree that the folder was prepared from."""
        ...

    def read(self, position: int) -> Tensor:
        """Pixels, uint8 (H, W, 3); DamagedImage if they cannot be decoded."""
        ...

    def share(self) -> None:
        """Share what is not small with other processes; RuntimeError as in `ImageSet.share`."""
        ...


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Some of a reader's images: `index`, their positions there, `labels`, their classes; both int64 (N,).

    `damaged` decides on an image that cannot be decoded: "stop" raises DataError with its name, "grey" makes
    it uniformly grey and names it in the batch.
    """

    reader: Reader
    index: Tensor
    labels: Tensor
    size: int
    damaged: Damaged = "stop"
    normalisation: ClassVar[str] = NORMALISATION

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device | str) -> "StoredImages":
        """The same object: these images reach a device as batches of crops."""
        return self

    def share(self) -> None:
        """Share the lists; every process reads the images from disk."""
        self.index.share_memory_()
        self.labels.share_memory_()
        self.reader.share()

    def hashed_tensors(self) -> tuple[Tensor, ...]:
        """The positions of the images; a digest of their folder stands for the pixels."""
        return (self.index,)

    def subset(self, index: Tensor) -> "StoredImages":
        """The images at the given positions (n,), in that order; they are numbered from 0 again."""
        return replace(self, index=self.index[index], labels=self.labels[index])

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
        """Shuffled batches of random crops, or of central crops with `augment` none.

        DataError if there is too little shared memory for them, or for those of an evaluation.
        """
        self.require_shared_memory([batch_size], slices)

        def read(epoch: int, parts: Iterator[Tensor]) -> Iterator[Batch]:
            key = None if augment == "none" else random_key(seed, "augment", epoch)
            return decoded_batches(self.decode, [Request(part, key) for part in parts], device, damaged)

        return Batches(len(self), batch_size, seed=seed, slices=slices, read=read)

    def require_shared_memory(
        self, batch_sizes: Sequence[int], slices: Sequence[slice] = WHOLE, workers: int = 1
    ) -> None:
        """DataError if so many processes cannot train on batches of these sizes at the same time."""
        parts = [len(range(batch)[part]) for batch in batch_sizes for part in slices]
        require_shared_memory(max(EVAL_BATCH, *parts), self.size, workers)

    def eval_batches(
        self, device: torch.device, damaged: set[str], first: int = 0, every: int = 1
    ) -> Iterator[Batch]:
        """The central crops of all images, in order; or one in `every` of their batches, from `first` on."""
        parts = torch.arange(len(self)).split(EVAL_BATCH)[first::every]
        return decoded_batches(self.decode, [Request(part, None) for part in parts], device, damaged)

    def decode(self, request: Request) -> Crops:
        """The crops of a request; DataError as in `train_crops`."""
        samples = request.samples.tolist()
        return self.centre_crops(samples) if request.key is None else self.train_crops(samples, request.key)

    def train_crops(self, samples: Sequence[int], key: int) -> Crops:
        """A random part of each sample, mirrored or not, resized to the size.

        The crop of a sample depends on the key (0 to 2^64 - 1) and on its position here, not on the others.
        DataError for a damaged image if `damaged` is "stop", and for a file that cannot be read.
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
                        f"the image {name} of {self.reader.folder} cannot be used: {error}"
                    ) from error
                row.fill_(GREY)
                damaged.append(name)
        return Crops(pixels, self.labels[chosen], damaged)


def _random_crop(image: Tensor, row: Tensor, draw: Draw) -> None:
    cut(image, random_box(draw, *image.shape[:2]), row, flipped=draw.flipped)


def _centre_crop(image: Tensor, row: Tensor, draw: None) -> None:
    cut(image, central_box(len(row), *image.shape[:2]), row)

"""What a data set is: facts known before anything is read, and a source that reads pixels on demand."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor

from suite.machine.errors import UserError

if TYPE_CHECKING:
    from suite.data.stored import StoredImages

Augmentation = Literal["none", "crop", "crop-flip", "resized-crop-flip"]
IN_MEMORY: tuple[Augmentation, ...] = ("none", "crop", "crop-flip")  # of images that are tensors
Options = Mapping[str, Any]
Shape = tuple[int, int, int]


class DataError(UserError):
    """A data set cannot be had as asked; the message says what is wrong, where, and what to do."""


class Images(NamedTuple):
    """Images and their labels: uint8 pixels (N, C, H, W), int64 labels (N,)."""

    pixels: Tensor
    labels: Tensor

    def to(self, device: torch.device | str) -> "Images":
        """The same images on a device."""
        return Images(self.pixels.to(device), self.labels.to(device))

    def share(self) -> None:
        """Move them into shared memory, in place; RuntimeError if the system has too little of it."""
        self.pixels.share_memory_()
        self.labels.share_memory_()


@dataclass(frozen=True)
class Source:
    """One data set, opened. `read` takes positions (n,) in the training part and returns their pixels.

    Images that stay on disk are returned as such, and `stored` vouches for all of them.
    """

    classes: int
    shape: Shape
    labels: Tensor  # of the whole training part, before validation is carved out
    read: "Callable[[Tensor], Tensor | StoredImages]"
    test_size: int
    read_test: "Callable[[], Images | StoredImages]"
    stored: Mapping[str, Any] = field(default_factory=dict)  # what is known of them, with a `digest`


@dataclass(frozen=True)
class Dataset:
    """One entry of DATASETS. Sizes are None where they depend on the user's own files."""

    name: str
    summary: str
    augment: Augmentation  # the default for training
    open: Callable[[Options], Source]
    classes: int | None = None
    shape: Shape | None = None  # channels, height, width
    train: int | None = None  # validation included
    test: int | None = None
    validation: float = 0.1  # share of the training part, by default
    files: tuple[str, ...] = ()  # below the data folder, in torchvision's layout
    augmentations: tuple[Augmentation, ...] = IN_MEMORY
    required: Mapping[str, type] = field(default_factory=dict)  # options without a default
    optional: Mapping[str, Any] = field(default_factory=dict)  # options with theirs

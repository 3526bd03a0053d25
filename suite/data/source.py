"""A data set: the facts known before anything is read, and a source that reads its images on demand."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from suite.data.files import data_root
from suite.data.image_set import ImageSet
from suite.data.memory import IN_MEMORY
from suite.records.trial import Augmentation

Options = Mapping[str, Any]
Shape = tuple[int, int, int]
Limit = tuple[Callable[[Any], bool], str]  # whether a value is good, and what it must be
PIXELS: Limit = (lambda value: value >= 1, "a positive number of pixels")


class Sizes(NamedTuple):
    """Classes, the shape of an image, and images; those of train before validation is carved out."""

    classes: int
    shape: Shape
    train: int
    test: int


@dataclass(frozen=True)
class Source:
    """One data set, opened.

    labels: int64 (N,), of the whole training part, before validation is carved out.
    read: the images at positions (n,) in the training part.
    stored: of images that stay on disk, what the data record keeps of their folder, with a `digest` of it.
    skipped: entries of the folders that are left out, by kind.
    """

    classes: int
    shape: Shape
    labels: Tensor
    read: Callable[[Tensor], ImageSet]
    test_size: int
    read_test: Callable[[], ImageSet]
    stored: Mapping[str, Any] = field(default_factory=dict)
    skipped: Mapping[str, int] = field(default_factory=dict)

    def sha256(self, train: ImageSet, val: ImageSet) -> str:
        """A digest of train, then val: the pixels (sample, row, column, channel) and the labels of each.

        Of images that stay on disk: the digest of their folder, and their positions in it.
        """
        digest = hashlib.sha256()
        for tensor in (*train.hashed_tensors(), *val.hashed_tensors()):
            digest.update(tensor.contiguous().numpy().data)
        if not self.stored:
            return digest.hexdigest()
        return hashlib.sha256(f"{self.stored['digest']} {digest.hexdigest()}".encode()).hexdigest()


@dataclass(frozen=True)
class Dataset:
    """One entry of DATASETS. Sizes are None where they depend on the user's own files.

    open: takes the options in `required` and `optional` as keyword arguments.
    limits: of options whose type does not say all, whether a value is good, and what it must be.
    """

    name: str
    summary: str
    augment: Augmentation  # the default for training
    open: Callable[..., Source]
    classes: int | None = None
    shape: Shape | None = None  # channels, height, width
    train: int | None = None  # validation included
    test: int | None = None
    validation: float = 0.1  # share of the training part, by default
    files: tuple[str, ...] = ()  # below the data folder, in torchvision's layout
    augmentations: tuple[Augmentation, ...] = IN_MEMORY
    required: Mapping[str, type] = field(default_factory=dict)  # options without a default
    optional: Mapping[str, Any] = field(default_factory=dict)  # options with their defaults
    limits: Mapping[str, Limit] = field(default_factory=dict)
    folder: Callable[[Options], Path] | None = None  # of the user's own files
    known: Callable[[Options], Sizes | None] = lambda options: None  # sizes that need no file

    def absent(self, options: Options) -> list[Path]:
        """The files or the folder that must be there before anything can be read, and are not."""
        needed = [data_root() / file for file in self.files]
        if self.folder is not None:
            needed.append(self.folder(options))
        return [path for path in needed if not path.exists()]

    def source(self, options: Options) -> Source:
        """The data set, opened; `options` are all resolved options."""
        return self.open(**{name: options[name] for name in (*self.required, *self.optional)})

"""Carve validation out of the training part, and keep the test set out of reach while tuning."""

import dataclasses
import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from suite.data.source import DataError, Dataset, Images, Options, Source
from suite.data.stored import AnyImages, StoredImages
from suite.machine.random_keys import random_key


class TestSetGuard(RuntimeError):
    """The test set was asked for while it must be out of reach."""

    __test__ = False  # pytest would take the name for a test class


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set; `record` is what the results keep of it (see `record_of`)."""

    train: AnyImages
    val: AnyImages
    classes: int
    record: dict[str, Any] = field(repr=False)
    _test: AnyImages | None = field(default=None, repr=False)

    @property
    def test(self) -> AnyImages:
        """The test images; TestSetGuard when the splits were loaded without them."""
        if self._test is None:
            raise TestSetGuard("the test set cannot be built while tuning")
        return self._test

    def to(self, device: torch.device | str) -> "Splits":
        """The same splits on a device."""
        test = None if self._test is None else self._test.to(device)
        return Splits(self.train.to(device), self.val.to(device), self.classes, self.record, test)

    def with_test(self, test: AnyImages) -> "Splits":
        """The same splits, the test images within reach."""
        return dataclasses.replace(self, _test=test)


def stratified_index(labels: Tensor, count: int, *key: object) -> Tensor:
    """Positions, ascending, of `count` samples with the classes in the same shares as in `labels` (n,).

    Shares are rounded by largest remainder. Which samples are taken depends on the key alone.
    """
    # RandomState's stream is frozen for good (NumPy NEP 19): a split must not move with a library's version.
    order = torch.from_numpy(np.random.RandomState(random_key(*key) % 2**32).permutation(len(labels)))
    sizes = torch.bincount(labels)
    take = sizes * count // len(labels)
    remainder = sizes * count % len(labels)
    take[remainder.argsort(descending=True, stable=True)[: count - int(take.sum())]] += 1
    shuffled = labels[order]
    chosen = [order[shuffled == label][:number] for label, number in enumerate(take.tolist())]
    return torch.cat(chosen).sort().values


def part_sizes(dataset: Dataset, total: int, options: Options) -> tuple[int, int]:
    """How many images train and val get of a training part of `total`; DataError when one would be empty."""
    val = round(total * options["validation"])
    train, limit = total - val, options["train_limit"]
    if not val or not train:
        raise DataError(
            f"data set {dataset.name!r}: of {total} images {train} are left for train, {val} for val"
        )
    if limit is not None and limit > train:
        raise DataError(f"data set {dataset.name!r}: train_limit is {limit}, but train has {train} images")
    return limit or train, val


def make_splits(dataset: Dataset, options: Options, *, with_test: bool) -> Splits:
    """Open a data set and split it by its resolved options. Without `with_test` no test image is read."""
    source = dataset.open(options)
    train_index, val_index = _carve(dataset, source, options)
    train, val = _read(source, train_index), _read(source, val_index)
    record = record_of(dataset, options, source, train, val, val_index)
    return Splits(train, val, source.classes, record, _compact(source.read_test()) if with_test else None)


def read_test(dataset: Dataset, options: Options) -> AnyImages:
    """The test images alone."""
    return _compact(dataset.open(options).read_test())


def _carve(dataset: Dataset, source: Source, options: Options) -> tuple[Tensor, Tensor]:
    labels = source.labels
    train_size, val_size = part_sizes(dataset, len(labels), options)
    val_index = stratified_index(labels, val_size, dataset.name, "validation")
    rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, val_index, False).nonzero().flatten()
    if lost := sorted(set(labels.tolist()) - set(labels[rest].tolist())):
        raise DataError(
            f"data set {dataset.name!r}: validation takes the only training images of classes {lost}"
        )
    if train_size < len(rest):
        rest = rest[stratified_index(labels[rest], train_size, dataset.name, "train_limit")]
    return rest, val_index


def _read(source: Source, index: Tensor) -> AnyImages:
    found = source.read(index)
    return found if isinstance(found, StoredImages) else _compact(Images(found, source.labels[index]))


def _compact(images: AnyImages) -> AnyImages:
    if isinstance(images, StoredImages):
        return images
    # Channels-last in memory: convolutions are faster, and a crop finds the channels of a pixel side by side.
    return Images(images.pixels.contiguous(memory_format=torch.channels_last), images.labels.contiguous())


def record_of(
    dataset: Dataset,
    options: Options,
    source: Source,
    train: AnyImages,
    val: AnyImages,
    val_index: Tensor,
) -> dict[str, Any]:
    """What the results keep of a data set, ready for JSON; the same with and without the test set.

    `sha256` covers the pixels (sample, row, column, channel) and the labels (int64) of train, then of val; of
    images that stay on disk, the digest of their folder and the positions in it of train, then of val.
    `validation_index` holds positions in the training part, before anything was carved out of it.
    """
    index = val_index.tolist()
    return {
        "name": dataset.name,
        "options": dict(options),
        "classes": source.classes,
        "train": len(train.labels),
        "val": len(val.labels),
        "test": source.test_size,
        "shape": list(source.shape),
        "sha256": _sha256_of(source, train, val),
        **({"stored": dict(source.stored)} if source.stored else {}),
        "validation_index": index,
        "validation_index_sha256": hashlib.sha256(str(index).encode()).hexdigest(),
    }


def _sha256_of(source: Source, train: AnyImages, val: AnyImages) -> str:
    if isinstance(train, Images) and isinstance(val, Images):
        return _sha256(train.pixels, train.labels, val.pixels, val.labels)
    assert isinstance(train, StoredImages) and isinstance(val, StoredImages)
    return hashlib.sha256(f"{source.stored['digest']} {_sha256(train.index, val.index)}".encode()).hexdigest()


def _sha256(*tensors: Tensor) -> str:
    digest = hashlib.sha256()
    for tensor in tensors:
        rows = tensor.permute(0, 2, 3, 1) if tensor.ndim == 4 else tensor
        digest.update(rows.contiguous().numpy().data)
    return digest.hexdigest()

"""Carve validation out of the training part, and keep the test set out of reach while tuning."""

import dataclasses
import hashlib
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from suite.data.errors import DataError, TestSetGuard
from suite.data.image_set import ImageSet
from suite.data.source import Dataset, Options, Source
from suite.machine.random_keys import random_key
from suite.records.schema import DataRecord, DataSizes


@dataclass(frozen=True)
class Splits:
    """The three parts of a data set, and the record that the results keep of it."""

    train: ImageSet
    val: ImageSet
    classes: int
    record: DataRecord = field(repr=False)
    _test: ImageSet | None = field(default=None, repr=False)

    @property
    def test(self) -> ImageSet:
        """The test images; TestSetGuard if the splits were loaded without them."""
        if self._test is None:
            raise TestSetGuard("the test set cannot be built while tuning")
        return self._test

    def to(self, device: torch.device | str) -> "Splits":
        """The same splits on a device."""
        test = None if self._test is None else self._test.to(device)
        return Splits(self.train.to(device), self.val.to(device), self.classes, self.record, test)

    def with_test(self, test: ImageSet) -> "Splits":
        """The same splits, the test images within reach."""
        return dataclasses.replace(self, _test=test)


def stratified_index(labels: Tensor, count: int, *key: object) -> Tensor:
    """Positions, ascending, of `count` samples with the classes in the same shares as in `labels` (n,).

    Shares are rounded by largest remainder. The chosen samples depend on the key alone.
    """
    # RandomState's stream never changes (NumPy NEP 19): a split must not move with a library's version.
    order = torch.from_numpy(np.random.RandomState(random_key(*key) % 2**32).permutation(len(labels)))
    sizes = torch.bincount(labels)
    take = sizes * count // len(labels)
    remainder = sizes * count % len(labels)
    take[remainder.argsort(descending=True, stable=True)[: count - int(take.sum())]] += 1
    shuffled = labels[order]
    chosen = [order[shuffled == label][:number] for label, number in enumerate(take.tolist())]
    return torch.cat(chosen).sort().values


def part_sizes(dataset: Dataset, total: int, options: Options) -> tuple[int, int]:
    """The images of train and val out of a training part of `total`; DataError if one would be empty."""
    val = round(total * options["validation"])
    train, limit = total - val, options["train_limit"]
    if not val or not train:
        raise DataError(
            f"data set {dataset.name!r}: of {total} images {train} are left for train, {val} for val",
            "validation",
        )
    if limit is not None and limit > train:
        raise DataError(
            f"data set {dataset.name!r}: train_limit is {limit}, but train has {train} images", "train_limit"
        )
    return limit or train, val


def sizes_of(dataset: Dataset, options: Options) -> DataSizes:
    """The sizes of a data set with all its options; DataError as in `part_sizes`."""
    sizes = dataset.known(options) if dataset.absent(options) else None
    if sizes is not None:
        classes, shape, total, test = sizes
    elif dataset.classes and dataset.shape and dataset.train and dataset.test:
        classes, shape, total, test = dataset.classes, dataset.shape, dataset.train, dataset.test
    else:
        source = dataset.source(options)
        classes, shape, total, test = source.classes, source.shape, len(source.labels), source.test_size
    train, val = part_sizes(dataset, total, options)
    size = (train + val + test) * shape[0] * shape[1] * shape[2]  # uint8 pixels
    return DataSizes(classes=classes, shape=list(shape), train=train, val=val, test=test, bytes=size)


def make_splits(dataset: Dataset, options: Options) -> Splits:
    """Open a data set and split it by its resolved options. No test image is read."""
    source = dataset.source(options)
    train_index, val_index = _carve(dataset, source, options)
    train, val = source.read(train_index), source.read(val_index)
    record = _record(dataset, options, source, train, val, val_index.tolist())
    return Splits(train, val, source.classes, record)


def _carve(dataset: Dataset, source: Source, options: Options) -> tuple[Tensor, Tensor]:
    """The positions of train and of val in the training part."""
    labels = source.labels
    train_size, val_size = part_sizes(dataset, len(labels), options)
    val_index = stratified_index(labels, val_size, dataset.name, "validation")
    rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, val_index, False).nonzero().flatten()
    if lost := sorted(set(labels.tolist()) - set(labels[rest].tolist())):
        raise DataError(
            f"data set {dataset.name!r}: validation takes the only training images of classes {lost}",
            "validation",
        )
    if train_size < len(rest):
        rest = rest[stratified_index(labels[rest], train_size, dataset.name, "train_limit")]
    return rest, val_index


def _record(
    dataset: Dataset, options: Options, source: Source, train: ImageSet, val: ImageSet, val_index: list[int]
) -> DataRecord:
    """The same with and without the test set.

    `validation_index` holds positions in the training part, before anything was carved out of it.
    """
    return DataRecord(
        name=dataset.name,
        options=dict(options),
        classes=source.classes,
        train=len(train),
        val=len(val),
        test=source.test_size,
        shape=list(source.shape),
        sha256=source.sha256(train, val),
        stored=dict(source.stored),
        skipped=dict(sorted(source.skipped.items())),
        validation_index=val_index,
        validation_index_sha256=hashlib.sha256(str(val_index).encode()).hexdigest(),
    )

"""The data sets: DATASETS is the catalogue, `load_splits` gives the images, `describe` the sizes alone."""

from typing import Any

from suite.data.options import resolve_options as _resolve
from suite.data.sets.digits import DIGITS
from suite.data.sets.image_folder import IMAGE_FOLDER
from suite.data.sets.imagenet import IMAGENET
from suite.data.sets.torchvision_sets import CIFAR10, CIFAR100, FASHION_MNIST, MNIST, SVHN
from suite.data.source import DataError, Dataset, Images, Options
from suite.data.splits import Splits, TestSetGuard, make_splits, part_sizes, read_test
from suite.data.stored import AnyImages, StoredImages
from suite.machine.errors import one_of

__all__ = [
    "DATASETS",
    "AnyImages",
    "DataError",
    "Dataset",
    "Images",
    "Splits",
    "StoredImages",
    "TestSetGuard",
    "describe",
    "load_splits",
    "load_test",
    "resolve_options",
]

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (DIGITS, MNIST, FASHION_MNIST, CIFAR10, CIFAR100, SVHN, IMAGE_FOLDER, IMAGENET)
}


def _find(name: str) -> Dataset:
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}{one_of(name, DATASETS)}")
    return DATASETS[name]


def resolve_options(name: str, options: Options) -> dict[str, Any]:
    """The options of a data set with every default filled in; DataError for a name or option that is not."""
    return _resolve(_find(name), options)


def load_splits(name: str, options: Options, *, with_test: bool) -> Splits:
    """Train, validation and, only if asked for, test images of a data set, on the CPU.

    DataError says what is absent, damaged or wrongly asked for.
    """
    return make_splits(_find(name), resolve_options(name, options), with_test=with_test)


def load_test(name: str, options: Options) -> AnyImages:
    """The test images of a data set alone, on the CPU; DataError as in `load_splits`."""
    return read_test(_find(name), resolve_options(name, options))


def describe(name: str, options: Options) -> dict[str, Any]:
    """The sizes of a data set for planning, without reading a pixel: classes, shape, train, val, test, bytes.

    `bytes` is what the uint8 pixels take in memory. Only a folder of images is looked at, and only listed.
    """
    dataset, resolved = _find(name), resolve_options(name, options)
    classes, shape, total, test = dataset.classes, dataset.shape, dataset.train, dataset.test
    if classes is None or shape is None or total is None or test is None:
        source = dataset.open(resolved)
        classes, shape, total, test = source.classes, source.shape, len(source.labels), source.test_size
    train, val = part_sizes(dataset, total, resolved)
    size = (train + val + test) * shape[0] * shape[1] * shape[2]
    return {"classes": classes, "shape": list(shape), "train": train, "val": val, "test": test, "bytes": size}

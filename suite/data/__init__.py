"""The data sets: DATASETS is the catalogue, `load_splits` gives the images, `describe` the sizes alone."""

from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from suite.data.errors import DataError, DecoderDied, TestSetGuard
from suite.data.files import data_root
from suite.data.image_set import Batch, Batches, ImageSet
from suite.data.memory import Images, scale
from suite.data.options import resolve_options
from suite.data.own import dataset
from suite.data.sets.digits import DIGITS
from suite.data.sets.image_folder import IMAGE_FOLDER
from suite.data.sets.imagenet import IMAGENET
from suite.data.sets.torchvision_sets import CIFAR10, CIFAR100, FASHION_MNIST, MNIST, SVHN
from suite.data.source import Dataset
from suite.data.splits import Splits, make_splits, sizes_of
from suite.data.stored.crops import normalise
from suite.data.stored.entries import skipped_text
from suite.data.stored.images import StoredImages
from suite.machine.errors import one_of
from suite.records.schema import DataSizes
from suite.records.trial import Choice

__all__ = [
    "DATASETS",
    "NORMALISATIONS",
    "Batch",
    "Batches",
    "DataError",
    "Dataset",
    "DecoderDied",
    "ImageSet",
    "Images",
    "Splits",
    "StoredImages",
    "TestSetGuard",
    "absent",
    "data_root",
    "dataset",
    "describe",
    "load_splits",
    "load_test",
    "resolve",
    "skipped_text",
]

DATASETS: dict[str, Dataset] = {
    dataset.name: dataset
    for dataset in (DIGITS, MNIST, FASHION_MNIST, CIFAR10, CIFAR100, SVHN, IMAGE_FOLDER, IMAGENET)
}


# Formula -> the function from uint8 images (N, C, H, W), channels-last, to the batch that networks train on.
NORMALISATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    Images.normalisation: scale,
    StoredImages.normalisation: lambda pixels: normalise(pixels.permute(0, 2, 3, 1)),
}


def _find(name: str) -> Dataset:
    if name not in DATASETS:
        raise DataError(f"there is no data set {name!r}{one_of(name, DATASETS)}")
    return DATASETS[name]


def resolve(choice: Choice) -> Choice:
    """The same data set with every default filled in; DataError for an unknown name and for a bad option."""
    return Choice(choice.name, resolve_options(_find(choice.name), choice.options))


def load_splits(choice: Choice) -> Splits:
    """Train and validation images of a data set, on the CPU: tuning knows no test image.

    DataError names absent or damaged files, and options that do not fit.
    """
    return make_splits(_find(choice.name), resolve(choice).options)


def load_test(choice: Choice) -> ImageSet:
    """The test images of a data set alone, on the CPU; DataError as in `load_splits`."""
    return _find(choice.name).source(resolve(choice).options).read_test()


def absent(choice: Choice) -> list[Path]:
    """What a data set needs before its images can be read, and is not there: its files, or its folder."""
    return _find(choice.name).absent(resolve(choice).options)


def describe(choice: Choice) -> DataSizes:
    """The sizes of a data set, without reading a pixel; a folder of images is only listed.

    Where the folder is not there, they are the published ones if the options name a published data set.
    """
    return sizes_of(_find(choice.name), resolve(choice).options)

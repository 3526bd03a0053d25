"""scikit-learn's handwritten digits: small, real, and inside the package, so they need no download."""

import importlib.util
from pathlib import Path

import numpy as np
import torch

from suite.data.errors import DataError
from suite.data.memory import Images
from suite.data.source import Dataset, Source
from suite.data.splits import stratified_index

FILE = "datasets/data/digits.csv.gz"  # in scikit-learn
TEST_SIZE = 360  # a fifth of 1,797, rounded up: the set has no published split


def digits_file() -> Path:
    """The file of `sklearn.datasets.load_digits`: a line holds 64 grey values and the label.

    To import scikit-learn for it would take each worker two seconds. DataError if the file is absent.
    """
    package = importlib.util.find_spec("sklearn")
    folders = package.submodule_search_locations if package else None
    path = Path(folders[0] if folders else "sklearn") / FILE
    if not path.is_file():
        raise DataError(f"data set 'digits': {path} is absent; it is a part of the package scikit-learn")
    return path


def open_digits() -> Source:
    """The 8x8 digits with grey values 0..16 stretched to 0..255, without a fixed stratified test part."""
    lines = torch.from_numpy(np.loadtxt(digits_file(), delimiter=","))
    pixels = lines[:, :-1].mul(255 / 16).round().to(torch.uint8).view(-1, 1, 8, 8)
    labels = lines[:, -1].long()
    test = stratified_index(labels, TEST_SIZE, "digits", "test")
    rest = torch.ones(len(labels), dtype=torch.bool).index_fill(0, test, False)
    everything = Images(pixels, labels)
    train = everything.subset(rest)
    return Source(
        classes=10,
        shape=(1, 8, 8),
        labels=train.labels,
        read=train.subset,
        test_size=TEST_SIZE,
        read_test=lambda: everything.subset(test),
    )


DIGITS = Dataset(
    name="digits",
    summary="1,797 handwritten digits of 8x8 grey pixels, inside scikit-learn (UCI Optical Recognition).",
    augment="none",
    open=open_digits,
    classes=10,
    shape=(1, 8, 8),
    train=1437,
    test=TEST_SIZE,
    validation=0.2,
)

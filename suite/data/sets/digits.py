"""scikit-learn's handwritten digits: small, real, and inside the package, so they need no download."""

from typing import Any

import torch

from suite.data.memory import Images
from suite.data.source import Dataset, Source
from suite.data.splits import stratified_index

TEST_SIZE = 360  # a fifth of 1,797, rounded up: the set has no published split


def open_digits() -> Source:
    """The 8x8 digits with grey values 0..16 stretched to 0..255, without a fixed stratified test part."""
    from sklearn.datasets import load_digits  # here, because importing it takes a second

    digits: Any = load_digits()
    pixels = torch.from_numpy(digits.images).mul(255 / 16).round().to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target).long()
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

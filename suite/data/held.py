"""The images that this process holds: each part of a data set once, whoever asks for it.

A sweep's coordinator puts what it has read into shared memory and lends it to its workers, so that a machine
holds it once. What was not lent is read here.
"""

import functools
import json
from typing import NamedTuple

import torch

from suite.data import AnyImages, Splits, load_splits, load_test


class Loan(NamedTuple):
    """Images in shared memory on their way to a worker; `data` is the trial's data as canonical JSON."""

    data: str
    splits: Splits | None = None  # without the test part
    test: AnyImages | None = None


_borrowed: dict[str, Splits] = {}
_borrowed_test: dict[str, AnyImages] = {}


def borrow(loan: Loan) -> None:
    """Use these images from now on instead of reading them."""
    if loan.splits is not None:
        _borrowed[loan.data] = loan.splits
    if loan.test is not None:
        _borrowed_test[loan.data] = loan.test


def splits_on(device: torch.device, data: str, with_test: bool) -> Splits:
    """The images of a trial's data (canonical JSON) on a device; the test part only if it is asked for.

    A final run and a tuning trial share train and validation.
    """
    splits = _without_test(device, data)
    return splits.with_test(_test(device, data)) if with_test else splits


@functools.lru_cache(maxsize=4)
def _without_test(device: torch.device, data: str) -> Splits:
    if data in _borrowed:
        return _borrowed[data].to(device)
    options = json.loads(data)
    return load_splits(options.pop("name"), options, with_test=False).to(device)


@functools.lru_cache(maxsize=4)
def _test(device: torch.device, data: str) -> AnyImages:
    if data in _borrowed_test:
        return _borrowed_test[data].to(device)
    options = json.loads(data)
    return load_test(options.pop("name"), options).to(device)

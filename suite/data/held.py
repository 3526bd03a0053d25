"""The images that this process holds: each part of a data set once, for tuning and final runs alike.

A sweep's coordinator puts the images that it has read on a shelf in shared memory and lends them to its
workers, so that a machine holds them once. A worker reads the images that it has not borrowed.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch

from suite.data import ImageSet, Splits, load_splits, load_test
from suite.machine.errors import UserError
from suite.records.files import canonical
from suite.records.trial import Choice, Stage

ReadTest = Callable[[Choice], ImageSet]


class Loan(NamedTuple):
    """Images in shared memory on their way to a worker; None for a part that the worker is to read."""

    choice: Choice
    splits: Splits | None = None  # without the test part
    test: ImageSet | None = None


class Shelf:
    """The images of an experiment in shared memory. The system frees it with the last process that uses it.

    The test part is read when the first final run needs it, and lent with final runs only.
    """

    def __init__(self) -> None:
        self._splits: dict[str, Splits] = {}
        self._tests: dict[str, ImageSet | None] = {}
        self._read_test: dict[str, ReadTest] = {}

    def put(self, choice: Choice, splits: Splits, read_test: ReadTest = load_test) -> str:
        """Share the images of a data set. Returns the reason if the system cannot share them, else ""."""
        try:
            splits.train.share()
            splits.val.share()
        except RuntimeError as error:
            return str(error).splitlines()[0]
        self._splits[_key(choice)], self._read_test[_key(choice)] = splits, read_test
        return ""

    def loan(self, choice: Choice, stage: Stage) -> Loan:
        """The images that a trial needs. To send them again costs a worker no memory."""
        key = _key(choice)
        if key not in self._splits:
            return Loan(choice)
        if stage == "final" and key not in self._tests:
            self._tests[key] = _shared_test(choice, self._read_test[key])
        return Loan(choice, self._splits[key], self._tests[key] if stage == "final" else None)


def _shared_test(choice: Choice, read_test: ReadTest) -> ImageSet | None:
    try:
        test = read_test(choice)
        test.share()
    except (UserError, OSError, RuntimeError):
        return None  # the worker reads it, and its run fails with the reason
    return test


_borrowed: dict[str, Loan] = {}


def borrow(loan: Loan) -> None:
    """Use these images from now on instead of reading them."""
    _borrowed[_key(loan.choice)] = loan


def splits_on(device: torch.device, choice: Choice, with_test: bool) -> Splits:
    """The images of a data set on a device; the test part only if it is asked for.

    A final run and a tuning trial share train and validation.
    """
    wanted = _Wanted(device, _key(choice), choice)
    splits = _without_test(wanted)
    return splits.with_test(_test(wanted)) if with_test else splits


@dataclass(frozen=True)
class _Wanted:
    """A data set on a device, hashable: `key` stands for the choice."""

    device: torch.device
    key: str
    choice: Choice = field(compare=False)


@functools.lru_cache(maxsize=4)
def _without_test(wanted: _Wanted) -> Splits:
    splits = _borrowed.get(wanted.key, Loan(wanted.choice)).splits
    return (splits or load_splits(wanted.choice)).to(wanted.device)


@functools.lru_cache(maxsize=4)
def _test(wanted: _Wanted) -> ImageSet:
    test = _borrowed.get(wanted.key, Loan(wanted.choice)).test
    return (load_test(wanted.choice) if test is None else test).to(wanted.device)


def _key(choice: Choice) -> str:
    return canonical(choice.as_json())

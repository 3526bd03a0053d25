"""The images that a sweep lends to its workers. Those of a plugin are read in a process of its own."""

import functools
import pickle
from collections.abc import Callable
from typing import Any

from suite.data import ImageSet, Splits, load_splits, load_test
from suite.data.held import ReadTest
from suite.machine.apart import apart
from suite.records.trial import Choice
from suite.sweep.worker import Files, load_files

LIMIT = 600  # seconds for the test part: the whole sweep waits for it


def read_images(data: Choice, files: Files) -> tuple[Splits, ReadTest]:
    """A data set without its test part, and what reads that part later.

    files: that of the data set, if it is not in the catalogue. UserError if its code fails, or its images
    are of a type of their own.
    """
    if not files:
        return load_splits(data), load_test
    return _read_apart(files, float("inf"), _splits, data), functools.partial(_test_apart, files)


def _test_apart(files: Files, data: Choice) -> ImageSet:
    return _read_apart(files, LIMIT, load_test, data)


def _splits(data: Choice) -> Splits:
    return load_splits(data)


def _read_apart(files: Files, limit: float, read: Callable[[Choice], Any], data: Choice) -> Any:
    return pickle.loads(apart(files.values(), _pickled, files, read, data, limit=limit))


def _pickled(files: Files, read: Callable[[Choice], Any], data: Choice) -> bytes:
    """The images as bytes: a pipe alone would send them as shared memory, which ends with this process."""
    load_files(files)
    return pickle.dumps(read(data))

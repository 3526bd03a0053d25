"""A request to stop soon: SIGTERM, as schedulers send it some time before they take a machine back.

A training checks `requested` between two steps, saves its state and raises StopRequested. The command then
ends with EXIT_CODE, which lets a scheduler start the same command again: it resumes from there.
"""

import os
import signal
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

EXIT_CODE = os.EX_TEMPFAIL  # 75: a failure of the moment, try again

Item = TypeVar("Item")
_stop = threading.Event()


class StopRequested(Exception):
    """The process was asked to stop, and the state of its run is saved."""


def end_at_sigterm() -> None:
    """Let SIGTERM end this process with EXIT_CODE, after cleaning up; main thread only."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_CODE))


def heed_sigterm() -> None:
    """Let SIGTERM ask this process to stop soon instead of ending it; main thread only."""
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())


def unless_stopped(items: Iterable[Item]) -> Iterator[Item]:
    """The items, one after another; raises StopRequested as soon as this process is asked to stop."""
    for item in items:
        if requested():
            raise StopRequested("stopped between two batches")
        yield item


def requested() -> bool:
    """Whether this process was asked to stop."""
    return _stop.is_set()

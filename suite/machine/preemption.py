"""A request to stop soon: SIGTERM, as schedulers send it some time before they take a machine back.

Whoever trains looks at `requested` between two steps, saves what it has, and raises Preempted. The command
ends with EXIT_CODE, which tells a scheduler to start the same command again: it goes on from there.
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


class Preempted(Exception):
    """The run was told to stop and has saved its state."""


def end_at_sigterm() -> None:
    """From now on SIGTERM ends this process with EXIT_CODE, after cleaning up; main thread only."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(EXIT_CODE))


def heed_sigterm() -> None:
    """From now on SIGTERM asks this process to stop soon instead of ending it; main thread only."""
    signal.signal(signal.SIGTERM, lambda *_: _stop.set())


def unless_stopped(items: Iterable[Item]) -> Iterator[Item]:
    """The same, one after another; Preempted as soon as this process is asked to stop."""
    for item in items:
        if requested():
            raise Preempted("stopped between two batches")
        yield item


def requested() -> bool:
    """Whether this process was asked to stop."""
    return _stop.is_set()

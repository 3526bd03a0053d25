"""A request to stop soon: SIGTERM, as schedulers send it some time before they take a machine back.

A training checks `requested` between two steps, saves its state and raises StopRequested. The command then
ends with EXIT_CODE, which lets a scheduler start the same command again: it resumes from there.
"""

import os
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TypeVar

EXIT_CODE = os.EX_TEMPFAIL  # 75: a failure of the moment, try again
INTERRUPTED = 130

Item = TypeVar("Item")
_stop = threading.Event()


class StopRequested(Exception):
    """The process was asked to stop, and the state of its run is saved."""


def end_at_sigterm() -> None:
    """Let SIGTERM end this process with EXIT_CODE, after cleaning up; main thread only."""

    def end(number: int, frame: FrameType | None) -> None:
        _end_inside_import(frame, EXIT_CODE)
        raise SystemExit(EXIT_CODE)

    signal.signal(signal.SIGTERM, end)


def end_at_sigint() -> None:
    """Let Ctrl-C raise KeyboardInterrupt, as is usual, but not inside an import; main thread only."""

    def end(number: int, frame: FrameType | None) -> None:
        _end_inside_import(frame, INTERRUPTED)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, end)


def _end_inside_import(frame: FrameType | None, code: int) -> None:
    """End at once if a module is being imported: half a library raises errors of its own."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(code)
        frame = frame.f_back


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

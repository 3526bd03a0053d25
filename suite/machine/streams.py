"""The standard streams of a process: they are there, take every character, and cannot end the process.

A sweep must not fail because nobody reads what it prints: the terminal of its session is gone, the reader of
its pipe has ended, or the encoding of the terminal lacks a letter.
"""

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO


class _Forgiving(io.FileIO):
    """A stream that discards everything from the first write on that fails; `lost` is why."""

    lost: OSError | None = None

    def write(self, content: Any, /) -> int | None:
        try:
            return super().write(content)
        except OSError as error:
            self.lost = error
            with contextlib.suppress(OSError):
                os.dup2(
                    os.open(os.devnull, os.O_WRONLY), self.fileno()
                )  # for what prints without Python, too
            return memoryview(content).nbytes


def secure_streams(*, results: bool) -> None:
    """Replace stdout and stderr by streams that never raise an error.

    results: whether this process prints results; else its stdout becomes its stderr, so that code of a user
    cannot print between the results of another process.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:  # closed; a file that is opened later would take its number, and what is printed
            os.open(os.devnull, os.O_RDWR)
    _flush()
    if not results:
        os.dup2(2, 1)
    sys.stdout, sys.stderr = (_stream(number, old) for number, old in ((1, sys.stdout), (2, sys.stderr)))


def lost_results() -> str:
    """Why results were lost on stdout, or nothing. A reader that has ended wanted no more of them."""
    _flush()
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    lost = raw.lost if isinstance(raw, _Forgiving) else None
    return "" if lost is None or lost.errno == errno.EPIPE else f"cannot write to stdout: {lost.strerror}"


def _stream(number: int, old: TextIO | None) -> io.TextIOWrapper:
    raw = _Forgiving(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(old, "encoding", None) or "utf-8",
        errors="backslashreplace",
        line_buffering=number == 2 or raw.isatty(),
    )


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.flush()

"""What a rule of the contract has to say about a file, and where in the file that is."""

import inspect
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from suite.machine.errors import described


@dataclass(frozen=True)
class Remark:
    """One sentence about a file. A fault breaks the contract, a note does not; `line` is from 1."""

    text: str
    line: int | None = None
    fault: bool = True


def note(text: str, line: int | None = None) -> Remark:
    """A remark that breaks nothing."""
    return Remark(text, line, fault=False)


def line_of(home: Any, *parts: Any) -> int | None:
    """The first line of the first of these functions or objects that stands in the file of `home`.

    If none does, the line of `home` itself.
    """
    file = _file_of(home)
    for part in (*parts, home):
        if file is not None and _file_of(part) == file:
            return _first_line(part)
    return None


def raised(error: BaseException, home: Any) -> Remark:
    """An error that a rule met, with the last line in the file of `home` that led to it."""
    file = _file_of(home)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    return Remark(described(error).splitlines()[0], frames[-1].lineno if frames else line_of(home))


def _code(part: Any) -> Any:
    """The function that is called: of a functools.partial, of a module, of another object."""
    part = inspect.unwrap(getattr(part, "func", part))
    if inspect.isfunction(part) or inspect.ismethod(part):
        return part
    kind = type(part)
    return getattr(kind, "forward", kind.__call__ if callable(part) else None)


def _file_of(part: Any) -> str | None:
    if isinstance(part, Path):
        return str(part)
    code = getattr(_code(part), "__code__", None)
    return code.co_filename if code else None  # none of what is built in


def _first_line(part: Any) -> int | None:
    code = getattr(_code(part), "__code__", None)
    return code.co_firstlineno if code else None

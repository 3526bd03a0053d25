"""Every call by which a process writes in a folder, counted; at a chosen one it is killed, or the call fails.

For a process that ends with the test, because what is hooked stays hooked. `fsync` is counted and not done,
nor is `sync`: a kill loses nothing that the system has taken, and the tests shall not wait for a disk.
"""

import builtins
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
EVENTS = {"os.rename": "rename", "os.remove": "remove", "os.mkdir": "mkdir", "os.symlink": "symlink"}
Strike = Callable[[Path], None]


class Instants:
    """The calls that write in `folder`. At number `at`, counted from 1, `strike` is called with the path.

    A write that is struck has half of its content on the disk. With `lasting`, all later calls are struck.
    """

    def __init__(
        self, folder: Path, at: int = 0, strike: Strike | None = None, lasting: bool = False
    ) -> None:
        self.folder, self.at, self.strike, self.lasting = str(folder.resolve()), at, strike, lasting
        self.calls: list[str] = []
        self._real_open, self._real_fsync = builtins.open, os.fsync

    def watch(self) -> "Instants":
        """From now on, for the rest of the life of this process."""
        sys.addaudithook(self._audit)
        os.fsync, os.sync = self._fsync, lambda: None
        builtins.open = io.open = self._open  # pathlib has the second
        return self

    def call(self, name: str, path: Any, half: Callable[[], None] | None = None) -> None:
        """Count one call; strike if it is the one."""
        where = os.path.abspath(os.fsdecode(path))
        if not where.startswith(self.folder + os.sep) and where != self.folder:
            return
        self.calls.append(f"{name} {kind_of(where[len(self.folder) + 1 :])}")
        if self.strike and (len(self.calls) == self.at or (self.lasting and len(self.calls) > self.at)):
            if half:
                half()
            self.strike(Path(where))

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in EVENTS:
            self.call(EVENTS[event], arguments[1] if event == "os.rename" else arguments[0])
        elif event == "open" and not isinstance(arguments[0], int) and arguments[2] & WRITING:
            self.call("open", arguments[0])

    def _fsync(self, file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        self.call("fsync", os.readlink(f"/proc/self/fd/{number}"))

    def _open(self, file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
        opened = self._real_open(file, mode, *arguments, **options)
        writing = not isinstance(file, int) and set(mode) & set("wax+")
        return Written(opened, file, self) if writing else opened


class Written:
    """A file that tells of every write to it."""

    def __init__(self, file: Any, path: Any, instants: Instants) -> None:
        self._file, self._path, self._instants = file, path, instants
        self._touched = False

    def write(self, content: Any) -> int:
        def half() -> None:
            self._file.write(content[: len(content) // 2])
            self._file.flush()

        self._touched = True
        self._instants.call("write", self._path, half)
        return self._file.write(content)

    def flush(self) -> None:
        self._instants.call("flush", self._path)
        self._file.flush()

    def close(self) -> None:
        if not self._file.closed:
            self._file.close()
            if self._touched:  # only here do some file systems tell of a full disk
                self._instants.call("close", self._path)

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def kind_of(path: str) -> str:
    """A path without what differs from run to run: `runs/*/.result.json.*.tmp`."""
    path = re.sub(r"^runs/[0-9a-f]{16}", "runs/*", path)
    return re.sub(r"\.\d+\.tmp$", ".*.tmp", path)


def kill(path: Path) -> None:
    """End this process as a power cut would end it."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail(number: int, path: Path) -> None:
    """Let the call raise this OSError."""
    raise OSError(number, os.strerror(number), str(path))

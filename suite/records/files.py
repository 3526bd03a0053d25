"""How records are written: whole or not at all, sealed, and by one owner of a folder.

Nothing here imports torch, so that the report can read records where torch is not installed.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import itertools
import json
import os
import re
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

TORN = re.compile(r"\..+\.[0-9]+\.tmp")  # names of files that were not finished
SEAL = "checksum"  # the key of a JSON file's checksum of itself
LOOK = 0.05  # seconds, many times longer than a check of a lock takes


class DamagedRecord(ValueError):
    """The content of a record's file is not as it was written."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} is damaged: {problem}")
        self.path, self.problem = path, problem

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedRecord, (self.path, self.problem)  # it is sent from worker to coordinator


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


class WriteError(OSError):
    """Something cannot be written to `path`. The message names it, the reason, and what to do."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(f"cannot write {path}: {error.strerror}{REMEDIES.get(error.errno or 0, '')}")
        self.path, self.errno, self.strerror = path, error.errno, error.strerror

    def __str__(self) -> str:
        return str(self.args[0])

    def __reduce__(self) -> tuple[Any, ...]:
        return WriteError, (self.path, OSError(self.errno, self.strerror))


REMEDIES = {
    errno.ENOSPC: "; free some space, then the same command resumes from here",
    errno.EDQUOT: "; free some of your quota, then the same command resumes from here",
    errno.EROFS: "; make it writable, then the same command resumes from here",
    errno.EACCES: "; make it writable, then the same command resumes from here",
    errno.EIO: "; the disk or its connection is failing: mend it, then the same command resumes from here",
    errno.EFBIG: "; raise the limit on file sizes, then the same command resumes from here",
    errno.EEXIST: "; a file is in the place of a folder: move it away",
    errno.ENOTDIR: "; a file is in the place of a folder: move it away",
    errno.ELOOP: "; it is a link, and no link is followed to where it leads: move it away",
}


def read_bytes(path: Path) -> bytes:
    """The content of a file; raises as `open_to_read`."""
    with open_to_read(path) as file:
        return file.read()


@contextlib.contextmanager
def open_to_read(path: Path) -> Iterator[BinaryIO]:
    """A file; FileNotFoundError if it is absent, DamagedRecord if it is no file at all.

    What lies in a file's place may be a folder, or a named pipe, which would make a reader wait for ever.
    """
    try:
        file = open(_never_waiting(str(path), os.O_RDONLY), "rb")  # noqa: SIM115 - closed below
    except IsADirectoryError:
        raise DamagedRecord(path, "a folder is in its place") from None
    except NotAFile:
        raise DamagedRecord(path, "it is not a file: a pipe or a device is in its place") from None
    except NotADirectoryError:
        raise DamagedRecord(path, "a file is in the place of its folder") from None
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise DamagedRecord(path, "it is a link that leads to itself") from None
        raise
    with file:
        yield file


class NotAFile(OSError):
    """A pipe, a socket or a device is where a file belongs."""


def opener_to_write(path: str, flags: int) -> int:
    """For `open`, wherever a file of a record is opened to be written: it follows no link and never waits."""
    return _never_waiting(path, flags | os.O_NOFOLLOW)


def _never_waiting(path: str, flags: int) -> int:
    try:
        descriptor = os.open(path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o666)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a pipe without a reader, or a socket
            raise NotAFile(errno.EINVAL, "It is not a file", path) from None
        raise
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISREG(kind):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    raise NotAFile(errno.EINVAL, "It is not a file", path)


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, flush to disk, rename: the file is the old one or the new one, never a part."""
    with written_whole(path) as file:
        file.write(content)


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete and on disk. A link in its place is replaced."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with _new(aside) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        flush_folder(path.parent)


def _new(aside: Path) -> BinaryIO:
    try:
        return open(aside, "xb", opener=opener_to_write)
    except FileExistsError:  # left by a killed process that had the same number
        aside.unlink()
        return open(aside, "xb", opener=opener_to_write)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns every error of the system in this block into a WriteError of `path`."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(path, error) from None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably, if they do not exist; WriteError as in `writing`."""
    with writing(folder):
        missing = itertools.takewhile(lambda each: not each.is_dir(), (folder, *folder.parents))
        for each in reversed(list(missing)):
            each.mkdir(exist_ok=True)
            flush_folder(each.parent)


def make_part(folder: Path) -> None:
    """Make a folder inside a record's one; WriteError for a link, which would lead all writes elsewhere."""
    with writing(folder):
        if folder.is_symlink():
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(folder))
    make_folder(folder)


def clear_torn(folder: Path) -> None:
    """Remove the unfinished files that a killed owner of this folder left: `.name.process.tmp`."""
    with writing(folder):
        for torn in folder.glob(".*.tmp"):
            if TORN.fullmatch(torn.name) and (torn.is_symlink() or torn.is_file()):
                torn.unlink(missing_ok=True)


def flush_folder(folder: Path) -> None:
    """Make a rename durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Readable JSON, atomically, sealed with a checksum of its own content."""
    write_atomically(path, sealed(value))


def sealed(value: dict[str, Any]) -> bytes:
    """The content of a sealed JSON file: readable, with a checksum of its other keys."""
    assert SEAL not in value
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    whole = {**value, SEAL: digest(json.loads(text))}  # of the value as it will be read: JSON has no tuples
    return (json.dumps(whole, indent=1, ensure_ascii=False) + "\n").encode()


def read_json(path: Path) -> dict[str, Any]:
    """The value that `write_json` wrote; raises DamagedRecord if the file does not hold it.

    Raises FileNotFoundError if it is absent.
    """
    return unsealed(read_bytes(path), path)


def unsealed(content: bytes, path: Path) -> dict[str, Any]:
    """The value in the content of a sealed JSON file; DamagedRecord names its path."""
    try:
        value = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(path, str(error)) from None
    if not isinstance(value, dict):
        raise DamagedRecord(path, f"it holds a {type(value).__name__}, not an object")
    try:
        seal, intact = value.pop(SEAL, None), digest(value)
    except ValueError as error:  # NaN is no JSON, and is never written here
        raise DamagedRecord(path, str(error)) from None
    if seal != intact:
        raise DamagedRecord(path, "its content does not match its checksum" if seal else "it has no checksum")
    return value


def with_checksum(content: bytes) -> bytes:
    """Bytes as they are written when they are no JSON: their sha256, 32 bytes, then the content."""
    return hashlib.sha256(content).digest() + content


def without_checksum(content: bytes, path: Path) -> bytes:
    """The bytes that `with_checksum` was given; DamagedRecord names the path."""
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise DamagedRecord(path, "its content does not match its checksum")
    return content[32:]


def set_aside(path: Path) -> Path:
    """Rename a damaged file to `<name>.damaged`, so that it can be examined; an earlier one stays."""
    names = itertools.chain(["damaged"], (f"{number}.damaged" for number in itertools.count(2)))
    aside = next(
        aside for name in names if not os.path.lexists(aside := path.with_name(f"{path.name}.{name}"))
    )
    with writing(aside):
        os.replace(path, aside)
    return aside


def write_array(path: Path, array: np.ndarray) -> None:
    """A NumPy file, atomically; compressed with the name `flips` when the suffix is .npz."""
    buffer = io.BytesIO()
    if path.suffix == ".npz":
        np.savez_compressed(buffer, flips=array)
    else:
        np.save(buffer, array, allow_pickle=False)
    write_atomically(path, buffer.getvalue())


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[bool]:
    """Whether this process alone may write in `folder`; the system frees the lock of a dead owner.

    Raises WriteError if the folder cannot be made or written.
    """
    make_folder(folder)
    with writing(folder / ".lock"):
        # "a" empties nothing; closed below, here only its errors are caught.
        lock = open(folder / ".lock", "a", opener=opener_to_write)  # noqa: SIM115
    with lock:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # an owner, or a check that lets go at once: `is_owned`
                time.sleep(LOOK)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError as error:  # a network file system without locks: two owners would not see each other
            raise OSError(
                f"cannot lock {folder}: {error.strerror}; results need a file system with working flock"
            ) from None
        else:
            yield True


def is_owned(folder: Path) -> bool:
    """Whether a process, on this machine or another, is inside `owned(folder)` now; nothing is written.

    The lock is taken, shared, for an instant: no other way works on every system. `owned` tries twice, with
    more time between, so that a check never keeps an owner out.
    """
    try:
        lock = open(folder / ".lock", "rb", opener=_never_waiting)  # noqa: SIM115 - closed below
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotAFile):
        return False  # `owned` refuses what is no file
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

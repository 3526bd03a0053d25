"""What is written to disk and how: whole or not at all. The layout is described in results/README.md.

Nothing here imports torch, so that the report can read records where torch is not installed.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PROTOCOL = 3  # part of every run_id: raise it when a trial would give other numbers, or say more
FORMAT = 2  # of the files
SEAL = "checksum"  # the key of a JSON file's checksum of itself
LOOK = 0.05  # seconds, many times what a look at a lock takes


class DamagedRecord(ValueError):
    """A file of a record does not hold what was written to it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path} is damaged: {problem}")
        self.path, self.problem = path, problem

    def __reduce__(self) -> tuple[Any, ...]:
        return DamagedRecord, (self.path, self.problem)  # it crosses from worker to coordinator


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, flush to disk, rename: the file is the old one or the new one, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with open(aside, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                aside.unlink()
            raise
        _flush_folder(path.parent)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever error the system has in there names the file, and what to do."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from None


def cannot_write(path: Path, error: OSError) -> OSError:
    """The same error, with a message that names the file and what to do."""
    told = OSError(f"cannot write {path}: {error.strerror}{REMEDIES.get(error.errno or 0, '')}")
    told.errno = error.errno
    return told


REMEDIES = {
    errno.ENOSPC: "; free some space, then the same command goes on from here",
    errno.EDQUOT: "; free some of your quota, then the same command goes on from here",
    errno.EROFS: "; make it writable, then the same command goes on from here",
    errno.EACCES: "; make it writable, then the same command goes on from here",
    errno.EIO: "; the disk or its connection is failing: mend it, then the same command goes on from here",
    errno.EFBIG: "; raise the limit on file sizes, then the same command goes on from here",
}


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, durably, where there are none; OSError as in `writing`."""
    with writing(folder):
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            _flush_folder(folder.parent)


def clear_torn(folder: Path) -> None:
    """Remove the files that a killed owner of this folder was writing aside."""
    with writing(folder):
        for torn in folder.glob(".*.tmp"):
            torn.unlink(missing_ok=True)


def _flush_folder(folder: Path) -> None:
    """Make a rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Readable JSON, atomically, sealed with a checksum of its own content."""
    assert SEAL not in value
    text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    sealed = {**value, SEAL: digest(json.loads(text))}  # of what will be read: JSON knows no tuples
    write_atomically(path, (json.dumps(sealed, indent=1, ensure_ascii=False) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """What `write_json` was given; DamagedRecord if that is not what the file holds.

    FileNotFoundError if it is absent.
    """
    return unsealed(path.read_bytes(), path)


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
    except ValueError as error:  # NaN is no JSON, and nothing here writes it
        raise DamagedRecord(path, str(error)) from None
    if seal != intact:
        raise DamagedRecord(path, "its content does not match its checksum" if seal else "it has no checksum")
    return value


def set_aside(path: Path) -> Path:
    """Move a damaged file out of the way, keeping it for whoever wants to know why."""
    aside = path.with_name(path.name + ".damaged")
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


class RunFolder:
    """The record of one training run."""

    VOUCHED = ("trial.json", "environment.json", "epochs.jsonl", "flips.npz", "test_correct.npy")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.step = 0  # how far this process has brought the run, for whoever must say where it failed
        self.notes: list[str] = []  # what of it was damaged, and what became of that

    def result(self) -> dict[str, Any] | None:
        """The result of a finished run, else None; DamagedRecord if it cannot be trusted."""
        return self._own("result.json")

    def whole(self) -> dict[str, Any] | None:
        """The result, if all that it vouches for is there and as it was; DamagedRecord names what is not."""
        result = self.result()
        if result is not None:
            for name in result["files"]:
                self.content(name, result)
        return result

    def _own(self, name: str) -> dict[str, Any] | None:
        """A file that names the run it belongs to; None if it is absent."""
        path = self.path / name
        try:
            value = read_json(path)
        except FileNotFoundError:
            return None
        if (run := value.pop("run", None)) != self.path.name:
            raise DamagedRecord(path, f"it is that of run {run}")
        return value

    def content(self, name: str, result: dict[str, Any]) -> bytes:
        """A file of a finished run; DamagedRecord unless it is the one that the result vouches for."""
        path = self.path / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            raise DamagedRecord(path, "it does not exist") from None
        if hashlib.sha256(content).hexdigest() != result["files"].get(name):
            raise DamagedRecord(path, "its content does not match the checksum in result.json")
        return content

    def epochs(self, result: dict[str, Any]) -> list[dict[str, Any]]:
        """The lines of a finished run's epochs.jsonl; DamagedRecord as in `content`."""
        return [json.loads(line) for line in self.content("epochs.jsonl", result).splitlines()]

    def flips(self, result: dict[str, Any]) -> np.ndarray:
        """The flips of a finished run, int32 (steps, layers); DamagedRecord as in `content`."""
        return np.load(io.BytesIO(self.content("flips.npz", result)), allow_pickle=False)["flips"]

    def environment(self) -> dict[str, Any]:
        """Where the run was made."""
        return read_json(self.path / "environment.json")

    def failure(self) -> dict[str, Any] | None:
        """Why the last attempt failed, if it did."""
        return self._own("failure.json")

    def begin(self, trial: dict[str, Any], environment: dict[str, Any]) -> None:
        """Write down what is going to run, and where."""
        make_folder(self.path)
        with writing(failure := self.path / "failure.json"):
            failure.unlink(missing_ok=True)
        write_json(self.path / "trial.json", trial)
        write_json(self.path / "environment.json", environment)

    def append_epoch(self, line: dict[str, Any]) -> None:
        """Add one line to epochs.jsonl."""
        path = self.path / "epochs.jsonl"
        with writing(path), open(path, "a", encoding="utf-8") as file:
            file.write(canonical(line) + "\n")

    def write_array(self, name: str, array: np.ndarray) -> None:
        """A NumPy file of the record, as `write_array`."""
        write_array(self.path / name, array)

    def keep_epochs(self, lines: list[dict[str, Any]]) -> None:
        """Let epochs.jsonl hold exactly these lines: what a resumed run starts from."""
        write_atomically(
            self.path / "epochs.jsonl", "".join(canonical(line) + "\n" for line in lines).encode()
        )

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        """The last file of a run: with it the run is done and nothing in the folder changes any more.

        It is the result and the hashes of the run's other files; returned as it was written.
        """
        present = [path for name in self.VOUCHED if (path := self.path / name).exists()]
        files = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in present}
        whole = {**result, "files": files}
        write_json(self.path / "result.json", {"run": self.path.name, **whole})
        self.clear_leftovers()
        return whole

    def clear_leftovers(self) -> None:
        """Remove what a finished run needs no more, also after a kill between its result and this."""
        clear_torn(self.path)
        for leftover in (*self.path.glob("checkpoint*.pt"), self.path / "failure.json"):
            with writing(leftover):
                leftover.unlink(missing_ok=True)

    def fail(self, kind: str, error: str, where: str = "", traceback: str = "") -> None:
        """Say why there is no result: what kind of failure, its message, and how far the run had come."""
        make_folder(self.path)
        failure = {"status": "failed", "kind": kind, "error": error, "where": where, "traceback": traceback}
        write_json(self.path / "failure.json", {"run": self.path.name, **failure})


class SilentRunFolder(RunFolder):
    """The record as a process has it that helps to train the run: it may look, and writes nothing."""

    def begin(self, trial: dict[str, Any], environment: dict[str, Any]) -> None: ...

    def append_epoch(self, line: dict[str, Any]) -> None: ...

    def write_array(self, name: str, array: np.ndarray) -> None: ...

    def keep_epochs(self, lines: list[dict[str, Any]]) -> None: ...

    def finish(self, result: dict[str, Any]) -> dict[str, Any]:
        return {**result, "files": {}}


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[bool]:
    """Whether this process alone may write in `folder`; the system frees the lock of a dead owner.

    OSError names the folder if it cannot be made or written.
    """
    make_folder(folder)
    with writing(folder):
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - closed below; here only its errors are caught
    with lock:
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # an owner, or somebody who looks for one and lets go at once: `is_owned`
                time.sleep(LOOK)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        except OSError as error:  # some network file systems cannot: two owners would not see each other
            raise OSError(
                f"cannot lock {folder}: {error.strerror}; results need a file system with working flock"
            ) from None
        else:
            yield True


def is_owned(folder: Path) -> bool:
    """Whether a process, on this machine or another, is inside `owned(folder)` now; nothing is written.

    Only trying can tell on every system: the lock is taken, shared, for an instant. `owned` tries twice,
    further apart than that, so that looking keeps nobody out.
    """
    try:
        lock = open(folder / ".lock", "rb")  # noqa: SIM115 - closed below; here only its absence is caught
    except (FileNotFoundError, NotADirectoryError):
        return False
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False

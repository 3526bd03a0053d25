"""What is written to disk and how: whole or not at all. The layout is described in results/README.md.

Nothing here imports torch, so that the report can read records where torch is not installed.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

PROTOCOL = 1  # part of every run_id: raise it when the same trial would give other numbers
FORMAT = 1  # of the files


class DamagedRecord(ValueError):
    """A file of a record does not hold what it must; the message names it."""


def canonical(value: Any) -> str:
    """The one JSON text of a value: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def digest(value: Any) -> str:
    """sha256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def write_atomically(path: Path, content: bytes) -> None:
    """Write aside, flush to disk, rename: the file is the old one or the new one, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(aside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            aside.unlink()
        if isinstance(error, OSError):
            raise OSError(f"cannot write {path}: {error.strerror}") from None
        raise
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename itself durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_json(path: Path, value: Any) -> None:
    """Readable JSON, atomically."""
    text = json.dumps(value, indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(path, (text + "\n").encode())


def read_json(path: Path) -> Any:
    """The value in a JSON file; DamagedRecord if it is no JSON, FileNotFoundError if it is absent."""
    return _parsed(path.read_bytes(), path)


def _parsed(content: bytes, path: Path) -> Any:
    try:
        return json.loads(content.decode(), parse_constant=_no_number, object_pairs_hook=_no_key_twice)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(f"{path} is damaged: {error}") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no JSON, and nothing here writes it")


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError("a key stands twice")
    return value


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

    def __init__(self, path: Path) -> None:
        self.path = path

    def result(self) -> dict[str, Any] | None:
        """The result of a finished run, else None; DamagedRecord if it cannot be read."""
        try:
            result = read_json(self.path / "result.json")
        except FileNotFoundError:
            return None
        if not isinstance(result, dict) or result.get("status") not in ("done", "diverged"):
            raise DamagedRecord(f"{self.path / 'result.json'} is damaged: it has no status")
        return result

    def environment(self) -> dict[str, Any]:
        """Where the run was made."""
        return read_json(self.path / "environment.json")

    def failure(self) -> dict[str, Any] | None:
        """Why the last attempt failed, if it did."""
        try:
            return read_json(self.path / "failure.json")
        except FileNotFoundError:
            return None

    def begin(self, trial: dict[str, Any], environment: dict[str, Any]) -> None:
        """Write down what is going to run, and where."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "failure.json").unlink(missing_ok=True)
        write_json(self.path / "trial.json", trial)
        write_json(self.path / "environment.json", environment)

    def append_epoch(self, line: dict[str, Any]) -> None:
        """Add one line to epochs.jsonl."""
        with open(self.path / "epochs.jsonl", "a", encoding="utf-8") as file:
            file.write(canonical(line) + "\n")

    def epochs(self) -> list[dict[str, Any]]:
        """The lines of epochs.jsonl, epochs 1, 2, 3 …; DamagedRecord if one is torn or missing."""
        path = self.path / "epochs.jsonl"
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return []
        lines = [_parsed(line, path) for line in content.splitlines()]
        numbers = [line.get("epoch") if isinstance(line, dict) else None for line in lines]
        if numbers != list(range(1, len(lines) + 1)):
            raise DamagedRecord(f"{path} is damaged: its lines are the epochs {numbers}")
        return lines

    def keep_epochs(self, lines: list[dict[str, Any]]) -> None:
        """Let epochs.jsonl hold exactly these lines: what a resumed run starts from."""
        write_atomically(
            self.path / "epochs.jsonl", "".join(canonical(line) + "\n" for line in lines).encode()
        )

    def finish(self, result: dict[str, Any]) -> None:
        """The last file of a run: with it the run is done and nothing in the folder changes any more."""
        write_json(self.path / "result.json", result)
        torn = self.path.glob(".*.tmp")  # of an owner that was killed while it wrote
        for leftover in (*self.path.glob("checkpoint*.pt"), *torn, self.path / "failure.json"):
            leftover.unlink(missing_ok=True)

    def fail(self, error: str, traceback: str) -> None:
        """Say why there is no result."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "failure.json", {"status": "failed", "error": error, "traceback": traceback})

    def set_aside_damaged_result(self) -> None:
        """Move a damaged result out of the way, keeping it for whoever wants to know why."""
        path = self.path / "result.json"
        os.replace(path, path.with_name("result.json.damaged"))


@contextlib.contextmanager
def owned(folder: Path) -> Iterator[bool]:
    """Whether this process alone may write in `folder`; the system frees the lock of a dead owner.

    OSError names the folder if it cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "w")  # noqa: SIM115 - closed below; here only its errors are caught
    except OSError as error:
        raise OSError(f"cannot write in {folder}: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True

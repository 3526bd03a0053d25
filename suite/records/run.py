"""The folder of one training run: its files, and their hashes in its result."""

import contextlib
import hashlib
import io
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from suite.records.codec import decode, encode
from suite.records.files import (
    DamagedRecord,
    canonical,
    clear_torn,
    make_part,
    opener_to_write,
    owned,
    read_bytes,
    read_json,
    write_array,
    write_atomically,
    write_json,
    writing,
)
from suite.records.schema import Environment, EpochLine, Failure, Result
from suite.records.trial import Trial

Kind = TypeVar("Kind")
# What the readers of arrays and of counts raise for content of another shape than docs/records.md says.
NOT_AS_DESCRIBED = (ValueError, LookupError, TypeError, EOFError, zipfile.BadZipFile, zlib.error)
CHECKPOINTS = ("checkpoint.pt", "checkpoint.previous.pt")  # the newest, and the one before
WEIGHTS = "weights.safetensors"  # the network of a final run, where it is asked for: suite/records/weights.py
FILES = (
    "trial.json",
    "environment.json",
    "epochs.jsonl",
    "flips.npz",
    "test_correct.npy",
    WEIGHTS,
)  # besides the result


class RunFolder:
    """The record of one training run. Readers raise DamagedRecord for a file that cannot be trusted."""

    def __init__(self, path: Path) -> None:
        self.path = path

    # ---- reading

    def trial(self) -> Trial:
        """The trial; FileNotFoundError if it is absent."""
        path = self.path / "trial.json"
        return decode(Trial, read_json(path), path)

    @contextlib.contextmanager
    def owned(self) -> Iterator[bool]:
        """Whether this process alone may write here; a link in the folder's place is refused."""
        for part in (self.path.parent, self.path):
            make_part(part)
        with owned(self.path) as mine:
            yield mine

    def environment(self) -> Environment:
        """Where the run was made; FileNotFoundError if that is absent."""
        path = self.path / "environment.json"
        return decode(Environment, read_json(path), path)

    def result(self) -> Result | None:
        """The result of a finished run, else None."""
        return self._own("result.json", Result)

    def failure(self) -> Failure | None:
        """Why the last attempt failed, if it did."""
        return self._own("failure.json", Failure)

    def whole(self) -> Result | None:
        """The result, after all files that it lists were compared with their hashes; else None."""
        result = self.result()
        if result is not None:
            for name in self.expected(result):
                self.content(name, result)
        return result

    def expected(self, result: Result) -> list[str]:
        """The files of a finished run that must be here: all that its result lists.

        The kept network may be absent: archives do not hold it, and a user may want the space.
        """
        return [name for name in result.files if name != WEIGHTS or self.holds_weights(result)]

    def holds_weights(self, result: Result) -> bool:
        """Whether this run kept its network, and the file is here."""
        return WEIGHTS in result.files and os.path.lexists(self.path / WEIGHTS)

    def lacks_weights(self, trial: Trial, result: Result) -> bool:
        """Whether a finished run could have kept its network, and it is not here."""
        return trial.stage == "final" and result.status == "done" and not self.holds_weights(result)

    def content(self, name: str, result: Result) -> bytes:
        """A file of a finished run; DamagedRecord if its hash is not the one in the result."""
        path = self.path / name
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            raise DamagedRecord(path, "it does not exist") from None
        if hashlib.sha256(content).hexdigest() != result.files.get(name):
            raise DamagedRecord(path, "its content does not match the checksum in result.json")
        return content

    def epochs(self, result: Result) -> list[EpochLine]:
        """The epochs of a finished run; DamagedRecord as in `content`."""
        return parse_epochs(self.content("epochs.jsonl", result), self.path / "epochs.jsonl")

    def epochs_so_far(self) -> list[EpochLine]:
        """The epochs of a run in progress. Its last line may be half written, and is left out then."""
        path = self.path / "epochs.jsonl"
        try:
            content = read_bytes(path)
        except FileNotFoundError:
            return []
        lines = parse_epochs(content[: content.rfind(b"\n") + 1], path)
        if [line.epoch for line in lines] != list(range(1, len(lines) + 1)):
            raise DamagedRecord(path, f"its {len(lines)} lines are not the epochs from 1 on")
        return lines

    def flips(self, result: Result) -> np.ndarray:
        """The flips of a finished final run, int32 (steps, layers); DamagedRecord as in `content`."""
        return np.load(io.BytesIO(self.content("flips.npz", result)), allow_pickle=False)["flips"]

    def _own(self, name: str, kind: type[Kind]) -> Kind | None:
        """A file that names the run it belongs to; None if it is absent."""
        path = self.path / name
        try:
            value = read_json(path)
        except FileNotFoundError:
            return None
        if (run := value.pop("run", None)) != self.path.name:
            raise DamagedRecord(path, f"it is that of run {run}")
        return decode(kind, value, path)

    # ---- writing

    def begin(self, trial: Trial, environment: Environment, epochs: Sequence[EpochLine] = ()) -> None:
        """Write the trial, the environment, and the epochs that a resumed run starts from."""
        make_part(self.path)
        with writing(failure := self.path / "failure.json"):
            failure.unlink(missing_ok=True)
        write_json(self.path / "trial.json", trial.as_json())
        write_json(self.path / "environment.json", encode(environment))
        self._write_epochs(epochs)

    def append_epoch(self, line: EpochLine) -> None:
        """Add one line to epochs.jsonl."""
        path = self.path / "epochs.jsonl"
        with writing(path), open(path, "a", encoding="utf-8", opener=opener_to_write) as file:
            file.write(canonical(encode(line)) + "\n")

    def finish(
        self,
        result: Result,
        epochs: Sequence[EpochLine],
        flips: np.ndarray | None = None,
        test_correct: np.ndarray | None = None,
        weights: bytes | None = None,
    ) -> Result:
        """Write the last files. With result.json the run is done, and its folder never changes again.

        flips: int32 (steps, layers), test_correct: packed bits, one for each test image, and weights: the
        content of weights.safetensors: final runs only.
        Returns the result with the hashes of the other files.
        """
        if test_correct is not None:
            write_array(self.path / "test_correct.npy", test_correct)
        if flips is not None:
            write_array(self.path / "flips.npz", flips)
        if weights is not None:
            write_atomically(self.path / WEIGHTS, weights)
        else:  # an attempt that was killed here may have left the network of another environment
            with writing(self.path / WEIGHTS):
                (self.path / WEIGHTS).unlink(missing_ok=True)
        self._write_epochs(epochs)  # once more, whole and flushed: the result holds its hash
        present = [path for name in FILES if (path := self.path / name).exists()]
        result = replace(result, files={path.name: _sha256(path) for path in present})
        write_json(self.path / "result.json", {"run": self.path.name, **encode(result)})
        self.clear_leftovers()
        return result

    def fail(self, failure: Failure) -> None:
        """Write why there is no result."""
        make_part(self.path)
        write_json(self.path / "failure.json", {"run": self.path.name, **encode(failure)})

    def clear_leftovers(self) -> None:
        """Remove the files that a finished run no longer needs, also if a kill prevented that before."""
        clear_torn(self.path)
        for leftover in map(self.path.joinpath, (*CHECKPOINTS, "failure.json")):
            with writing(leftover):
                leftover.unlink(missing_ok=True)

    def _write_epochs(self, epochs: Sequence[EpochLine]) -> None:
        lines = "".join(canonical(encode(line)) + "\n" for line in epochs)
        write_atomically(self.path / "epochs.jsonl", lines.encode())


def parse_epochs(content: bytes, path: Path) -> list[EpochLine]:
    """The lines of an epochs.jsonl; DamagedRecord names a line that is none."""
    return [
        decode(EpochLine, _object(line, number, path), path)
        for number, line in enumerate(content.splitlines(), 1)
    ]


def _object(line: bytes, number: int, path: Path) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise DamagedRecord(path, f"line {number}: {error}") from None


def _sha256(path: Path) -> str:
    return hashlib.sha256(read_bytes(path)).hexdigest()

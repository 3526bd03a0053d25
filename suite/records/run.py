"""The folder of one training run: what it holds, and what its result vouches for."""

import hashlib
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from suite.records.files import (
    DamagedRecord,
    canonical,
    clear_torn,
    make_folder,
    read_json,
    write_array,
    write_atomically,
    write_json,
    writing,
)


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

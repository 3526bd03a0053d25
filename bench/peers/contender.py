"""A contender as the coordinator sees it: a warm process that is asked one thing at a time."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.peers.networks import Cell

ROOT = Path(__file__).resolve().parents[2]

# One thread each. The coordinator asks one contender at a time, so each has the machine for itself.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


class ContenderError(RuntimeError):
    """A contender ended, or answered what is no answer; the message says who, and what it last wrote."""


class Contender:
    """One process, started in the repository's root; use it in a `with` block."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT):
        self.name = name
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115, lives as long as the process
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        try:
            self.versions: dict[str, str] = self._answer()["versions"]
        except ContenderError:
            self.close()
            raise

    def train(self, cell: Cell, steps: int, fixed_batch: bool = False) -> dict:
        """Have it train so many steps; the answer is that of `bench.peers.protocol`."""
        request = {**cell._asdict(), "steps": steps, "fixed_batch": fixed_batch}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure(f"asked for {request}, but it is gone") from None
        return self._answer()

    def _answer(self) -> dict:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure("it ended")
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise self._failure(f"it answered {line!r}") from None

    def _failure(self, what: str) -> ContenderError:
        self._complaints.seek(0)
        last = self._complaints.read().strip().splitlines()[-8:]
        return ContenderError("\n".join([f"{self.name}: {what}. Its last words:", *last]))

    def close(self) -> None:
        """End it and wait until it has gone."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._complaints.close()

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

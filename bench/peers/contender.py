"""A contender as the coordinator sees it: a warm process that handles one request at a time."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.peers.networks import Cell
from bench.peers.protocol import Answer

ROOT = Path(__file__).resolve().parents[2]

# One thread each. Only one contender works at a time, so each has the machine for itself.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
}


class ContenderError(RuntimeError):
    """A contender ended or sent an invalid answer; the message has its name and its last lines."""


class Contender:
    """One process, started in the repository's root; use it in a `with` block."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str] = ENVIRONMENT):
        self.name = name
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        try:
            self.versions: dict[str, str] = self._read()["versions"]
        except ContenderError:
            self.close()
            raise

    def train(self, cell: Cell, steps: int, fixed_batch: bool = False) -> Answer:
        """Train so many steps; ContenderError if the process ends."""
        request = {**cell._asdict(), "steps": steps, "fixed_batch": fixed_batch}
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure(f"it ended before the request {request}") from None
        return Answer(**self._read())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure("it ended")
        try:
            return json.loads(line)
        except json.JSONDecodeError:
            raise self._failure(f"it wrote {line!r}") from None

    def _failure(self, problem: str) -> ContenderError:
        self._errors.seek(0)
        last = self._errors.read().strip().splitlines()[-8:]
        return ContenderError("\n".join([f"{self.name}: {problem}. The last lines it wrote:", *last]))

    def close(self) -> None:
        """End the process and wait for it."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self) -> "Contender":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

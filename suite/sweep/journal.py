"""The file in which Optuna remembers a study: Optuna's own format, and a checksum in every line."""

import json
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from suite.records.files import SEAL, DamagedRecord, canonical, digest, write_atomically, writing


class Journal(BaseJournalBackend):
    """A journal with one owner: it is read once, needs no lock, and only `flush` writes.

    It is not forced onto the disk, so that a power cut may cost its last lines or the whole: what was drawn
    and what came of it stand in the cell's ledger and in the results, which are. DamagedRecord names a line
    that is not what was written; a last one that was not written to its end is forgotten.
    """

    def __init__(self, path: Path, *, anew: bool = False) -> None:
        self.path = path
        self._logs: list[dict[str, Any]] = []
        self._written = 0  # lines in the file that are whole and the first of these; 0: write it anew
        if not anew and path.exists():
            *lines, torn = path.read_bytes().split(b"\n")
            if not lines:
                raise DamagedRecord(path, "it has not one whole line")
            self._logs = [self._opened(number, line) for number, line in enumerate(lines)]
            self._written = 0 if torn else len(lines)

    def read_logs(self, log_number_from: int) -> list[dict[str, Any]]:
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        self._logs += (json.loads(canonical(log)) for log in logs)

    def flush(self) -> None:
        """Write what is new, in one piece; OSError with a message that names the file."""
        new = [self._sealed(number) for number in range(self._written, len(self._logs))]
        if not self._written:
            write_atomically(self.path, b"".join(new))
        elif new:
            with writing(self.path), open(self.path, "ab") as file:
                file.write(b"".join(new))
        self._written = len(self._logs)

    def _sealed(self, number: int) -> bytes:
        log = self._logs[number]
        return (canonical({**log, SEAL: self._seal(number, log)}) + "\n").encode()

    def _opened(self, number: int, line: bytes) -> dict[str, Any]:
        try:
            log = json.loads(line)
            if log.pop(SEAL, None) == self._seal(number, log):
                return log
        except (ValueError, AttributeError, RecursionError):
            pass
        raise DamagedRecord(self.path, f"line {number + 1} does not match its checksum")

    def _seal(self, number: int, log: dict[str, Any]) -> str:
        """Of a line at its place in this file: lines that were lost, moved or exchanged are noticed too."""
        return digest([self.path.name, number, log])

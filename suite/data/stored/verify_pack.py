"""Check a prepared folder to the last byte."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from suite.data.errors import DataError
from suite.data.stored.packed import MANIFEST, read_manifest, wrong_size


def verify(target: Path, on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
    """Read all of a prepared folder; returns one line for each damaged or absent file.

    on_progress: takes the bytes that are read, and all bytes. DataError if the folder has no valid manifest.
    """
    manifest = read_manifest(target)
    files = [*manifest.shards, manifest.index]
    problems, done, total = [], 0, sum(file.bytes for file in files)
    for file in files:
        path = target / file.name
        if not (problem := wrong_size(path, file.bytes)) and _sha256(path) != file.sha256:
            problem = f"{path} is damaged: its sha256 is not the one in {MANIFEST}"
        if problem:
            problems.append(problem)
        done += file.bytes
        on_progress(done, total)
    return problems


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error

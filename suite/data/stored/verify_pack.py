"""Check a prepared folder to the last byte."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from suite.data.source import DataError
from suite.data.stored.packed import MANIFEST, read_manifest, wrong_size


def verify(target: Path, on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
    """Read all of a prepared folder and say what is damaged or absent, one line each.

    `on_progress` is told how many bytes are read, of how many. DataError if the folder has no whole manifest.
    """
    manifest = read_manifest(target)
    problems, done = [], 0
    files = [*manifest["shards"], manifest["index"]]
    for file in files:
        path = target / file["name"]
        if not (problem := wrong_size(path, file["bytes"])) and _sha256(path) != file["sha256"]:
            problem = f"{path} is damaged: its content is not what {MANIFEST} says"
        if problem:
            problems.append(problem)
        done += file["bytes"]
        on_progress(done, sum(file["bytes"] for file in files))
    return problems


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error

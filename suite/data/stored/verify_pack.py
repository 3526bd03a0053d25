"""Check a prepared folder to the last byte, and that its indexes are those of its shards."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from suite.data.errors import DataError
from suite.data.stored.pack_index import index_of
from suite.data.stored.packed import INDEX, MANIFEST, Manifest, read_manifest, read_shard_record, wrong_size
from suite.records.files import DamagedRecord


def verify(target: Path, on_progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
    """Read all of a prepared folder; returns one line for each damaged, absent or exchanged file.

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
    return problems or _wrong_indexes(target, manifest)


def _wrong_indexes(target: Path, manifest: Manifest) -> list[str]:
    """A line for each index of a shard that belongs to another, or one if index.npy is not all of them."""
    rows, problems = [], []
    for shard in manifest.shards:
        path = (target / shard.name).with_suffix(".json")
        try:
            row = read_shard_record(path)
        except FileNotFoundError:
            problems.append(f"{path} is absent")
            continue
        except DamagedRecord as error:
            problems.append(str(error))
            continue
        if row.shard != shard or not shard.name.startswith(f"{row.part}-"):
            problems.append(f"{path} is not the index of {shard.name}, but that of another {row.shard.name}")
        rows.append(row)
    if problems:
        return problems
    names = [name for row in rows for name in row.images.name]
    index_is_theirs = hashlib.sha256(index_of(rows)).hexdigest() == manifest.index.sha256
    if not index_is_theirs or len(set(names)) != len(names):
        problems.append(
            f"{target / INDEX} does not hold the images of the shards' indexes, each of them once"
        )
    if [image for row in rows for image in row.damaged] != manifest.damaged:
        problems.append(f"{target / MANIFEST} does not name the damaged images of the shards' indexes")
    return problems


def _sha256(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error

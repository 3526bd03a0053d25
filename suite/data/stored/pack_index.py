"""The end of a preparation: one index of all shards, and the manifest with the sha256 of all files."""

import hashlib
import io
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from suite.data.stored.image_tree import ImageTree
from suite.data.stored.packed import COLUMNS, INDEX, MANIFEST, Manifest, PackFile, Settings, ShardRecord
from suite.records.codec import encode
from suite.records.files import write_atomically, write_json


class Summary(NamedTuple):
    """The content of a prepared folder.

    `damaged` names the images that are left out, `skipped` counts the tree's other entries by kind.
    """

    train: int
    val: int
    bytes: int
    shards: int
    made: int  # shards that this call has made; an earlier one had made the others
    damaged: list[str]
    skipped: dict[str, int]


def finish(
    target: Path, tree: ImageTree, settings: Settings, done: list[ShardRecord], *, made: int
) -> Summary:
    """Write the index and then the manifest of shards that are all there, those of train first."""
    content = index_of(done)
    write_atomically(target / INDEX, content)
    counts = {"train": 0, "val": 0}
    for unit in done:
        counts[unit.part] += len(unit.images.name)
    manifest = Manifest(
        **asdict(settings),
        classes=list(tree.classes),
        train=counts["train"],
        val=counts["val"],
        shards=[unit.shard for unit in done],
        index=PackFile(name=INDEX, bytes=len(content), sha256=hashlib.sha256(content).hexdigest()),
        damaged=[image for unit in done for image in unit.damaged],
        skipped=dict(sorted(tree.skipped.items())),
    )
    write_json(target / MANIFEST, encode(manifest))
    size = sum(shard.bytes for shard in manifest.shards)
    names = [image.name for image in manifest.damaged]
    return Summary(manifest.train, manifest.val, size, len(done), made, names, manifest.skipped)


def index_of(done: list[ShardRecord]) -> bytes:
    """The content of index.npy for these shards."""
    names = np.array([name.encode() for unit in done for name in unit.images.name])
    index = np.empty(len(names), dtype=[*COLUMNS.items(), ("name", names.dtype.str)])
    index["name"] = names
    index["shard"] = np.repeat(np.arange(len(done)), [len(unit.images.name) for unit in done])
    for column in list(COLUMNS)[1:]:
        index[column] = np.concatenate(
            [np.array(getattr(unit.images, column), dtype=np.int64) for unit in done]
        )
    buffer = io.BytesIO()
    np.save(buffer, index, allow_pickle=False)
    return buffer.getvalue()

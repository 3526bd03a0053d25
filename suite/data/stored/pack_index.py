"""The end of a preparation: one index of all shards, and the manifest that vouches for them."""

import hashlib
import io
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from suite.data.stored.pack_shard import Settings
from suite.data.stored.packed import COLUMNS, INDEX, MANIFEST
from suite.records.files import write_atomically, write_json


class Summary(NamedTuple):
    """What a prepared folder holds; `damaged` names the images that were left out."""

    train: int
    val: int
    bytes: int
    shards: int
    made: int  # shards; the rest were there from an earlier start
    damaged: list[str]


def finish(
    target: Path, classes: tuple[str, ...], settings: Settings, done: list[dict[str, Any]], *, made: int
) -> Summary:
    """Write the index and then the manifest of shards that are all there, of which `made` are new.

    `done` is what `pack_shard` wrote beside each shard, those of train first.
    """
    index = io.BytesIO()
    np.save(index, _index(done), allow_pickle=False)
    write_atomically(target / INDEX, index.getvalue())
    counts = {"train": 0, "val": 0}
    for shard_record in done:
        counts[shard_record["part"]] += len(shard_record["images"]["name"])
    left_out = [image for shard_record in done for image in shard_record["damaged"]]
    manifest = {
        **settings.as_dict(),
        "classes": list(classes),
        **counts,
        "shards": [shard_record["shard"] for shard_record in done],
        "index": {
            "name": INDEX,
            "bytes": len(index.getvalue()),
            "sha256": hashlib.sha256(index.getvalue()).hexdigest(),
        },
        "damaged": left_out,
    }
    write_json(target / MANIFEST, manifest)
    size = sum(shard["bytes"] for shard in manifest["shards"])
    names = [image["name"] for image in left_out]
    return Summary(counts["train"], counts["val"], size, len(done), made, names)


def _index(done: list[dict[str, Any]]) -> np.ndarray:
    names = np.array([name.encode() for unit in done for name in unit["images"]["name"]])
    index = np.empty(len(names), dtype=[*COLUMNS.items(), ("name", names.dtype.str)])
    index["name"] = names
    sizes = [len(unit["images"]["name"]) for unit in done]
    index["shard"] = np.repeat(np.arange(len(done)), sizes)
    for column in list(COLUMNS)[1:]:
        index[column] = np.concatenate([np.array(unit["images"][column], dtype=np.int64) for unit in done])
    return index

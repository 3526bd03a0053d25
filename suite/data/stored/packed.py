"""The prepared form of a tree of images: few large files instead of a million small ones.

    prepared.json      the manifest, written last: how it was made, and the size and sha256 of what follows
    index.npy          one row per image, those of train first: where it is, how large, its class and its name
    train-00000.bin    a shard: image after image, with nothing between them
    train-00000.json   that shard's part of the index, from which an interrupted `prepare` goes on

An image is a JPEG file ("jpeg") or its bare pixels, uint8 (height, width, 3) ("pixels").
"""

import hashlib
import io
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from suite.data.source import DataError
from suite.data.stored.decode import decode
from suite.records.files import DamagedRecord, read_json

Encoding = Literal["jpeg", "pixels"]
MANIFEST, INDEX = "prepared.json", "index.npy"
VERSION = 1  # of the layout above
COLUMNS = {"shard": "<i4", "offset": "<i8", "length": "<i8", "height": "<i4", "width": "<i4", "label": "<i8"}
REPAIR = "delete it and run `flipbench prepare` again, which makes what is absent"


@dataclass(frozen=True)
class Pack:
    """A prepared folder, opened: the manifest, and a reader of which train's images are the first."""

    manifest: dict[str, Any]
    labels: np.ndarray  # int64 (train + val,)
    reader: "PackReader"


def open_pack(folder: Path) -> Pack:
    """A prepared folder. DataError unless its manifest and index are whole and all shards have their sizes.

    What is inside the shards is for `verify` to check: that takes as long as reading them.
    """
    manifest = read_manifest(folder)
    content = _content(folder / INDEX)
    if hashlib.sha256(content).hexdigest() != manifest["index"]["sha256"]:
        raise DataError(f"{folder / INDEX} is damaged: it is not what {MANIFEST} says; {REPAIR}")
    for shard in manifest["shards"]:
        if problem := wrong_size(folder / shard["name"], shard["bytes"]):
            raise DataError(f"{problem}; {REPAIR}")
    labels = np.load(io.BytesIO(content), allow_pickle=False)["label"].copy()
    shards = tuple(shard["name"] for shard in manifest["shards"])
    return Pack(manifest, labels, PackReader(folder, manifest["encoding"], shards))


def read_manifest(folder: Path) -> dict[str, Any]:
    """What a prepared folder says of itself; DataError if it is absent, damaged or of another version."""
    path = folder / MANIFEST
    try:
        manifest = read_json(path)
    except FileNotFoundError:
        raise DataError(f"there is no {path}: nothing is prepared there, or not to the end") from None
    except DamagedRecord as error:
        raise DataError(f"{error}; {REPAIR}") from error
    if manifest["version"] != VERSION:
        raise DataError(f"{path} is of version {manifest['version']}, this flipbench reads {VERSION}")
    return manifest


def wrong_size(path: Path, size: int) -> str:
    """What is wrong with a file that should have `size` bytes; nothing if it has."""
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return f"{path} is absent"
    return "" if found == size else f"{path} is damaged: it has {found} bytes of {size}"


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


@dataclass(frozen=True)
class PackReader:
    """The images of a prepared folder. Files are mapped into memory when they are first needed."""

    folder: Path
    encoding: Encoding
    shards: tuple[str, ...]

    def name(self, position: int) -> str:
        """The path that the image had in the tree it was prepared from."""
        return self._index[position]["name"].decode(errors="replace")

    def read(self, position: int) -> Tensor:
        """Pixels, uint8 (H, W, 3); DamagedImage if a JPEG cannot be decoded."""
        shard, offset, length, height, width, *_ = self._index[position].item()
        if shard not in self._mapped:
            self._mapped[shard] = self._map(shard)
        content = self._mapped[shard][offset : offset + length]
        return content.view(height, width, 3) if self.encoding == "pixels" else decode(content)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # not what is mapped

    @cached_property
    def _mapped(self) -> dict[int, Tensor]:
        return {}

    @cached_property
    def _index(self) -> np.ndarray:
        return np.asarray(np.load(self.folder / INDEX, mmap_mode="r", allow_pickle=False))

    def _map(self, shard: int) -> Tensor:
        path = self.folder / self.shards[shard]
        try:
            # Unlike NumPy's, torch's mapping keeps no file open; there are more shards than may be.
            return torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
        except (OSError, RuntimeError) as error:
            raise DataError(f"cannot read {path}: {error}") from error

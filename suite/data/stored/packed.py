"""The prepared form of a tree of images: few large files instead of a million small ones.

    prepared.json      the manifest, written last: the settings, and the size and sha256 of the other files
    index.npy          one row per image, those of train first: its place, size, class and name
    train-00000.bin    a shard: image after image, with nothing between them
    train-00000.json   that shard's part of the index, from which an interrupted `prepare` continues

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
from pydantic import StrictInt, StrictStr
from torch import Tensor

from suite.data.errors import DataError
from suite.data.stored.decode import decode
from suite.records import codec
from suite.records.codec import record
from suite.records.files import DamagedRecord, read_json

Encoding = Literal["jpeg", "pixels"]
Part = Literal["train", "val"]
MANIFEST, INDEX = "prepared.json", "index.npy"
VERSION = 1  # of the layout above
COLUMNS = {"shard": "<i4", "offset": "<i8", "length": "<i8", "height": "<i4", "width": "<i4", "label": "<i8"}
REPAIR = "delete it and run `flipbench prepare` again, which makes only absent files"


# ---- the records


@record
class Settings:
    """The settings that decide the bytes of a prepared folder."""

    encoding: Encoding
    side: StrictInt  # of the short side in pixels; a smaller image keeps its size
    quality: StrictInt | None  # of JPEG, 1 to 95; None for pixels
    source: StrictStr  # the tree's digest
    images_per_shard: StrictInt
    version: StrictInt = VERSION


@record
class PackFile:
    """A file of a prepared folder, by its size and content."""

    name: StrictStr
    bytes: StrictInt
    sha256: StrictStr


@record
class LeftOut:
    """A damaged image that is left out."""

    name: StrictStr
    problem: StrictStr


@record
class ShardImages:
    """The images of a shard, one entry each: bytes, pixels, class, and path below the tree's root."""

    offset: list[StrictInt]
    length: list[StrictInt]
    height: list[StrictInt]
    width: list[StrictInt]
    label: list[StrictInt]
    name: list[StrictStr]


@record
class ShardRecord:
    """The JSON file next to a shard."""

    settings: Settings
    part: Part
    shard: PackFile
    images: ShardImages
    damaged: list[LeftOut]


@record
class Manifest(Settings):
    """prepared.json: the settings and all that they gave. `train` and `val` are numbers of images."""

    classes: list[StrictStr]
    train: StrictInt
    val: StrictInt
    shards: list[PackFile]
    index: PackFile
    damaged: list[LeftOut]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder; DataError if it is absent, damaged or of another version."""
    path = folder / MANIFEST
    try:
        content = read_json(path)
        if (version := content.get("version")) != VERSION:
            raise DataError(f"{path} is of version {version}, this flipbench reads {VERSION}")
        return codec.decode(Manifest, content, path)
    except FileNotFoundError:
        raise DataError(f"there is no {path}: nothing is prepared there, or not completely") from None
    except DamagedRecord as error:
        raise DataError(f"{error}; {REPAIR}") from error


def read_shard_record(path: Path) -> ShardRecord:
    """FileNotFoundError, DamagedRecord."""
    return codec.decode(ShardRecord, read_json(path), path)


def wrong_size(path: Path, size: int) -> str:
    """The problem with a file that should have `size` bytes; empty if it has them."""
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        return f"{path} is absent"
    return "" if found == size else f"{path} is damaged: it has {found} bytes of {size}"


# ---- the images


@dataclass(frozen=True)
class Pack:
    """A prepared folder, opened: the manifest, and a reader whose first images are those of train."""

    manifest: Manifest
    labels: np.ndarray  # int64 (train + val,)
    reader: "PackReader"


def open_pack(folder: Path) -> Pack:
    """A prepared folder; DataError if manifest or index are damaged or a shard does not have its size.

    The content of the shards is left to `verify`: checking it takes as long as reading them.
    """
    manifest = read_manifest(folder)
    content = _content(folder / INDEX)
    if hashlib.sha256(content).hexdigest() != manifest.index.sha256:
        raise DataError(f"{folder / INDEX} is damaged: its sha256 is not the one in {MANIFEST}; {REPAIR}")
    for shard in manifest.shards:
        if problem := wrong_size(folder / shard.name, shard.bytes):
            raise DataError(f"{problem}; {REPAIR}")
    labels = np.load(io.BytesIO(content), allow_pickle=False)["label"].copy()
    shards = tuple(shard.name for shard in manifest.shards)
    return Pack(manifest, labels, PackReader(folder, manifest.encoding, shards))


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
        return {field.name: getattr(self, field.name) for field in fields(self)}  # without the mapped files

    @cached_property
    def _mapped(self) -> dict[int, Tensor]:
        return {}

    @cached_property
    def _index(self) -> np.ndarray:
        return np.asarray(np.load(self.folder / INDEX, mmap_mode="r", allow_pickle=False))

    def _map(self, shard: int) -> Tensor:
        path = self.folder / self.shards[shard]
        try:
            # Unlike NumPy's, torch's mapping keeps no file open; there may be more shards than open files.
            return torch.from_file(str(path), shared=False, size=path.stat().st_size, dtype=torch.uint8)
        except (OSError, RuntimeError) as error:
            raise DataError(f"cannot read {path}: {error}") from error

"""The prepared form of a tree of images: few large files instead of a million small ones.

    prepared.json      the manifest, written last: the settings, and the size and sha256 of the other files
    index.npy          one row per image, those of train first: its place, size, class and name
    train-00000.bin    a shard: image after image, with nothing between them
    train-00000.json   that shard's part of the index, from which an interrupted `prepare` continues

An image is a JPEG file ("jpeg") or its bare pixels, uint8 (height, width, 3) ("pixels").
"""

import hashlib
import io
import mmap
import zlib
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from pydantic import StrictInt, StrictStr
from torch import Tensor

from suite.data.errors import DataError
from suite.data.stored.decode import DamagedImage, decode
from suite.records import codec
from suite.records.codec import absent, record
from suite.records.files import DamagedRecord, read_json

Encoding = Literal["jpeg", "pixels"]
Part = Literal["train", "val"]
MANIFEST, INDEX = "prepared.json", "index.npy"
VERSION = 2  # of the layout above, and of the rules by which files become images
COLUMNS = {"shard": "<i4", "offset": "<i8", "length": "<i8", "height": "<i4", "width": "<i4", "label": "<i8",
           "crc32": "<u4"}  # fmt: skip
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
    """The images of a shard, one entry each: bytes, pixels, class, checksum, path below the tree's root."""

    offset: list[StrictInt]
    length: list[StrictInt]
    height: list[StrictInt]
    width: list[StrictInt]
    label: list[StrictInt]
    crc32: list[StrictInt]
    name: list[StrictStr]


@record
class ShardRecord:
    """The JSON file next to a shard. `images` and `damaged` together are all that it was made of."""

    settings: Settings
    part: Part
    shard: PackFile
    images: ShardImages
    damaged: list[LeftOut]


@record
class Manifest(Settings):
    """prepared.json: the settings and all that they gave. `train` and `val` are numbers of images.

    skipped: entries of the tree that were left out, by kind.
    """

    classes: list[StrictStr]
    train: StrictInt
    val: StrictInt
    shards: list[PackFile]
    index: PackFile
    damaged: list[LeftOut]
    skipped: dict[str, StrictInt] = absent(dict)


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a prepared folder; DataError if it is absent, damaged or of another version."""
    path = folder / MANIFEST
    try:
        content = read_json(path)
        _refuse_other_version(path, content)
        manifest = codec.decode(Manifest, content, path)
    except FileNotFoundError:
        raise DataError(f"there is no {path}: nothing is prepared there, or not completely") from None
    except DamagedRecord as error:
        raise DataError(f"{error}; {REPAIR}") from error
    names = [shard.name for shard in manifest.shards]
    for found, expected in zip_longest(names, _shard_names(names)):
        if found != expected:
            raise DataError(f"{path} is damaged: it names {found} in the place of {expected}; {REPAIR}")
    return manifest


def _shard_names(names: list[str]) -> list[str]:
    """The names of as many shards of train, and then of val, as there are among `names`."""
    counts = {part: sum(name.startswith(part) for name in names) for part in get_args(Part)}
    return [f"{part}-{number:05}.bin" for part, count in counts.items() for number in range(count)]


def read_shard_record(path: Path) -> ShardRecord:
    """FileNotFoundError, DamagedRecord; DataError for one of another version."""
    content = read_json(path)
    if isinstance(settings := content.get("settings"), dict):
        _refuse_other_version(path, settings)
    return codec.decode(ShardRecord, content, path)


def _refuse_other_version(path: Path, settings: dict[str, Any]) -> None:
    if (version := settings.get("version")) != VERSION:
        raise DataError(
            f"{path} is of version {version}, this flipbench reads {VERSION}. What an old folder holds "
            "cannot be checked: prepare the tree again, into another folder, or delete this one first"
        )


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

    The content of the shards is checked later, image by image.
    """
    manifest = read_manifest(folder)
    content = _content(folder / INDEX)
    if hashlib.sha256(content).hexdigest() != manifest.index.sha256:
        raise DataError(f"{folder / INDEX} is damaged: its sha256 is not the one in {MANIFEST}; {REPAIR}")
    for shard in manifest.shards:
        if problem := wrong_size(folder / shard.name, shard.bytes):
            raise DataError(f"{problem}; {REPAIR}")
    labels = np.load(io.BytesIO(content), allow_pickle=False)["label"].copy()
    if len(labels) != manifest.train + manifest.val:
        raise DataError(f"{folder / INDEX} has {len(labels)} images, not those of {MANIFEST}; {REPAIR}")
    shards = tuple(shard.name for shard in manifest.shards)
    reader = PackReader(folder, manifest.encoding, shards, len(labels), manifest.index.sha256)
    return Pack(manifest, labels, reader)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


@dataclass(frozen=True)
class PackReader:
    """The images of a prepared folder. Files are mapped into memory when they are first needed.

    The bytes of an image are checked when they are first read in this process or in one forked from it.
    images: their number. index: the sha256 of index.npy, which holds their checksums.
    """

    folder: Path
    encoding: Encoding
    shards: tuple[str, ...]
    images: int
    index: str

    def __post_init__(self) -> None:
        _ = self._intact  # made now, so that processes that are forked later share it

    def __reduce__(self) -> tuple[Any, ...]:
        fields = (self.folder, self.encoding, self.shards, self.images, self.index)
        return PackReader, fields  # without the mapped files

    def name(self, position: int) -> str:
        """The path that the image had in the tree it was prepared from."""
        return self._index[position]["name"].decode(errors="replace")

    def read(self, position: int) -> Tensor:
        """Pixels, uint8 (H, W, 3); DamagedImage if the bytes are not those that were written."""
        shard, offset, length, height, width, _, checksum, _ = self._index[position].item()
        if shard not in self._mapped:
            self._mapped[shard] = self._map(shard)
        content = self._mapped[shard][offset : offset + length]
        if not self._intact[position]:
            if zlib.crc32(content.numpy().data) != checksum:
                raise DamagedImage(f"its bytes in {self.shards[shard]} have changed; for that file, {REPAIR}")
            self._intact[position] = 1
        return content.view(height, width, 3) if self.encoding == "pixels" else decode(content)

    def share(self) -> None:
        """Nothing to do: every process maps the same files."""

    @cached_property
    def _intact(self) -> mmap.mmap:
        return _intact(self.folder, self.index, self.images)

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


@cache
def _intact(folder: Path, index: str, images: int) -> mmap.mmap:
    """A byte for each image of a prepared folder, 1 once its bytes are checked; forked processes share it."""
    return mmap.mmap(-1, max(1, images))

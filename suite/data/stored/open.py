"""Open a folder of images, a tree of files or the result of `prepare`."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from torch import Tensor

from suite.data.errors import DataError
from suite.data.stored.decode import decode, read_bytes
from suite.data.stored.image_tree import Listing, list_tree
from suite.data.stored.images import Damaged, StoredImages
from suite.data.stored.packed import MANIFEST, open_pack
from suite.records.codec import encode
from suite.records.files import digest


@dataclass(frozen=True)
class FileReader:
    """The images of one part of a tree, one file each."""

    folder: Path
    paths: Tensor  # uint8 (N, width), filled up with zeros: like all tensors it can be shared

    def name(self, position: int) -> str:
        return os.fsdecode(self.paths[position].numpy().tobytes().rstrip(b"\0"))

    def read(self, position: int) -> Tensor:
        return decode(read_bytes(self.folder / self.name(position)))

    def share(self) -> None:
        self.paths.share_memory_()


@dataclass(frozen=True)
class Stored:
    """The content of a folder. `record` is the part of a data record about it: its form and a digest.

    skipped: entries that are left out, by kind.
    """

    classes: list[str]
    train: StoredImages
    val: StoredImages
    record: dict[str, Any]
    skipped: Mapping[str, int]


def open_stored(folder: Path, size: int, damaged: Damaged) -> Stored:
    """The images of a folder as crops of size x size; nothing is decoded yet.

    DataError if the folder is neither a tree of images nor a prepared one, or if files are absent.
    """
    if size < 1:
        raise DataError(f"the size of the crops must be a positive number of pixels, got {size!r}", "size")
    if damaged not in get_args(Damaged):
        raise DataError(
            f"'damaged' must be one of {', '.join(get_args(Damaged))}, got {damaged!r}", "damaged"
        )
    if (folder / MANIFEST).exists():
        return _open_prepared(folder, size, damaged)
    if any(folder.glob("train-*.bin")):
        raise DataError(f"{folder} is not completely prepared: run the same `flipbench prepare` again")
    return _open_tree(folder, size, damaged)


def _open_tree(folder: Path, size: int, damaged: Damaged) -> Stored:
    tree = list_tree(folder)

    def part(listing: Listing) -> StoredImages:
        paths = torch.from_numpy(listing.paths.view(np.uint8).reshape(len(listing), -1))
        reader, index = FileReader(folder, paths), torch.arange(len(listing))
        return StoredImages(reader, index, torch.from_numpy(listing.labels), size, damaged)

    record = {"form": "tree", "digest": tree.digest()}
    return Stored(list(tree.classes), part(tree.train), part(tree.val), record, tree.skipped)


def _open_prepared(folder: Path, size: int, damaged: Damaged) -> Stored:
    pack = open_pack(folder)
    manifest = pack.manifest
    positions = torch.arange(len(pack.labels))
    images = StoredImages(pack.reader, positions, torch.from_numpy(pack.labels), size, damaged)
    record = {
        "form": manifest.encoding,
        "digest": digest(encode(replace(manifest, skipped={}))),  # it holds the sha256 of every shard
        "side": manifest.side,
        "quality": manifest.quality,
        "source": manifest.source,
        "damaged": [image.name for image in manifest.damaged],
    }
    train, val = images.subset(positions[: manifest.train]), images.subset(positions[manifest.train :])
    return Stored(manifest.classes, train, val, record, manifest.skipped)

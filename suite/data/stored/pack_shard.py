"""Prepare one shard, about a thousand images: the work of one process in `prepare`."""

import hashlib
import io
import os
import signal
import zlib
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from suite.data.errors import DataError
from suite.data.stored.crops import shrink
from suite.data.stored.decode import DamagedImage, decode, read_bytes
from suite.data.stored.packed import LeftOut, PackFile, Part, Settings, ShardImages, ShardRecord
from suite.machine.forkserver import end_with_parent
from suite.records.codec import encode as encode_record
from suite.records.files import write_json, written_whole

IMAGES_PER_SHARD = 1000


@dataclass(frozen=True)
class Unit:
    """The images of one shard: paths below the tree's root, bytes (n,), and labels, int64 (n,)."""

    part: Part
    number: int
    paths: np.ndarray
    labels: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.part}-{self.number:05}"

    def holds(self, row: ShardRecord) -> bool:
        """Whether a record is that of this shard: its part, its file, and each of its images, in order."""
        labels = dict(zip(map(os.fsdecode, self.paths.tolist()), self.labels.tolist(), strict=True))
        for image in row.damaged:
            if labels.pop(image.name, None) is None:
                return False
        images = list(zip(row.images.name, row.images.label, strict=True))
        return (row.part, row.shard.name, images) == (self.part, f"{self.name}.bin", list(labels.items()))


class Stopped(Exception):
    """The command is ending; the shard is not written."""


def pack_shard(unit: Unit, root: Path, target: Path, settings: Settings, *, stop_at_damaged: bool) -> None:
    """Write the unit's shard, then its record; each file is written completely or not at all.

    With `stop_at_damaged`, DataError names a damaged image; otherwise such images are left out, and listed.
    """
    images = ShardImages(offset=[], length=[], height=[], width=[], label=[], crc32=[], name=[])
    damaged: list[LeftOut] = []
    digest, offset, path = hashlib.sha256(), 0, target / f"{unit.name}.bin"
    with written_whole(path) as file:
        for source, label in zip(unit.paths.tolist(), unit.labels.tolist(), strict=True):
            if _stop is not None and _stop.is_set():
                raise Stopped
            name = os.fsdecode(source)
            try:
                content, height, width = encode(read_bytes(root / name), settings)
            except DamagedImage as error:
                if stop_at_damaged:
                    raise damaged_image(root / name, str(error)) from error
                damaged.append(LeftOut(name=name, problem=str(error)))
                continue
            file.write(content)
            digest.update(content)
            images.offset.append(offset)
            images.length.append(len(content))
            images.height.append(height)
            images.width.append(width)
            images.label.append(label)
            images.crc32.append(zlib.crc32(content))
            images.name.append(name)
            offset += len(content)
    shard = PackFile(name=path.name, bytes=offset, sha256=digest.hexdigest())
    row = ShardRecord(settings=settings, part=unit.part, shard=shard, images=images, damaged=damaged)
    write_json(target / f"{unit.name}.json", encode_record(row))


def encode(content: Tensor, settings: Settings) -> tuple[bytes, int, int]:
    """An image file's bytes, uint8 (n,), in the prepared form: bytes, height, width; DamagedImage.

    For jpeg, a file that is not larger than wanted is kept as it is, without loss, whatever its format.
    """
    pixels = decode(content)
    height, width, _ = pixels.shape
    if (short := min(height, width)) > settings.side:
        height, width = round(height * settings.side / short), round(width * settings.side / short)
        pixels = shrink(pixels, height, width)
    elif settings.encoding == "jpeg":
        return content.numpy().tobytes(), height, width
    if settings.encoding == "pixels":
        return pixels.numpy().tobytes(), height, width
    buffer = io.BytesIO()
    Image.fromarray(pixels.numpy()).save(buffer, "JPEG", quality=settings.quality)
    return buffer.getvalue(), height, width


def bytes_per_image(paths: np.ndarray, root: Path, settings: Settings) -> float:
    """The mean number of bytes of these images in the prepared form; damaged ones are not counted."""
    sizes = []
    for path in paths.tolist():
        with suppress(DamagedImage):
            sizes.append(len(encode(read_bytes(root / os.fsdecode(path)), settings)[0]))
    return sum(sizes) / max(1, len(sizes))


def damaged_image(path: Path, problem: str) -> DataError:
    """The error for a damaged image that stops the preparation."""
    return DataError(
        f"the image {path} cannot be used: {problem}. Replace it and prepare into a new folder, or leave "
        "such images out (--damaged leave-out): the same command then continues where it stopped"
    )


_stop: Event | None = None  # set when the command is ending


def begin_work(stop: Event) -> None:
    """Runs first in a worker process."""
    global _stop
    _stop = stop
    # Ctrl-C reaches every process; the command stops the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)  # there is a process for every core
    end_with_parent()

"""Prepare one shard, about a thousand images: the work of one process in `prepare`."""

import hashlib
import io
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from suite.data.source import DataError
from suite.data.stored.crops import shrink
from suite.data.stored.decode import DamagedImage, decode, read_bytes
from suite.data.stored.packed import VERSION, Encoding
from suite.records.files import write_json, writing

IMAGES_PER_SHARD = 1000


@dataclass(frozen=True)
class Settings:
    """All that decides what the bytes of a prepared folder are."""

    encoding: Encoding
    side: int  # of the short side in pixels; a smaller image keeps its size
    quality: int | None  # of JPEG, 1 to 95; None for pixels
    source: str  # the tree's digest
    images_per_shard: int
    version: int = VERSION

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Unit:
    """The images of one shard: paths below the tree's root, bytes (n,), and labels, int64 (n,)."""

    part: str  # "train" or "val"
    number: int
    paths: np.ndarray
    labels: np.ndarray

    @property
    def name(self) -> str:
        return f"{self.part}-{self.number:05}"


class Stopped(Exception):
    """The command is ending; the shard is not written."""


def pack_shard(unit: Unit, root: Path, target: Path, settings: Settings, *, stop_at_damaged: bool) -> None:
    """Write the unit's shard, then its part of the index; each is there whole or not at all.

    DataError names a damaged image if that is to stop it; else damaged ones are left out, and listed.
    """
    images: dict[str, list[Any]] = {
        "offset": [],
        "length": [],
        "height": [],
        "width": [],
        "label": [],
        "name": [],
    }
    damaged: list[dict[str, str]] = []
    digest, offset, path = hashlib.sha256(), 0, target / f"{unit.name}.bin"
    with _written_whole(path) as file:
        for source, label in zip(unit.paths.tolist(), unit.labels.tolist(), strict=True):
            if _stop is not None and _stop.is_set():
                raise Stopped
            name = os.fsdecode(source)
            try:
                content, height, width = encode(read_bytes(root / name), settings)
            except DamagedImage as error:
                if stop_at_damaged:
                    raise damaged_image(root / name, str(error)) from error
                damaged.append({"name": name, "problem": str(error)})
                continue
            file.write(content)
            digest.update(content)
            for column, value in zip(images, (offset, len(content), height, width, label, name), strict=True):
                images[column].append(value)
            offset += len(content)
    shard = {"name": path.name, "bytes": offset, "sha256": digest.hexdigest()}
    row = {
        "settings": settings.as_dict(),
        "part": unit.part,
        "shard": shard,
        "images": images,
        "damaged": damaged,
    }
    write_json(target / f"{unit.name}.json", row)


def encode(content: Tensor, settings: Settings) -> tuple[bytes, int, int]:
    """An image file's bytes, uint8 (n,), in the prepared form: bytes, height, width; DamagedImage.

    A file that is not larger than wanted is kept as it is, which loses nothing.
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
    """How many bytes such images take in the prepared form, on average; damaged ones are not counted."""
    sizes = []
    for path in paths.tolist():
        with suppress(DamagedImage):
            sizes.append(len(encode(read_bytes(root / os.fsdecode(path)), settings)[0]))
    return sum(sizes) / max(1, len(sizes))


def damaged_image(path: Path, problem: str) -> DataError:
    """What to say of an image that stops the preparation."""
    return DataError(
        f"the image {path} is damaged: {problem}. Replace it and start anew, or leave such images out "
        "(--damaged leave-out): then the same command goes on from here"
    )


@contextmanager
def _written_whole(path: Path) -> Iterator[BinaryIO]:
    """A file that gets its name when it is complete and on disk; unlike write_atomically, in pieces."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with writing(path):
        try:
            with open(aside, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            with suppress(OSError):
                aside.unlink()
            raise


_stop: Event | None = None  # set when the command is ending


def begin_work(stop: Event) -> None:
    """What a worker process does first."""
    global _stop
    _stop = stop
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process; the command tells the workers
    torch.set_num_threads(1)  # there is a process for every core
    threading.Thread(target=_end_with_the_command, daemon=True).start()


def _end_with_the_command() -> None:
    """Wait until the process that started this one is gone, however it went."""
    command = multiprocessing.parent_process()
    assert command is not None
    command.join()
    os._exit(1)

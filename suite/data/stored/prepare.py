"""Convert a tree of images once, into a form that trains several times faster.

Every shard is one unit of work. A finished unit is never made again, so the same command continues after an
interruption of any kind; the manifest comes last, and only with it can the folder be opened.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from suite.data.errors import DataError
from suite.data.stored.entries import foreign
from suite.data.stored.image_tree import ImageTree, list_tree
from suite.data.stored.pack_index import Summary, finish
from suite.data.stored.pack_shard import (
    IMAGES_PER_SHARD,
    Unit,
    begin_work,
    bytes_per_image,
    damaged_image,
    pack_shard,
)
from suite.data.stored.packed import (
    INDEX,
    MANIFEST,
    REPAIR,
    Encoding,
    Part,
    Settings,
    read_shard_record,
    wrong_size,
)
from suite.machine.forkserver import fork_context
from suite.records.files import DamagedRecord, clear_torn, owned, writing

OURS = re.compile(rf"(train|val)-\d{{5}}\.(bin|json)|{re.escape(INDEX)}|{re.escape(MANIFEST)}")
SAMPLE = 32  # images from which the space for all is estimated

OnDamage = Literal["stop", "leave-out"]
OnProgress = Callable[[int, int], None]  # finished images, all images


def prepare(
    source: Path,
    target: Path,
    *,
    encoding: Encoding,
    side: int = 256,
    quality: int = 90,
    damaged: OnDamage = "stop",
    workers: int = 1,
    on_progress: OnProgress = lambda done, total: None,
) -> Summary:
    """Prepare the tree `source` into the folder `target`, with the short side of each image at most `side`.

    The result does not depend on the number of worker processes. DataError for a source that is not a tree, a
    damaged image (unless these are left out), a target with another source or other settings, too little
    space, and a worker that died; WriteError for a file that cannot be written.
    """
    _check(encoding, side, quality, damaged, workers)
    tree = list_tree(source)
    settings = Settings(
        encoding=encoding,
        side=side,
        quality=quality if encoding == "jpeg" else None,
        source=tree.digest(),
        images_per_shard=IMAGES_PER_SHARD,
    )
    units = list(_units(tree))
    if target.is_dir():
        _refuse_foreign(target)  # before anything of ours is in it
    with owned(target) as mine:
        if not mine:
            raise DataError(f"another process is preparing {target}: wait until it has ended")
        _refuse_foreign(target)
        clear_torn(target)
        absent = [unit for unit in units if not _is_done(target, unit, settings)]
        if absent:
            with writing(target / MANIFEST):
                (target / MANIFEST).unlink(missing_ok=True)
            work = _Work(tree.root, target, settings, damaged == "stop")
            _pack(work, absent, workers, sum(len(unit.paths) for unit in units), on_progress)
        done = [read_shard_record(target / f"{unit.name}.json") for unit in units]
        if damaged == "stop" and (left_out := [image for unit in done for image in unit.damaged]):
            raise damaged_image(tree.root / left_out[0].name, left_out[0].problem)
        return finish(target, tree, settings, done, made=len(absent))


def _check(encoding: str, side: int, quality: int, damaged: str, workers: int) -> None:
    for name, value, choices in (
        ("encoding", encoding, get_args(Encoding)),
        ("damaged", damaged, get_args(OnDamage)),
    ):
        if value not in choices:
            raise DataError(f"{name!r} must be one of {', '.join(choices)}, got {value!r}", name)
    if side < 1:
        raise DataError(f"'side' must be a positive number of pixels, got {side}", "side")
    if not 1 <= quality <= 95:
        raise DataError(f"'quality' must be from 1 to 95, got {quality}", "quality")
    if workers < 1:
        raise DataError(f"'workers' must be a positive number of processes, got {workers}", "workers")


def _units(tree: ImageTree) -> Iterator[Unit]:
    parts: tuple[Part, ...] = get_args(Part)
    for part, listing in zip(parts, (tree.train, tree.val), strict=True):
        for number, start in enumerate(range(0, len(listing), IMAGES_PER_SHARD)):
            chosen = slice(start, start + IMAGES_PER_SHARD)
            yield Unit(part, number, listing.paths[chosen], listing.labels[chosen])


def _refuse_foreign(target: Path) -> None:
    names = sorted(path.name for path in target.iterdir() if not foreign(os.fsencode(path.name)))
    if others := [name for name in names if not OURS.fullmatch(name)]:
        raise DataError(f"{target} holds other files, such as {others[0]}: choose a folder of its own")


def _is_done(target: Path, unit: Unit, settings: Settings) -> bool:
    """Whether the shard is complete; DataError if it was made from other images or with other settings.

    Its index then proves that the shard holds these images of this part, and no others.
    """
    path = target / f"{unit.name}.json"
    try:
        done = read_shard_record(path)
    except (FileNotFoundError, DamagedRecord):
        return False
    for key, value in asdict(settings).items():
        if (found := getattr(done.settings, key)) != value:
            raise DataError(
                f"{target} was prepared with {key} {found}, now it is {value}: choose another folder, or "
                "delete this one"
            )
    if not unit.holds(done):
        raise DataError(
            f"{path} is the index of {done.shard.name} or of other images, not that of {unit.name}.bin; "
            f"{REPAIR}"
        )
    return not wrong_size(target / done.shard.name, done.shard.bytes)


class _Work(NamedTuple):
    root: Path
    target: Path
    settings: Settings
    stop_at_damaged: bool


def _pack(work: _Work, units: list[Unit], workers: int, total: int, on_progress: OnProgress) -> None:
    """Make the shards in worker processes; after an error or Ctrl-C none of them is left at work."""
    context = fork_context()
    stop = context.Event()
    pool = ProcessPoolExecutor(min(workers, len(units)), context, begin_work, (stop,))
    done = total - sum(len(unit.paths) for unit in units)
    try:
        _refuse_small_disk(work, units, pool)
        pending = [
            pool.submit(
                pack_shard, unit, work.root, work.target, work.settings, stop_at_damaged=work.stop_at_damaged
            )
            for unit in units
        ]
        for unit, future in zip(units, pending, strict=True):
            on_progress(done, total)
            future.result()
            done += len(unit.paths)
        on_progress(done, total)
    except BrokenProcessPool:
        raise DataError(
            "a worker process died, as when memory runs out; the same command continues where it stopped. "
            "Use fewer workers if memory is short"
        ) from None
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _refuse_small_disk(work: _Work, units: list[Unit], pool: ProcessPoolExecutor) -> None:
    """DataError if the missing shards would not fit, as estimated from some of the images."""
    paths = np.concatenate([unit.paths for unit in units])
    sample = paths[np.linspace(0, len(paths) - 1, min(SAMPLE, len(paths))).astype(int)]
    needed = len(paths) * pool.submit(bytes_per_image, sample, work.root, work.settings).result()
    free = shutil.disk_usage(work.target).free
    if needed > free:
        raise DataError(
            f"{work.target} needs about {needed / 1e9:.1f} GB more, the disk has {free / 1e9:.1f} GB left: "
            "free some space, or choose a smaller side or the encoding jpeg"
        )

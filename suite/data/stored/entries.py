"""One rule for every reader: which entries of a folder are its images and folders, and which are left out.

Left out are hidden entries, those that other programs leave behind, and files that are no images by their
suffix. They are counted by kind, so that a command can name them and the data record can keep the counts.
"""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from suite.data.errors import DataError
from suite.data.stored.ground_truth import READERS

SUFFIXES = (".jpeg", ".jpg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
            ".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k", ".avif")  # fmt: skip
ENDINGS = tuple(suffix.encode() for suffix in SUFFIXES)
HIDDEN = (".DS_Store", ".ipynb_checkpoints")  # that have a kind of their own
LEFT_BEHIND = ("__MACOSX", "__pycache__", "Thumbs.db", "ehthumbs.db", "desktop.ini", "Icon\r", "@eaDir",
               "$RECYCLE.BIN", "System Volume Information", "lost+found")  # fmt: skip
KINDS = {name.lower().encode(): name.strip() for name in (*HIDDEN, *LEFT_BEHIND)}
OUTSIDE = "images outside the folders of classes"

Skipped = Counter[str]  # entries that are left out, by kind


class Content(NamedTuple):
    """The entries of a folder that count, by name, in the order of the file system."""

    folders: list[bytes]
    images: list[bytes]


def content_of(folder: bytes, skipped: Skipped) -> Content:
    """The folders and images in a folder; what is left out is counted in `skipped`.

    DataError for a folder that cannot be listed, a name that no record can hold, and an image's name for
    anything but a file.
    """
    found = Content([], [])
    for entry in _entries(folder):
        if kind := foreign(entry.name):
            skipped[kind] += 1
        elif _is_folder(entry):
            found.folders.append(_readable(folder, entry.name))
        elif entry.name.lower().endswith(ENDINGS):
            found.images.append(_readable(folder, entry.name))
            if not entry.is_file():
                raise DataError(f"{os.fsdecode(entry.path)} is not a file, or a link that leads to none")
        elif os.fsdecode(entry.name) not in READERS:
            skipped[_kind_by_suffix(entry.name)] += 1
    return found


def images_below(root: bytes, folder: bytes, skipped: Skipped) -> Iterator[bytes]:
    """Paths below `root` of the images in `folder`, at any depth, in the order of the file system."""
    found = content_of(os.path.join(root, folder), skipped)
    for name in found.images:
        yield os.path.join(folder, name)
    for name in found.folders:
        yield from images_below(root, os.path.join(folder, name), skipped)


def foreign(name: bytes) -> str:
    """The kind of an entry that is hidden or another program's; empty for all others."""
    if kind := KINDS.get(name.lower()):
        return kind
    return "" if not name.startswith(b".") else "._*" if name.startswith(b"._") else ".*"


def skipped_text(skipped: Mapping[str, int]) -> str:
    """How many entries of which kinds are left out, in a few words; empty if there are none."""
    if not skipped:
        return ""
    return f"left out: {', '.join(f'{count:,} {kind}' for kind, count in sorted(skipped.items()))}"


def _kind_by_suffix(name: bytes) -> str:
    suffix = os.path.splitext(name)[1].lower()
    return f"*{suffix.decode()}" if re.fullmatch(rb"\.[a-z][a-z0-9]{0,5}", suffix) else "other files"


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"cannot list {os.fsdecode(folder)}: {error.strerror}") from error


def _is_folder(entry: os.DirEntry[bytes]) -> bool:
    try:
        if not entry.is_dir():
            return False
        looped = entry.is_symlink() and os.path.realpath(entry.path) in _with_parents(entry.path)
    except OSError as error:
        raise DataError(f"cannot read {os.fsdecode(entry.path)}: {error.strerror}") from error
    if looped:
        raise DataError(f"{os.fsdecode(entry.path)} is a link to a folder that contains it")
    return True


def _with_parents(path: bytes) -> list[bytes]:
    """The real paths of the folders that contain a path."""
    parent = os.path.realpath(os.path.dirname(path))
    parents = [parent]
    while (above := os.path.dirname(parent)) != parent:
        parents.append(parent := above)
    return parents


def _readable(folder: bytes, name: bytes) -> bytes:
    try:
        name.decode()
    except UnicodeDecodeError:
        raise DataError(
            f"a record cannot hold a name that is not UTF-8: {os.path.join(folder, name)!r}"
        ) from None
    return name

"""ImageNet as it is usually unpacked: the paths of its images, and the class of each.

`train/<class>/` and `val/<class>/` hold the images at any depth, or val/ holds them all together and a file
lists their classes; see `ground_truth.py`. Nothing here opens an image.
"""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite.data.errors import DataError
from suite.data.stored.ground_truth import find_ground_truth

SUFFIXES = (b".jpeg", b".jpg", b".png")  # in any case
NAMED = 10  # names that a message lists, of however many


@dataclass(frozen=True)
class Listing:
    """Images: their paths below the tree's root, bytes (N,), and the numbers of their classes, int64 (N,)."""

    paths: np.ndarray  # fixed width: a million Python strings would take five times the memory
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ImageTree:
    """The images of one tree. A class is numbered by its place among the sorted folders of train."""

    root: Path
    classes: tuple[str, ...]
    train: Listing
    val: Listing

    def digest(self) -> str:
        """sha256 over one line per image: path, size in bytes, class. The images themselves are not read.

        DataError names a file that has vanished.
        """
        digest, root = hashlib.sha256(), os.fsencode(self.root)
        for part in (self.train, self.val):
            for path, label in zip(part.paths.tolist(), part.labels.tolist(), strict=True):
                size = _size(os.path.join(root, path))
                digest.update(b"%s\t%d\t%s\n" % (path, size, self.classes[label].encode()))
        return digest.hexdigest()


def list_tree(root: Path) -> ImageTree:
    """The images below root/train and root/val, sorted by path.

    DataError for an absent part, and for classes of train and val that do not agree.
    """
    for part in ("train", "val"):
        if not (root / part).is_dir():
            raise DataError(
                f"there is no folder {root / part}. A tree of images has train/<class>/*.JPEG, and val/ "
                "likewise or with a file that lists the classes of its images"
            )
    classes = tuple(_folders(root / "train"))
    train = _by_folder(root, "train", classes)
    _refuse_empty(root / "train", classes, train.labels)
    val = _list_val(root, classes)
    _refuse_empty(root / "val", classes, val.labels)
    return ImageTree(root, classes, train, val)


def _list_val(root: Path, classes: tuple[str, ...]) -> Listing:
    """The images of val: by their folders if these are classes of train, else by the ground truth."""
    folder = root / "val"
    foreign = sorted(set(_folders(folder)) - set(classes))
    flat = any(_is_image(entry.name) for entry in _entries(os.fsencode(folder)))
    if not foreign and not flat:
        return _by_folder(root, "val", classes)
    paths = sorted(_images(os.fsencode(root), b"val"))
    truth = find_ground_truth(root, [os.fsdecode(os.path.basename(path)) for path in paths])
    if truth is None and not flat:
        raise DataError(
            f"{folder} has {len(foreign)} folders that are not classes of train: {_some(foreign)}"
        )
    if truth is None:
        raise DataError(
            f"{folder} holds images outside the folders of classes, and no file lists their classes. Put "
            "LOC_val_solution.csv, imagenet_2012_validation_synset_labels.txt or val_annotations.txt next to "
            "them, or move each image into the folder of its class"
        )
    if unknown := sorted(set(truth) - set(classes)):
        raise DataError(
            f"the ground truth of {folder} has {len(unknown)} classes that train lacks: {_some(unknown)}"
        )
    number = {name: label for label, name in enumerate(classes)}
    return Listing(
        np.array(paths, dtype=np.bytes_), np.array([number[name] for name in truth], dtype=np.int64)
    )


def _by_folder(root: Path, part: str, classes: tuple[str, ...]) -> Listing:
    paths: list[bytes] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if (root / part / name).is_dir():
            found = sorted(_images(os.fsencode(root), os.fsencode(os.path.join(part, name))))
            paths += found
            labels += [label] * len(found)
    return Listing(np.array(paths, dtype=np.bytes_), np.array(labels, dtype=np.int64))


def _refuse_empty(folder: Path, classes: tuple[str, ...], labels: np.ndarray) -> None:
    """DataError for classes without any image: they have no accuracy."""
    if not len(labels):
        raise DataError(f"there are no images (.jpeg, .jpg, .png) in {folder}")
    counts = np.bincount(labels, minlength=len(classes))
    if empty := [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]:
        raise DataError(
            f"{folder} has no image of {len(empty)} of the {len(classes)} classes: {_some(empty)}"
        )


def _images(root: bytes, folder: bytes) -> Iterator[bytes]:
    """Paths below `root` of the images in `folder`, at any depth, in the order of the file system."""
    for entry in _entries(os.path.join(root, folder)):
        path = os.path.join(folder, entry.name)
        _refuse_unreadable(path)
        if _is_image(entry.name):
            yield path
        elif entry.is_dir():
            yield from _images(root, path)


def _refuse_unreadable(path: bytes) -> None:
    try:
        path.decode()
    except UnicodeDecodeError:
        raise DataError(f"a record cannot hold a name that is not UTF-8: {path!r}") from None


def _is_image(name: bytes) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(b".")  # macOS leaves ._n01440764.JPEG


def _entries(folder: bytes) -> list[os.DirEntry[bytes]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(f"cannot list {os.fsdecode(folder)}: {error.strerror}") from error


def _folders(folder: Path) -> list[str]:
    return sorted(os.fsdecode(entry.name) for entry in _entries(os.fsencode(folder)) if entry.is_dir())


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise DataError(f"cannot read {os.fsdecode(path)}: {error.strerror}") from error


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")

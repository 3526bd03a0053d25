"""ImageNet as it is usually unpacked: the paths of its images, and the class of each.

`train/<class>/` and `val/<class>/` hold the images at any depth, or val/ holds them all together and a file
lists their classes; see `ground_truth.py`. `entries.py` decides what counts. Nothing here opens an image.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from suite.data.errors import DataError
from suite.data.stored.entries import OUTSIDE, SUFFIXES, Skipped, content_of, images_below, skipped_text
from suite.data.stored.ground_truth import find_ground_truth

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
    """The images of one tree. A class is numbered by its place among the sorted folders of train.

    skipped: the entries that are left out, by kind.
    """

    root: Path
    classes: tuple[str, ...]
    train: Listing
    val: Listing
    skipped: Skipped

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
    skipped = Skipped()
    top = content_of(os.fsencode(root / "train"), skipped)
    classes = tuple(sorted(map(os.fsdecode, top.folders)))
    if top.images:
        skipped[OUTSIDE] = len(top.images)
    train = _by_folder(root, "train", classes, skipped)
    _refuse_empty(root / "train", classes, train.labels, skipped)
    val = _list_val(root, classes, skipped)
    _refuse_empty(root / "val", classes, val.labels, skipped)
    return ImageTree(root, classes, train, val, skipped)


def _list_val(root: Path, classes: tuple[str, ...], skipped: Skipped) -> Listing:
    """The images of val: by their folders if these are classes of train, else by the ground truth."""
    folder, in_val = root / "val", Skipped()
    top = content_of(os.fsencode(folder), in_val)
    foreign = sorted(set(map(os.fsdecode, top.folders)) - set(classes))
    flat = bool(top.images)
    if not foreign and not flat:
        skipped.update(in_val)
        return _by_folder(root, "val", classes, skipped)
    paths = sorted(images_below(os.fsencode(root), b"val", skipped))
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


def _by_folder(root: Path, part: str, classes: tuple[str, ...], skipped: Skipped) -> Listing:
    paths: list[bytes] = []
    labels: list[int] = []
    for label, name in enumerate(classes):
        if (root / part / name).is_dir():
            found = sorted(images_below(os.fsencode(root), os.fsencode(os.path.join(part, name)), skipped))
            paths += found
            labels += [label] * len(found)
    return Listing(np.array(paths, dtype=np.bytes_), np.array(labels, dtype=np.int64))


def _refuse_empty(folder: Path, classes: tuple[str, ...], labels: np.ndarray, skipped: Skipped) -> None:
    """DataError for classes without any image: they have no accuracy."""
    if not len(labels):
        others = f"; {text}" if (text := skipped_text(skipped)) else ""
        raise DataError(f"there are no images ({', '.join(SUFFIXES)}) in {folder}{others}")
    counts = np.bincount(labels, minlength=len(classes))
    if empty := [name for name, count in zip(classes, counts.tolist(), strict=True) if not count]:
        raise DataError(
            f"{folder} has no image of {len(empty)} of the {len(classes)} classes: {_some(empty)}"
        )


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError as error:
        raise DataError(f"cannot read {os.fsdecode(path)}: {error.strerror}") from error


def _some(names: list[str]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")

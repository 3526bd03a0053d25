"""The classes of the images of a flat val/, from the three kinds of files that ImageNet and TinyImageNet use.

- LOC_val_solution.csv, Kaggle's: `ImageId,PredictionString`; the latter begins with the class
- imagenet_2012_validation_synset_labels.txt: one class per line, in the order of the sorted file names
- val_annotations.txt, TinyImageNet's: `val_0.JPEG<TAB>n03444034<TAB>...`
"""

import csv
from collections.abc import Callable
from pathlib import Path, PurePath

from suite.data.errors import DataError

DEVKIT = "ILSVRC2012_validation_ground_truth.txt"


def find_ground_truth(root: Path, names: list[str]) -> list[str] | None:
    """The class of each image of val, whose names come in ascending order of paths; None without such a file.

    The file may be in root or in root/val. DataError if it and the images do not agree.
    """
    for name, classes_of in READERS.items():
        for path in (root / name, root / "val" / name):
            if path.is_file():
                return classes_of(path, names)
    for path in (root / DEVKIT, root / "val" / DEVKIT):
        if path.is_file():
            raise DataError(
                f"{path} gives the classes as numbers of ImageNet's devkit, which cannot be read here. Put "
                "LOC_val_solution.csv or imagenet_2012_validation_synset_labels.txt, with names, next to it"
            )
    return None


def _kaggle(path: Path, names: list[str]) -> list[str]:
    # The class may be followed by the corners of several objects, all of that class.
    truth = {row[0]: row[1].split()[0] for row in csv.reader(_lines(path)[1:]) if _has_class(path, row)}
    return _look_up(path, truth, [PurePath(name).stem for name in names])


def _tiny(path: Path, names: list[str]) -> list[str]:
    truth = {row[0]: row[1] for line in _lines(path) if _has_class(path, row := line.split("\t"))}
    return _look_up(path, truth, names)


def _in_order(path: Path, names: list[str]) -> list[str]:
    classes = [line.strip() for line in _lines(path)]
    if len(classes) != len(names):
        raise DataError(
            f"{path} has {len(classes)} lines, but there are {len(names)} images: it must have one for each"
        )
    by_name = dict(zip(sorted(names), classes, strict=True))
    return [by_name[name] for name in names]


READERS: dict[str, Callable[[Path, list[str]], list[str]]] = {
    "LOC_val_solution.csv": _kaggle,
    "imagenet_2012_validation_synset_labels.txt": _in_order,
    "val_annotations.txt": _tiny,
}


def _look_up(path: Path, truth: dict[str, str], images: list[str]) -> list[str]:
    if unlisted := sorted(set(images) - set(truth)):
        raise DataError(f"{path} has no class for {len(unlisted)} of the images, first {unlisted[0]}")
    if absent := sorted(set(truth) - set(images)):
        raise DataError(f"{path} names {len(absent)} images that do not exist, first {absent[0]}")
    return [truth[image] for image in images]


def _has_class(path: Path, row: list[str]) -> bool:
    """True; DataError if the row does not name an image and then a class."""
    if len(row) < 2 or not row[1].split():
        raise DataError(f"{path}: a line must name an image and its class, got {','.join(row)!r}")
    return True


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {error}") from error

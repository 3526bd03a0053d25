"""ImageNet, or any set of its kind, from a folder: images stay on disk and are decoded when needed."""

import functools
from pathlib import Path
from typing import get_args

from suite.data.errors import DataError
from suite.data.files import data_root
from suite.data.source import PIXELS, Dataset, Options, Sizes, Source
from suite.data.stored.images import Damaged
from suite.data.stored.open import Stored, open_stored


def open_imagenet(folder: str, size: int, classes: int | None, damaged: Damaged) -> Source:
    """The folder's train part, of which validation is carved out, and its val part, which is the test set.

    ImageNet's own test labels are secret: papers report the accuracy on its val.
    """
    root = data_root() / Path(folder).expanduser()
    if not root.exists():
        raise DataError(
            f"data set 'imagenet': there is no folder {root}, so the number of its images is not known.\n"
            "It needs train/<class>/*.JPEG, and val likewise or with a file that lists its classes;\n"
            f"the option folder is absolute or below FLIPBENCH_DATA (now {data_root()}).\n"
            f"Without images only ImageNet itself can be planned: classes: {IMAGENET_2012.classes}",
            "folder",
        )
    try:
        stored = _opened(root, size, damaged)
    except DataError as error:
        raise DataError(
            f"data set 'imagenet': {error}\n"
            f"the option folder is absolute or below FLIPBENCH_DATA (now {data_root()})",
            "folder",
        ) from None
    found = len(stored.classes)
    if classes is not None and classes != found:
        raise DataError(
            f"data set 'imagenet': {root} has {found} classes, but the option classes is {classes}", "classes"
        )
    return Source(
        classes=found,
        shape=(3, size, size),
        labels=stored.train.labels,
        read=stored.train.subset,
        test_size=len(stored.val),
        read_test=lambda: stored.val,
        stored=stored.record,
        skipped=stored.skipped,
    )


# Of ILSVRC-2012, the set that papers call ImageNet: https://www.image-net.org/challenges/LSVRC/2012
IMAGENET_2012 = Sizes(classes=1000, shape=(3, 0, 0), train=1_281_167, test=50_000)


def _published(options: Options) -> Sizes | None:
    """The sizes of ImageNet, if the option `classes` names it."""
    if options["classes"] != IMAGENET_2012.classes:
        return None
    return IMAGENET_2012._replace(shape=(3, options["size"], options["size"]))


@functools.lru_cache(maxsize=4)
def _opened(folder: Path, size: int, damaged: Damaged) -> Stored:
    """Cached, because the plan and the run both open the folder, and it may hold a million files."""
    return open_stored(folder, size, damaged)


IMAGENET = Dataset(
    name="imagenet",
    summary="ImageNet's folder tree, or a folder that `prepare` made of it; images are decoded when needed.",
    augment="resized-crop-flip",
    augmentations=("none", "resized-crop-flip"),
    open=open_imagenet,
    validation=0.02,  # 25,623 of ImageNet's training images
    required={"folder": str, "size": int},
    optional={"classes": None, "damaged": "stop"},
    limits={
        "size": PIXELS,
        "classes": (
            lambda value: value is None or (type(value) is int and value >= 2),
            "a number of classes, 2 or more",
        ),
        "damaged": (lambda value: value in get_args(Damaged), " or ".join(map(repr, get_args(Damaged)))),
    },
    folder=lambda options: data_root() / Path(options["folder"]).expanduser(),
    known=_published,
)

"""ImageNet, or any set of its kind, from a folder: images stay on disk and are decoded as they are needed."""

import functools
from pathlib import Path

from torch import Tensor

from suite.data.files import data_root
from suite.data.source import DataError, Dataset, Options, Source
from suite.data.stored import StoredImages
from suite.data.stored.images import Damaged
from suite.data.stored.open import Stored, open_stored


def open_imagenet(options: Options) -> Source:
    """The folder's train part, of which validation is carved out, and its val part, which is the test set.

    ImageNet's own test labels are secret: what papers report is the accuracy on its val.
    """
    folder, size = data_root() / Path(options["folder"]).expanduser(), options["size"]
    try:
        stored = _opened(folder, size, options["damaged"])
    except DataError as error:
        raise DataError(
            f"data set 'imagenet': {error}\n"
            f"the option folder is absolute or below FLIPBENCH_DATA (now {data_root()})"
        ) from None
    wanted, found = options["classes"], len(stored.classes)
    if wanted is not None and wanted != found:
        raise DataError(
            f"data set 'imagenet': {folder} has {found} classes, the option classes says {wanted}"
        )

    def read(index: Tensor) -> StoredImages:
        return stored.train.subset(index)

    return Source(
        classes=found,
        shape=(3, size, size),
        labels=stored.train.labels,
        read=read,
        test_size=len(stored.val),
        read_test=lambda: stored.val,
        stored=stored.record,
    )


@functools.lru_cache(maxsize=4)
def _opened(folder: Path, size: int, damaged: Damaged) -> Stored:
    """A process lists a million files once, though a plan and a run both open them."""
    return open_stored(folder, size, damaged)


IMAGENET = Dataset(
    name="imagenet",
    summary="ImageNet's folder tree, or what `prepare` made of it; images are decoded as they are needed.",
    augment="resized-crop-flip",
    augmentations=("none", "resized-crop-flip"),
    open=open_imagenet,
    validation=0.02,  # 25,623 of ImageNet's training images
    required={"folder": str, "size": int},
    optional={"classes": None, "damaged": "stop"},
)

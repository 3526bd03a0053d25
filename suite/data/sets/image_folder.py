"""Any tree of image files, one folder per class, in the layout that ImageNet is usually unpacked to."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from suite.data.errors import DataError
from suite.data.files import data_root
from suite.data.memory import Images
from suite.data.source import PIXELS, Dataset, Source
from suite.data.stored.decode import DamagedImage, read_bytes
from suite.data.stored.decode import decode as decode_image
from suite.data.stored.entries import OUTSIDE, Skipped, content_of, images_below
from suite.machine.environment import memory_bytes
from suite.machine.preemption import unless_stopped


def open_image_folder(folder: str, size: int) -> Source:
    """The trees folder/train and folder/test (else folder/val); images are decoded only when they are read.

    Validation is always carved out of train; if both test and val exist, val is not used.
    """
    root, skipped = data_root() / Path(folder).expanduser(), Skipped()
    train = _list_images(root / "train", skipped)
    test = _list_images(root / "test" if (root / "test").is_dir() else root / "val", skipped)
    if foreign := sorted(set(test.classes) - set(train.classes)):
        raise DataError(
            f"data set 'imagefolder': {test.folder} has classes {foreign} that train lacks", "folder"
        )
    paths, labels = train.paths, train.labels(train.classes)

    def read(index: Tensor) -> Images:
        chosen = [paths[position] for position in index.tolist()]
        return Images(decode(chosen, size), labels[index]).channels_last()

    def read_test() -> Images:
        return Images(decode(test.paths, size), test.labels(train.classes)).channels_last()

    return Source(
        classes=len(train.classes),
        shape=(3, size, size),
        labels=labels,
        read=read,
        test_size=len(test.paths),
        read_test=read_test,
        skipped=skipped,
    )


class _Part(NamedTuple):
    """The images of train or of test: their classes, sorted, and the paths of the images of each."""

    folder: Path
    classes: list[str]
    paths_by_class: list[list[bytes]]

    @property
    def paths(self) -> list[bytes]:
        return [path for paths in self.paths_by_class for path in paths]

    def labels(self, classes: list[str]) -> Tensor:
        """The number of each image's class among `classes`."""
        counts = torch.tensor([len(paths) for paths in self.paths_by_class])
        return torch.tensor([classes.index(name) for name in self.classes]).repeat_interleave(counts)


def _list_images(folder: Path, skipped: Skipped) -> _Part:
    """The images of each class, at any depth: folder by folder, as torchvision's ImageFolder lists them."""
    root = os.fsencode(folder)
    try:
        top = content_of(root, skipped)
        if top.images:
            skipped[OUTSIDE] += len(top.images)
        names = sorted(top.folders)
        paths = [sorted(images_below(root, name, skipped), key=os.path.split) for name in names]
        if not names:
            raise DataError("it holds no folders")
        if empty := [os.fsdecode(name) for name, found in zip(names, paths, strict=True) if not found]:
            raise DataError(f"the class {empty[0]!r} has none")
    except DataError as error:
        raise DataError(
            f"data set 'imagefolder': no images in {folder} ({error}).\n"
            "It needs <folder>/train/<class>/*.jpg and the same below <folder>/test or <folder>/val;\n"
            f"the option folder is absolute or below FLIPBENCH_DATA (now {data_root()})",
            "folder",
        ) from error
    whole = [[os.path.join(root, path) for path in found] for found in paths]
    return _Part(folder, list(map(os.fsdecode, names)), whole)


def decode(paths: Sequence[bytes], size: int) -> Tensor:
    """Image files as one uint8 tensor (N, 3, size, size): short side resized to `size`, centre cropped, RGB.

    DataError names the first file that cannot be decoded, and refuses more images than fit into memory.
    StopRequested if this process is asked to stop.
    """
    needed, memory = len(paths) * 3 * size * size, memory_bytes()
    if needed > memory:
        raise DataError(
            f"data set 'imagefolder': {len(paths)} images of {size}x{size} need {needed / 1e9:.0f} GB, "
            f"the machine has {memory / 1e9:.0f} GB of memory. Choose a smaller size or train_limit",
            "size",
        )
    pixels = torch.empty(len(paths), size, size, 3, dtype=torch.uint8)

    def decode_into(position: int) -> None:
        pixels[position] = torch.from_numpy(_decode_one(paths[position], size))

    # Pillow releases the interpreter lock while it decodes.
    pool = ThreadPoolExecutor(torch.get_num_threads())
    try:
        for _ in unless_stopped(pool.map(decode_into, range(len(paths)))):
            pass
    finally:
        pool.shutdown(cancel_futures=True)  # a stop, or a damaged image, waits for no other image
    return pixels.permute(0, 3, 1, 2)


def _decode_one(path: bytes, size: int) -> np.ndarray:
    try:
        image = Image.fromarray(decode_image(read_bytes(path)).numpy())
    except DamagedImage as error:
        raise DataError(
            f"data set 'imagefolder': the image {os.fsdecode(path)} cannot be used: {error}"
        ) from error
    return np.array(ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR))


IMAGE_FOLDER = Dataset(
    name="imagefolder",
    summary="Your own images, <folder>/{train,test or val}/<class>/*.jpg, resized and cropped to one size.",
    augment="crop-flip",
    open=open_image_folder,
    required={"folder": str, "size": int},
    limits={"size": PIXELS},
    folder=lambda options: data_root() / Path(options["folder"]).expanduser(),
)

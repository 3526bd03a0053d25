"""Any tree of image files, one folder per class, in the layout that ImageNet is usually unpacked to."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from suite.data.errors import DataError
from suite.data.files import data_root
from suite.data.memory import Images
from suite.data.source import Dataset, Source


def open_image_folder(folder: str, size: int) -> Source:
    """The trees folder/train and folder/test (else folder/val); images are decoded only when they are read.

    Validation is always carved out of train; if both test and val exist, val is not used.
    """
    root = data_root() / Path(folder).expanduser()
    train = _list_images(root / "train")
    test = _list_images(root / "test" if (root / "test").is_dir() else root / "val")
    if foreign := sorted(set(test.classes) - set(train.classes)):
        raise DataError(
            f"data set 'imagefolder': {test.root} has classes {foreign} that train lacks", "folder"
        )
    paths, labels = np.array([path for path, _ in train.samples]), torch.tensor(train.targets)

    def read(index: Tensor) -> Images:
        return Images(decode(paths[index.numpy()].tolist(), size), labels[index]).channels_last()

    def read_test() -> Images:
        labels = torch.tensor([train.class_to_idx[test.classes[label]] for label in test.targets])
        return Images(decode([path for path, _ in test.samples], size), labels).channels_last()

    return Source(
        classes=len(train.classes),
        shape=(3, size, size),
        labels=labels,
        read=read,
        test_size=len(test.samples),
        read_test=read_test,
    )


def _list_images(folder: Path) -> Any:
    from torchvision.datasets import ImageFolder  # here, because importing it takes seconds

    try:
        return ImageFolder(str(folder))
    except OSError as error:
        raise DataError(
            f"data set 'imagefolder': no images in {folder} ({error}).\n"
            "It needs <folder>/train/<class>/*.jpg and the same below <folder>/test or <folder>/val;\n"
            f"the option folder is absolute or below FLIPBENCH_DATA (now {data_root()})",
            "folder",
        ) from error


def decode(paths: list[str], size: int) -> Tensor:
    """Image files as one uint8 tensor (N, 3, size, size): short side resized to `size`, centre cropped, RGB.

    DataError names the first file that cannot be decoded, and refuses more images than fit into memory.
    """
    needed, memory = len(paths) * 3 * size * size, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
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
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        for _ in pool.map(decode_into, range(len(paths))):
            pass
    return pixels.permute(0, 3, 1, 2)


def _decode_one(path: str, size: int) -> np.ndarray:
    try:
        with Image.open(path) as image:
            square = ImageOps.fit(image.convert("RGB"), (size, size), Image.Resampling.BILINEAR)
    except Exception as error:  # Pillow's decoders raise many types for damaged files
        raise DataError(f"data set 'imagefolder': cannot read the image {path}: {error}") from error
    return np.array(square)


IMAGE_FOLDER = Dataset(
    name="imagefolder",
    summary="Your own images, <folder>/{train,test or val}/<class>/*.jpg, resized and cropped to one size.",
    augment="crop-flip",
    open=open_image_folder,
    required={"folder": str, "size": int},
    folder=lambda options: data_root() / Path(options["folder"]).expanduser(),
)

"""Small trees of images: windows of scikit-learn's two photographs, saved as JPEG."""

from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("n01440764", "n02102040", "n03000684")


@cache
def _photographs() -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    return load_sample_images().images


def window(number: int, height: int, width: int) -> np.ndarray:
    """uint8 (height, width, 3), another one for every number."""
    photograph = _photographs()[number % 2]
    top = number * 37 % (photograph.shape[0] - height + 1)
    left = number * 53 % (photograph.shape[1] - width + 1)
    return photograph[top : top + height, left : left + width]


def write_jpeg(path: Path, number: int, height: int = 48, width: int = 64) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(window(number, height, width)).save(path, "JPEG", quality=92)


def write_tree(root: Path, train: int = 4, val: int = 2, height: int = 48, width: int = 64) -> Path:
    """`train` and `val` images of each of three classes, in the folders of their classes."""
    number = 0
    for part, count in (("train", train), ("val", val)):
        for name in CLASSES:
            for image in range(count):
                write_jpeg(root / part / name / f"{name}_{image}.JPEG", number, height, width)
                number += 1
    return root

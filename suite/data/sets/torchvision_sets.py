"""The data sets that torchvision downloads and reads: MNIST, Fashion-MNIST, CIFAR-10, CIFAR-100, SVHN."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from suite.data.files import require_files
from suite.data.memory import Images
from suite.data.source import Dataset, Shape, Source
from suite.records.trial import Augmentation


def torchvision_set(
    name: str,
    constructor: str,
    images: Callable[[Any], Images],
    files: Mapping[str, str],
    *,
    summary: str,
    classes: int,
    shape: Shape,
    train: int,
    test: int,
    augment: Augmentation,
) -> Dataset:
    """A Dataset around the class of torchvision.datasets called `constructor`.

    `images` converts its instances; `files` maps each path below the data folder to its MD5.
    """

    def read(root: Path, part: str, download: bool = False) -> Images:
        import torchvision.datasets  # here, because importing it takes seconds

        which = {"split": part} if constructor == "SVHN" else {"train": part == "train"}
        return images(getattr(torchvision.datasets, constructor)(root, **which, download=download))

    def download(root: Path) -> None:
        for part in ("train", "test"):
            read(root, part, download=True)

    def open_set() -> Source:
        root = require_files(name, files, download)
        whole = read(root, "train")
        return Source(
            classes, shape, whole.labels, whole.subset, test, lambda: read(root, "test").channels_last()
        )

    return Dataset(name, summary, augment, open_set, classes, shape, train, test, files=tuple(files))


def mnist_images(loaded: Any) -> Images:
    """Images of torchvision's MNIST family, which keeps them as a tensor (N, H, W)."""
    return Images(loaded.data[:, None], loaded.targets)


def cifar_images(loaded: Any) -> Images:
    """Images of torchvision's CIFAR family, which keeps them as an array (N, H, W, C)."""
    return Images(torch.from_numpy(loaded.data).permute(0, 3, 1, 2), torch.tensor(loaded.targets))


def svhn_images(loaded: Any) -> Images:
    """Images of torchvision's SVHN, which keeps them as an array (N, C, H, W)."""
    return Images(torch.from_numpy(loaded.data), torch.from_numpy(loaded.labels))


MNIST = torchvision_set(
    "mnist",
    "MNIST",
    mnist_images,
    {
        "MNIST/raw/train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "MNIST/raw/train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "MNIST/raw/t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "MNIST/raw/t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    summary="70,000 handwritten digits of 28x28 grey pixels (LeCun and Cortes, http://yann.lecun.com/exdb/mnist).",
    classes=10,
    shape=(1, 28, 28),
    train=60_000,
    test=10_000,
    augment="none",
)

FASHION_MNIST = torchvision_set(
    "fashion-mnist",
    "FashionMNIST",
    mnist_images,
    {
        "FashionMNIST/raw/train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "FashionMNIST/raw/train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "FashionMNIST/raw/t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "FashionMNIST/raw/t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    summary="70,000 pictures of clothes, 28x28 grey pixels (Zalando, https://arxiv.org/abs/1708.07747).",
    classes=10,
    shape=(1, 28, 28),
    train=60_000,
    test=10_000,
    augment="none",
)

CIFAR10 = torchvision_set(
    "cifar10",
    "CIFAR10",
    cifar_images,
    {
        "cifar-10-batches-py/data_batch_1": "c99cafc152244af753f735de768cd75f",
        "cifar-10-batches-py/data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "cifar-10-batches-py/data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "cifar-10-batches-py/data_batch_4": "634d18415352ddfa80567beed471001a",
        "cifar-10-batches-py/data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "cifar-10-batches-py/test_batch": "40351d587109b95175f43aff81a1287e",
        "cifar-10-batches-py/batches.meta": "5ff9c542aee3614f3951f8cda6e48888",
    },
    summary="60,000 photographs of 10 kinds of things, 32x32 pixels (https://www.cs.toronto.edu/~kriz/cifar.html).",
    classes=10,
    shape=(3, 32, 32),
    train=50_000,
    test=10_000,
    augment="crop-flip",
)

CIFAR100 = torchvision_set(
    "cifar100",
    "CIFAR100",
    cifar_images,
    {
        "cifar-100-python/train": "16019d7e3df5f24257cddd939b257f8d",
        "cifar-100-python/test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
        "cifar-100-python/meta": "7973b15100ade9c7d40fb424638fde48",
    },
    summary="60,000 photographs of 100 kinds of things, 32x32 pixels (https://www.cs.toronto.edu/~kriz/cifar.html).",
    classes=100,
    shape=(3, 32, 32),
    train=50_000,
    test=10_000,
    augment="crop-flip",
)

SVHN = torchvision_set(
    "svhn",
    "SVHN",
    svhn_images,
    {
        "train_32x32.mat": "e26dedcc434d2e4c54c9b2d4a06d8373",
        "test_32x32.mat": "eb5a983be6a315427106f1b164d9cef3",
    },
    summary="99,289 house-number digits of 32x32 pixels, without 'extra' (http://ufldl.stanford.edu/housenumbers).",
    classes=10,
    shape=(3, 32, 32),
    train=73_257,
    test=26_032,
    augment="crop",  # a mirrored digit is not that digit
)

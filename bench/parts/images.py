"""Random crops of 224x224 from photographs on disk: the usual recipe, and ours from each form of them.

Images per second of one core, from files in the page cache to a normalised float32 batch. The files are 64
windows of 500x375 pixels, a typical size in ImageNet, cut from scikit-learn's two photographs.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader

from bench.race import Bench, Row
from suite.data.stored.crops import DEVIATION, MEAN, normalise
from suite.data.stored.open import open_stored
from suite.data.stored.prepare import Encoding, prepare
from suite.machine.environment import keep_freed_memory

COUNT, BATCH, SIZE, SIDE = 64, 32, 224, 256
HEIGHT, WIDTH = 375, 500
QUALITIES = {"china.jpg": 95, "flower.jpg": 98}  # about 90 kB each, as ImageNet's files of this size are
BASELINE = "ImageFolder, PIL"


def write_photographs(folder: Path, count: int) -> None:
    """Files of two classes, different windows of one photograph each."""
    from sklearn.datasets import load_sample_images  # here, because importing it takes a second

    photographs = load_sample_images()
    for name, photograph in zip(map(Path, photographs.filenames), photographs.images, strict=True):
        down, across = photograph.shape[0] - HEIGHT, photograph.shape[1] - WIDTH
        for part, number in (("train", count // 2), ("val", 1)):
            (folder / part / name.stem).mkdir(parents=True)
            for window in range(number):
                top, left = window * 7 % (down + 1), window * 13 % (across + 1)
                image = Image.fromarray(photograph[top : top + HEIGHT, left : left + WIDTH])
                path = folder / part / name.stem / f"{window:03}.JPEG"
                image.save(path, quality=QUALITIES[name.name])


def usual_recipe(folder: Path) -> Callable[[], object]:
    """One epoch of torchvision's ImageFolder, with the transforms of its own training script."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([mean / 255 for mean in MEAN], [deviation / 255 for deviation in DEVIATION]),
        ]
    )
    loader = DataLoader(ImageFolder(str(folder / "train"), transform), BATCH, shuffle=True)
    return lambda: [None for _ in loader]


def our_epoch(folder: Path) -> Callable[[], object]:
    """One epoch of random crops, in the order of the files; a new key and so new crops every time."""
    images, keys = open_stored(folder, SIZE, "stop").train, iter(range(10**9))

    def epoch() -> None:
        key = next(keys)
        for batch in torch.arange(len(images)).split(BATCH):
            normalise(images.train_crops(batch.tolist(), key).pixels)

    return epoch


def measure(bench: Bench) -> list[Row]:
    """Images per second of one core, decoding included."""
    cpu = Bench(torch.device("cpu"), bench.rounds, bench.quick, bench.progress)
    keep_freed_memory()  # as in training, and for all variants alike
    count = 8 if bench.quick else COUNT
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch) / "tree"
        write_photographs(tree, count)
        variants = {BASELINE: usual_recipe(tree), "ours, the same files": our_epoch(tree)}
        encodings: dict[str, Encoding] = {"jpeg": "jpeg", "pixels": "pixels"}
        for name, encoding in encodings.items():
            prepare(tree, Path(scratch) / name, encoding=encoding, side=SIDE)
            variants[f"ours, prepared as {name}"] = our_epoch(Path(scratch) / name)
        race = cpu.race("images", variants)
    return [
        Row(
            "images",
            f"random crops, {SIZE}x{SIZE}",
            name,
            count / race.median(name),
            "images/s",
            race.rounds,
            BASELINE,
            race.faster(name, BASELINE),
        )
        for name in variants
    ]

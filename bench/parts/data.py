"""Augmented batches of 32x32 images: one gather each, against a DataLoader with torchvision's transforms."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from bench.race import Bench, Row
from suite.data.image_set import WHOLE
from suite.data.memory import Images

COUNT, BATCH = 50_000, 128
NAIVE_COUNT = 2_048  # images of one naive sample: an epoch would take too long


def synthetic(count: int) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.randint(10, (count,), generator=generator))


class PILImages(Dataset):
    """Images as torchvision's CIFAR10 holds them: an array; each becomes a PIL image on demand."""

    def __init__(self, images: Images) -> None:
        from torchvision import transforms

        self.pixels = images.pixels.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels = images.labels.tolist()
        self.transform: Callable[[Any], Tensor] = transforms.Compose(
            [
                transforms.RandomCrop(32, padding=4),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize((0.5,) * 3, (0.5,) * 3),
            ]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        from PIL import Image

        return self.transform(Image.fromarray(self.pixels[index])), self.labels[index]


def one_epoch(images: Images) -> Callable[[], object]:
    batches = images.train_batches(
        BATCH, seed=0, augment="crop-flip", device=images.labels.device, slices=WHOLE, damaged=set()
    )
    return lambda: [None for _ in batches.epoch(1)]


def one_naive_epoch(images: Images) -> Callable[[], object]:
    loader = DataLoader(PILImages(images), BATCH, shuffle=True, drop_last=True)
    return lambda: [None for _ in loader]


def measure(bench: Bench) -> list[Row]:
    """Images per second of one core: pad by 4, crop, mirror, scale."""
    ours = synthetic(2 * BATCH if bench.quick else COUNT)
    naive = synthetic(BATCH if bench.quick else NAIVE_COUNT)
    on_device = ours.to(bench.device)
    names = {"DataLoader, PIL": len(naive), "ours": len(ours) // BATCH * BATCH}
    race = bench.race("data", {"DataLoader, PIL": one_naive_epoch(naive), "ours": one_epoch(on_device)})
    rows = []
    for name, images in names.items():
        # The samples differ in size, so the ratio is one of images per second.
        ratio = race.faster(name, "DataLoader, PIL") * images / names["DataLoader, PIL"]
        value = images / race.median(name)
        rows.append(
            Row(
                "data", "crop and flip, 32x32", name, value, "images/s", race.rounds, "DataLoader, PIL", ratio
            )
        )
    return rows

"""The part of an image that a network sees, resized to a square: Inception's random crops, the central crop.

As the Bop authors' code prepares ImageNet (https://github.com/plumerai/rethinking-bnn-optimization,
bnn_optimization/data/imagenet.py, EfficientNet's preprocessing), with two deviations. It draws a box with
TensorFlow's sample_distorted_bounding_box: aspect ratio uniform, then a height uniform among those whose area
is allowed. Here it is drawn as torchvision's RandomResizedCrop does, as most papers' networks were trained:
area uniform, aspect ratio log-uniform. And that code resizes bicubically without antialiasing; here with it.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

AREA = (0.08, 1.0)  # share of the image
LOG_ASPECT = (math.log(3 / 4), math.log(4 / 3))  # width / height
ATTEMPTS = 10
PADDING = 32  # pixels around the central crop in a resized image: 224 of 256

# Of red, green and blue, on a scale to 255; nearly all networks for ImageNet are trained with these.
MEAN = tuple(255 * share for share in (0.485, 0.456, 0.406))
DEVIATION = tuple(255 * share for share in (0.229, 0.224, 0.225))
NORMALISATION = "(x - [123.675, 116.28, 103.53]) / [58.395, 57.12, 57.375]"


class Box(NamedTuple):
    """A part of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


class Draw(NamedTuple):
    """The random numbers of one crop, each in [0, 1)."""

    areas: Sequence[float]  # one for each attempt
    aspects: Sequence[float]
    top: float
    left: float
    flip: float

    @property
    def flipped(self) -> bool:
        """Whether the image is mirrored: half of all are."""
        return self.flip < 0.5


def draws(key: int, samples: Sequence[int]) -> list[Draw]:
    """The draw of each sample: a function of the key (0 to 2^64 - 1) and its own number alone."""
    table = uniform(key, np.asarray(samples, dtype=np.int64), 2 * ATTEMPTS + 3).tolist()
    return [Draw(row[:ATTEMPTS], row[ATTEMPTS : 2 * ATTEMPTS], *row[2 * ATTEMPTS :]) for row in table]


def uniform(key: int, samples: np.ndarray, count: int) -> np.ndarray:
    """Numbers in [0, 1), float64 (B, count), that depend on the key and the sample's number, int64 (B,).

    The i-th output of the generator SplitMix64, seeded with `key`, is the seed of sample i's own generator,
    whose first outputs are the numbers. It is counter-based: any output can be computed without those before
    it. Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014,
    https://doi.org/10.1145/2660193.2660195.
    """
    seeds = _split_mix(np.uint64(key) + (samples.astype(np.uint64) + np.uint64(1)) * GAMMA)
    bits = _split_mix(seeds[:, None] + np.arange(1, count + 1, dtype=np.uint64) * GAMMA)
    return (bits >> np.uint64(11)) * 2.0**-53


GAMMA = np.uint64(0x9E3779B97F4A7C15)


def _split_mix(state: np.ndarray) -> np.ndarray:
    """SplitMix64's output at a state: every bit of it depends on all bits of the state."""
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def random_box(draw: Draw, height: int, width: int) -> Box:
    """The part of an image that training sees: the first of ten attempts that fits.

    If none does, the largest central part of an allowed aspect ratio, as in torchvision.
    """
    for area, aspect in zip(draw.areas, draw.aspects, strict=True):
        pixels = height * width * _between(AREA, area)
        ratio = math.exp(_between(LOG_ASPECT, aspect))
        across, down = round(math.sqrt(pixels * ratio)), round(math.sqrt(pixels / ratio))
        if 0 < across <= width and 0 < down <= height:
            top, left = int(draw.top * (height - down + 1)), int(draw.left * (width - across + 1))
            return Box(top, left, down, across)
    narrowest, widest = (math.exp(limit) for limit in LOG_ASPECT)
    across, down = min(width, round(height * widest)), min(height, round(width / narrowest))
    return Box((height - down) // 2, (width - across) // 2, down, across)


def _between(limits: tuple[float, float], share: float) -> float:
    return limits[0] + (limits[1] - limits[0]) * share


def central_box(size: int, height: int, width: int) -> Box:
    """The part of an image that evaluation sees: a central square, size / (size + 32) of the short side."""
    side = max(1, int(size / (size + PADDING) * min(height, width)))
    return Box((height - side + 1) // 2, (width - side + 1) // 2, side, side)


def cut(image: Tensor, box: Box, into: Tensor, *, flipped: bool = False) -> None:
    """Write a part of an image, uint8 (H, W, 3), resized, into uint8 (size, size, 3); mirrored if wanted.

    Bicubic with antialiasing, rounded to whole numbers; a part that has the size already is only copied.
    """
    part = image[box.top : box.top + box.height, box.left : box.left + box.width]
    part = part.flip(1) if flipped else part.contiguous()
    if part.shape == into.shape:
        into.copy_(part)
    else:
        # The function behind F.interpolate, writing into its place: that saves a copy.
        resize = torch.ops.aten._upsample_bicubic2d_aa.out
        resize(_channels_first(part), list(into.shape[:2]), False, out=_channels_first(into))


def shrink(image: Tensor, height: int, width: int) -> Tensor:
    """uint8 (H, W, 3) as uint8 (height, width, 3), resized as `cut` does."""
    batch = _channels_first(image.contiguous())
    smaller = F.interpolate(batch, size=(height, width), mode="bicubic", antialias=True)
    return smaller[0].permute(1, 2, 0).contiguous()


def _channels_first(image: Tensor) -> Tensor:
    """(H, W, 3) as a batch of one (1, 3, H, W), channels-last: torch has its fastest kernels for that."""
    return image.permute(2, 0, 1)[None]


def normalise(pixels: Tensor) -> Tensor:
    """uint8 (B, H, W, 3) as float32 (B, 3, H, W), channels-last: (x - MEAN) / DEVIATION of each colour."""
    rows = pixels.flatten(2)  # (B, H, W * 3): long rows are faster than many of three
    mean = torch.tensor(MEAN, device=pixels.device).repeat(pixels.shape[2])
    inverse = torch.tensor(DEVIATION, device=pixels.device).reciprocal().repeat(pixels.shape[2])
    scaled = rows.to(torch.float32)
    torch.addcmul(-mean * inverse, scaled, inverse, out=scaled)
    return scaled.view(pixels.shape).permute(0, 3, 1, 2)

"""The networks that every contender trains, their start, and the images.

This file needs only NumPy, because each contender runs in an environment of its own.
"""

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CLASSES = 10
SHAPE = (32, 32, 3)  # height, width, channels
BATCHES = 32  # different batches, used again and again


@dataclass(frozen=True)
class Network:
    """BinaryNet (suite/models/binarynet.py) at one width; `batch` images in each step."""

    width: float
    batch: int


NETWORKS = {
    "binarynet-1": Network(width=1.0, batch=50),
    "binarynet-1/8": Network(width=0.125, batch=128),
}
METHODS = ("latent-adam", "bop")
PRECISIONS = ("float32", "bfloat16")

# The published defaults of both methods, and the learning rate of Adam for the real parameters.
LATENT_RATE, REAL_RATE, EPSILON = 1e-3, 1e-2, 1e-7
GAMMA, THRESHOLD = 1e-4, 1e-8


class Cell(NamedTuple):
    """A network, a method and a precision: keys of NETWORKS, METHODS and PRECISIONS."""

    network: str
    method: str
    precision: str


def widths(network: Network) -> tuple[list[int], list[int]]:
    """The outputs of the six convolutions and of the three dense layers."""
    a, b, c, dense = (max(1, round(network.width * n)) for n in (128, 256, 512, 1024))
    return [a, a, b, b, c, c], [dense, dense, CLASSES]


def start(network: Network) -> list[np.ndarray]:
    """The same Glorot uniform start for every contender, float32, in the order of the forward pass.

    Convolutions are (height, width, inputs, outputs). Dense layers are (inputs, outputs), but the first one
    is (height, width, inputs, outputs) too: frameworks flatten the map before it in different orders.
    """
    random = np.random.default_rng(1)
    convolutions, dense = widths(network)
    shapes: list[tuple[int, ...]] = []
    for inputs, outputs in zip([SHAPE[2], *convolutions], convolutions, strict=False):
        shapes.append((3, 3, inputs, outputs))
    shapes.append((3, 3, convolutions[-1], dense[0]))  # 32x32, less 2 at the first layer, halved three times
    shapes += itertools.pairwise(dense)
    return [_glorot_uniform(random, shape, dense=n >= len(convolutions)) for n, shape in enumerate(shapes)]


def _glorot_uniform(random: np.random.Generator, shape: tuple[int, ...], dense: bool) -> np.ndarray:
    field = int(np.prod(shape[:-2]))
    fan_in, fan_out = field * shape[-2], shape[-1] * (1 if dense else field)
    limit = (6.0 / (fan_in + fan_out)) ** 0.5
    return random.uniform(-limit, limit, shape).astype(np.float32)


def images(network: Network, batches: int = BATCHES) -> tuple[np.ndarray, np.ndarray]:
    """Noise in [-1, 1], float32 of shape (batches, batch, height, width, channels), and int64 labels."""
    random = np.random.default_rng(2)
    pixels = random.uniform(-1.0, 1.0, (batches, network.batch, *SHAPE)).astype(np.float32)
    return pixels, random.integers(0, CLASSES, (batches, network.batch))

"""Which test images a final run has right: the file test_correct.npy, one bit for each image."""

import io

import numpy as np

from suite.records.agreement import Contradiction
from suite.records.run import RunFolder
from suite.records.schema import Result

FILE = "test_correct.npy"


def read_correct(folder: RunFolder, result: Result, images: int) -> bytes:
    """The packed bits, which agree with the run's score on a test set of so many images.

    They take a byte for eight images: a run of ten thousand images holds 1.25 kB. DamagedRecord for a file
    that is absent or not as it was written, Contradiction for one of another test set or another score.
    """
    packed = np.load(io.BytesIO(folder.content(FILE, result)), allow_pickle=False)
    path = folder.path / FILE
    if packed.dtype != np.uint8 or packed.shape != ((images + 7) // 8,):
        raise Contradiction(path, f"holds {packed.shape} of {packed.dtype}, not bits of {images} test images")
    right = int(np.unpackbits(packed).sum())
    if right / images != result.scores.test_top1:
        score = result.scores.test_top1
        raise Contradiction(path, f"{right} of {images} test images are right here, but test_top1 is {score}")
    return packed.tobytes()


def count_correct(runs: list[bytes], images: int) -> np.ndarray:
    """For each test image, how many of these runs have it right, uint16."""
    counts = np.zeros(images, np.uint16)
    for packed in runs:
        counts += np.unpackbits(np.frombuffer(packed, np.uint8), count=images)
    return counts

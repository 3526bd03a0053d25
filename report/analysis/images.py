"""What the choice of the test images adds to the standard error of a difference.

Two networks err mostly on the same images, so their difference varies far less over test sets than two
independent accuracies would. The correctness of each image shows by how much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class ImageProfile:
    """How a method does on each image."""

    rates: np.ndarray  # of being right, mean over units
    noise: float  # variance of `rates` that comes from the units: it is a part of their variance already


def image_profile(rates: np.ndarray, constant: bool = False) -> ImageProfile:
    """The profile of correctness per (unit, image).

    constant: whether the units agree on the whole. Where they do, and not on each image, no variance holds
    that noise already.
    """
    units, images = rates.shape
    known = units > 1 and images > 1 and not constant
    return ImageProfile(rates.mean(axis=0), residual_mean_square(rates) / units if known else 0.0)


def residual_mean_square(rates: np.ndarray) -> float:
    """The interaction of unit and image: what is left without the means of both."""
    units, images = rates.shape
    left = rates - rates.mean(axis=0)
    left -= left.mean(axis=1, keepdims=True)
    return float(np.vdot(left, left)) / ((units - 1) * (images - 1))


def image_variances(profiles: Sequence[ImageProfile]) -> np.ndarray:
    """The squared standard error that the images add to the difference of each pair, (methods, methods)."""
    rates = np.stack([each.rates for each in profiles])
    noise = np.array([each.noise for each in profiles])
    images = rates.shape[1]
    if images < 2:
        return np.zeros((len(profiles), len(profiles)))
    covariance = np.atleast_2d(np.cov(rates))
    own = np.diag(covariance)
    of_difference = own[:, None] + own[None, :] - 2 * covariance
    return np.maximum(0.0, of_difference - noise[:, None] - noise[None, :]) / images

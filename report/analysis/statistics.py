"""The tuning curve of a random search: pure functions over numbers, no records and no drawing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from opda.nonparametric import EmpiricalDistribution


class TuningCurve(NamedTuple):
    """The best score of so many trials, for n = 1 … trials or some of these, and a band if there is one."""

    trials: np.ndarray
    values: np.ndarray
    lower: np.ndarray | None = None
    upper: np.ndarray | None = None


def evenly(count: int, most: int) -> np.ndarray:
    """At most so many of the positions 0 … count - 1, the first and the last among them, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def best_of_n(scores: Sequence[float], confidence: float = 0.8) -> TuningCurve:
    """The median best of n independent draws from one fixed distribution of scores in [0, 1].

    The band holds for the whole curve at once (Lourie et al. 2024, https://arxiv.org/abs/2311.09480). Of
    opda's four bands this is DKW's: it allows ties, which accuracies on a finite set have, and needs no
    simulation, so that the same scores give the same band. For more than 200 scores the curve is computed at
    200 numbers of trials: the time for all of them would grow with the square. Raises ValueError for fewer
    than two scores.
    """
    if len(scores) < 2:
        raise ValueError(f"a tuning curve needs at least two random trials, got {len(scores)}")
    bands = EmpiricalDistribution.confidence_bands(
        np.asarray(scores, float), confidence, 0.0, 1.0, method="dkw"
    )
    low_cdf, point, high_cdf = bands
    trials = 1 + evenly(len(scores), most=200)
    # The upper band of the distribution function is the lower band of its quantiles.
    curves = [np.asarray(each.quantile_tuning_curve(trials)) for each in (point, high_cdf, low_cdf)]
    return TuningCurve(trials, *curves)

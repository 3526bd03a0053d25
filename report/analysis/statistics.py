"""The statistics of the report: pure functions over numbers, no records and no drawing."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from opda.nonparametric import EmpiricalDistribution
from scipy import stats

# Accuracies are ratios of whole numbers; differences below this are rounding errors of the arithmetic.
SAME = 1e-12


def t_interval(values: Sequence[float], confidence: float = 0.95) -> float:
    """Half the width of Student's t-interval of the mean; NaN for fewer than two values.

    It covers as often as it promises for the few runs of a cell, where a percentile bootstrap is too narrow.
    """
    n = len(values)
    if n < 2:
        return float("nan")
    quantile = stats.t.ppf((1 + confidence) / 2, n - 1)
    return float(quantile * standard_deviation(values) / np.sqrt(n))


def standard_deviation(values: Sequence[float]) -> float:
    """The sample standard deviation (n - 1); NaN for fewer than two values, exactly 0 for equal ones."""
    if len(values) < 2:
        return float("nan")
    return 0.0 if np.ptp(values) < SAME else float(np.std(values, ddof=1))


def sampling_noise(accuracy: float, images: int) -> float:
    """Standard error of an accuracy measured once on a test set of this many images: sqrt(p (1 - p) / N)."""
    return float(np.sqrt(accuracy * (1 - accuracy) / images))


def smallest_difference(first: float, second: float, images: int) -> float:
    """The difference of two accuracies that 95 % of test sets of this many images would not reverse.

    It assumes independent models and so is conservative: models that err on the same images differ less by
    chance.
    """
    noise = np.hypot(sampling_noise(first, images), sampling_noise(second, images))
    return float(stats.norm.ppf(0.975) * noise)


def paired_p(first: Sequence[float], second: Sequence[float]) -> float:
    """Two-sided p of the paired t-test, pairs sharing a seed.

    NaN where the test is undefined: fewer than two pairs, or all differences the same. scipy's ttest_rel only
    warns of these cases, and gives a p for equal differences that rounding makes unequal.
    """
    differences = np.asarray(first, float) - np.asarray(second, float)
    if len(differences) < 2 or np.ptp(differences) < SAME:
        return float("nan")
    n = len(differences)
    t = np.mean(differences) / (np.std(differences, ddof=1) / np.sqrt(n))
    return float(2 * stats.t.sf(abs(t), n - 1))


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction; an undefined (NaN) p stays NaN and is not counted as a comparison."""
    order = sorted((p, index) for index, p in enumerate(p_values) if not np.isnan(p))
    corrected = [float("nan")] * len(p_values)
    largest = 0.0
    for rank, (p, index) in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p))
        corrected[index] = largest
    return corrected


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

"""The variance of a method with few units, informed by that of the others.

The empirical Bayes estimate of Smyth (2004, https://doi.org/10.2202/1544-6115.1027), as in the R package
limma: variances s² of the methods are s0² times a scaled inverse chi-square with d0 degrees of freedom. Both
are estimated from the mean and the variance of log s².
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import digamma, polygamma


@dataclass(frozen=True)
class Prior:
    variance: float  # s0²
    df: float  # d0: what the prior counts; infinite if the variances differ no more than by chance


def prior_of(variances: Sequence[float], dfs: Sequence[int]) -> Prior | None:
    """The prior of positive sample variances with these degrees of freedom; None of fewer than two."""
    if len(variances) < 2:
        return None
    half = np.asarray(dfs) / 2
    logs = np.log(variances) - digamma(half) + np.log(half)
    mean = float(np.mean(logs))
    excess = float(np.var(logs, ddof=1) - np.mean(polygamma(1, half)))
    if excess <= 0:
        return Prior(math.exp(mean), math.inf)
    d0 = 2 * trigamma_inverse(excess)
    return Prior(math.exp(mean + float(digamma(d0 / 2)) - math.log(d0 / 2)), d0)


def trigamma_inverse(value: float) -> float:
    """The positive x whose trigamma is this positive value."""
    # 1/x < trigamma(x) < 1/x + 1/x² for every positive x, so the root lies between these two.
    low, high = 1 / value, (1 + math.sqrt(1 + 4 * value)) / (2 * value)
    root = brentq(lambda x: float(polygamma(1, x)) - value, low, high, xtol=1e-14 * high)
    return float(root)  # pyright: ignore[reportArgumentType]


def moderated(variance: float, df: int, prior: Prior) -> float:
    """The posterior variance, or the method's own if that is larger.

    The maximum keeps the error rate where the spread of the methods differs: a method that varies more than
    the others must not be taken for a quieter one.
    """
    if math.isinf(prior.df):
        return max(variance, prior.variance)
    return max(variance, (prior.df * prior.variance + df * variance) / (prior.df + df))

"""The variance of a method with few units, informed by that of the others.

The empirical Bayes estimate of Smyth (2004, https://doi.org/10.2202/1544-6115.1027), as in the R package
limma: variances s² of the methods are s0² times a scaled inverse chi-square with d0 degrees of freedom. Both
are estimated from the mean and the variance of log s².

A method whose results are all over the place is no member of that population, and with it the variances of
the others would seem to say little about each other. Phipson et al. (2016,
https://doi.org/10.1214/16-AOAS920) weigh such variances down; here a test leaves them out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

ERRATIC = 0.05  # chance to leave out some variance of a population without outliers


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


def erratic(variances: Sequence[float], dfs: Sequence[int]) -> list[int]:
    """The places of positive sample variances that are too large for the population of the others.

    At most a quarter of them. Each of the largest is tested against the prior of all smaller ones, and as
    many are left out as the last test that rejects says: so two outliers do not hide each other (the
    generalized procedure of Rosner 1983, https://doi.org/10.1080/00401706.1983.10487848, with an F test). How
    well the others know s0² limits its degrees of freedom.
    """
    rising = sorted(range(len(variances)), key=lambda place: variances[place])
    outside = 0
    for count in range(1, len(rising) // 4 + 1):
        *others, tested = rising[: len(rising) - count + 1]
        prior = prior_of([variances[place] for place in others], [dfs[place] for place in others])
        assert prior is not None  # of three or more
        df = min(prior.df, sum(dfs[place] for place in others))
        p = stats.f.sf(variances[tested] / prior.variance, dfs[tested], df)
        if p < ERRATIC / (len(others) + 1):
            outside = count
    return rising[len(rising) - outside :]


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

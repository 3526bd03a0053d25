"""Critical values of many comparisons at once, by quadrature: the same numbers on every call.

Both families have the same form: a function of normal variables, averaged over the estimate of their standard
deviation. scipy's `studentized_range` gives the first one too, but takes 0.3 s for a quantile, and each pair
of methods has its own degrees of freedom; scipy's `dunnett` draws random numbers.
"""

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import stats
from scipy.optimize import brentq
from scipy.special import ndtr

NODES, WEIGHTS = np.polynomial.legendre.leggauss(96)  # of the normal variable
CHI_NODES, CHI_WEIGHTS = np.polynomial.legendre.leggauss(64)  # of the standard deviation
FAR = 9.0  # standard deviations: the normal distribution ends here, to 1e-18
TAIL = 1e-13

Probability = Callable[[np.ndarray], np.ndarray]


@lru_cache(maxsize=4096)
def all_pairs(methods: int, df: float, level: float = 0.95) -> float:
    """How many standard errors two of these methods may differ, with no pair beyond in 95 % of the cases.

    Tukey's studentized range over √2. Infinite degrees of freedom are allowed.
    """
    return quantile(lambda t: range_probability(t, methods), df, level)


def all_pairs_p(difference: float, methods: int, df: float) -> float:
    """The probability that some pair of equal methods differs by more than so many standard errors."""
    t = abs(difference)
    return 1.0 - averaged(lambda t: range_probability(t, methods), t, df) if math.isfinite(t) else 0.0


@lru_cache(maxsize=4096)
def against_the_best(others: int, df: float, level: float = 0.95) -> float:
    """How many standard errors the true best may lie below the observed best: Dunnett's one-sided value.

    The differences to one common method have correlation 1/2.
    """
    return quantile(lambda t: dunnett_probability(t, others), df, level)


@lru_cache(maxsize=4096)
def student(df: float, level: float) -> float:
    """The quantile of Student's t; of the normal distribution for infinite degrees of freedom."""
    return float(stats.t.ppf(level, df))


def range_probability(t: np.ndarray, methods: int) -> np.ndarray:
    """P(the largest of so many normal variables is less than t·√2 above the smallest)."""
    lowest = FAR * NODES
    within = ndtr(lowest + math.sqrt(2) * t[:, None]) - ndtr(lowest)
    return methods * (within ** (methods - 1)) @ normal_weights()


def dunnett_probability(t: np.ndarray, others: int) -> np.ndarray:
    """P(none of so many normal variables is more than t·√2 above one more)."""
    common = FAR * NODES
    return (ndtr(common + math.sqrt(2) * t[:, None]) ** others) @ normal_weights()


@lru_cache(maxsize=1)
def normal_weights() -> np.ndarray:
    return FAR * WEIGHTS * stats.norm.pdf(FAR * NODES)


def averaged(probability: Probability, t: float, df: float) -> float:
    """The probability where the standard deviation is estimated with so many degrees of freedom."""
    if math.isinf(df):
        return float(probability(np.array([t]))[0])
    deviations, weights = chi_weights(df)
    return float(probability(t * deviations) @ weights)


@lru_cache(maxsize=4096)
def chi_weights(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an average over chi/√df, the nodes closest where it is small."""
    low, high = np.sqrt(np.array([stats.chi2.ppf(TAIL, df), stats.chi2.isf(TAIL, df)]) / df)
    places = (CHI_NODES + 1) / 2
    deviations = low + (high - low) * places**2
    density = 2 * df * deviations * stats.chi2.pdf(df * deviations**2, df)
    return deviations, (high - low) * places * CHI_WEIGHTS * density


def quantile(probability: Probability, df: float, level: float) -> float:
    """Where the averaged probability is the level."""
    if not df > 0:
        raise ValueError(f"{df} degrees of freedom")
    low, high = 0.0, 4.0
    while averaged(probability, high, df) < level:
        low, high = high, 2 * high
    root = brentq(lambda t: averaged(probability, t, df) - level, low, high, xtol=1e-9)
    return float(root)  # pyright: ignore[reportArgumentType]

"""What a budget of random draws buys: the best score of n of them, with a simultaneous band.

The line is the median of the best of n. Its band comes from one that covers the whole distribution function
with 80 % (the highest-density band of Lourie et al. 2024, "Show Your Work with Confidence", in opda). With
few draws the band soon says nothing: from some n on its upper end is the highest score that there can be.
The line ends there.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from opda.nonparametric import EmpiricalDistribution

CONFIDENCE = 0.8
FEWEST = 3  # draws of which a curve is drawn


@dataclass(frozen=True)
class BudgetCurve:
    """The best of n random draws: n, the median with its band, and the unbiased mean (all as long as n)."""

    budgets: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    draws: int


def budget_curve(scores: Sequence[float], lowest: float = 0.0, highest: float = 1.0) -> BudgetCurve:
    """The curve of these draws, as far as its band is below `highest`; empty with fewer than three draws.

    Scores lie from `lowest` to `highest`. Ties need no breaking: the band is one of ranks, and the scores of
    equal ranks are equal.
    """
    ordered = np.sort(np.asarray(scores, float))
    draws = len(ordered)
    if draws < FEWEST:
        nothing = np.array([])
        return BudgetCurve(nothing, nothing, nothing, nothing, nothing, draws)
    if ordered[0] < lowest or ordered[-1] > highest:
        raise ValueError(f"a score lies outside {lowest:g} to {highest:g}")
    budgets = np.arange(1, draws + 1)
    levels = 0.5 ** (1.0 / budgets)  # the best of n is below its median with chance 1/2
    below, above = _band(draws)
    high = _quantiles(below, levels, ordered, highest)
    used = int(np.argmin(high < highest)) if (high >= highest).any() else draws
    curves = (
        _quantiles(np.arange(draws + 1) / draws, levels, ordered, highest),
        _quantiles(above, levels, ordered, highest),
        high,
        EmpiricalDistribution(ordered, a=lowest, b=highest).u_tuning_curve(budgets),
    )
    median, low, high, mean = (curve[:used] for curve in curves)
    return BudgetCurve(budgets[:used], median, low, high, mean, draws)


def _quantiles(reached: np.ndarray, levels: np.ndarray, ordered: np.ndarray, highest: float) -> np.ndarray:
    """The smallest score at which a distribution function reaches each level; `highest` if none does.

    reached: the function's values below the first score, between neighbours, and above the last.
    """
    first = np.searchsorted(reached, levels - 1e-12)  # the interval that begins with that score
    return np.append(ordered, highest)[np.maximum(first, 1) - 1]


@functools.cache
def _band(draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper band of the distribution function, below, between and above the ordered draws.

    They depend on the number of draws alone, and take seconds to compute for a hundred of them.
    """
    places = np.arange(1, draws + 1) / (draws + 1)
    lower, _, upper = EmpiricalDistribution.confidence_bands(
        places,
        CONFIDENCE,
        a=0.0,
        b=1.0,
        generator=np.random.default_rng(0),
        method="ld_highest_density",
        n_jobs=1,
    )
    between = (np.arange(draws + 1) + 0.5) / (draws + 1)
    return np.asarray(lower.cdf(between)), np.asarray(upper.cdf(between))

"""What a budget of random draws buys: the best score of n of them, with a simultaneous band.

The line is the median of the best of n. Its band comes from one that covers the whole distribution function
with 80 % (the highest-density band of Lourie et al. 2024, "Show Your Work with Confidence", in opda). With
few draws the band soon says nothing: from some n on its upper end is the highest score that there can be.
A figure ends there.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from opda.nonparametric import EmpiricalDistribution
from opda.utils import beta_highest_density_interval

LOWEST, HIGHEST = 0.0, 1.0  # that a score can be
FEWEST = 3  # draws of which a curve is made
POINTS = 200  # of a curve: of more draws it is computed at some n only

# How much of the distribution of each ordered draw the band covers, so that it covers the whole function with
# 80 %. It depends on the number of draws alone. opda simulates it on each call: 0.7, 4.4 and 11 s for 21, 105
# and 250 draws. These are its values, from 100,000 simulations; from 150 draws on 40,000, then 12,000.
CRITICAL = {
    3: 0.9234,
    4: 0.9377,
    5: 0.9452,
    6: 0.9516,
    7: 0.9553,
    8: 0.9593,
    10: 0.9635,
    12: 0.9672,
    15: 0.971,
    18: 0.9731,
    22: 0.9758,
    27: 0.978,
    33: 0.9801,
    40: 0.9817,
    50: 0.9832,
    62: 0.9847,
    77: 0.9861,
    96: 0.987,
    119: 0.9881,
    150: 0.989,
    190: 0.9898,
    240: 0.9906,
    300: 0.9912,
    400: 0.9921,
    550: 0.9926,
    750: 0.9931,
    1000: 0.9938,
}


@dataclass(frozen=True)
class BudgetCurve:
    """The best of n random draws, for each n of `budgets`: the median with its band, and the unbiased mean.

    carried: up to which n the band says something; beyond it `high` is the highest score that there can be.
    """

    budgets: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    draws: int
    carried: int

    @property
    def informed(self) -> int:
        """How many of the budgets have a band that says something."""
        return int(np.searchsorted(self.budgets, self.carried, side="right"))

    def place(self, budget: int) -> int | None:
        """Where a budget stands among `budgets`; None where there are fewer draws."""
        found = np.flatnonzero(self.budgets == budget)
        return int(found[0]) if len(found) else None


def budget_curve(scores: Sequence[float], missing: int = 0) -> BudgetCurve:
    """The curve of these draws; empty with fewer than three.

    missing: further draws without a score. The curve is the lowest that they allow, and the band reaches up
    to the highest.

    Scores are fractions. Ties need no breaking: the band is one of ranks, and the scores of
    equal ranks are equal.
    """
    scored = np.sort(np.asarray(scores, float))
    ordered = np.append(np.full(missing, LOWEST), scored)
    draws = len(ordered)
    if len(scored) < FEWEST:
        nothing = np.array([])
        return BudgetCurve(nothing, nothing, nothing, nothing, nothing, draws, 0)
    if scored[0] < LOWEST or scored[-1] > HIGHEST:
        raise ValueError(f"a score lies outside {LOWEST:g} to {HIGHEST:g}")
    budgets = np.unique(np.geomspace(1, draws, POINTS).round().astype(int))
    if draws <= POINTS:
        budgets = np.arange(1, draws + 1)
    levels = 0.5 ** (1.0 / budgets)  # the best of n is below its median with chance 1/2
    below, above = band_of(draws)
    high = _quantiles(below, levels, np.append(scored, np.full(missing, HIGHEST)))
    return BudgetCurve(
        budgets=budgets,
        median=_quantiles(np.arange(draws + 1) / draws, levels, ordered),
        low=_quantiles(above, levels, ordered),
        high=high,
        mean=EmpiricalDistribution(ordered, a=LOWEST, b=HIGHEST).u_tuning_curve(budgets),
        draws=draws,
        carried=int(budgets[high < HIGHEST].max(initial=0)),
    )


def _quantiles(reached: np.ndarray, levels: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """The smallest score at which a distribution function reaches each level; the highest one if none does.

    reached: the function's values below the first score, between neighbours, and above the last.
    """
    first = np.searchsorted(reached, levels - 1e-12)  # the interval that begins with that score
    return np.append(ordered, HIGHEST)[np.maximum(first, 1) - 1]


@functools.cache
def band_of(draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper band of the distribution function, below, between and above the ordered draws.

    The function's value at the i-th of n ordered draws has a beta distribution (i, n + 1 - i).
    """
    ranks = np.arange(1, draws + 1)
    low, high = beta_highest_density_interval(ranks, draws + 1 - ranks, critical_coverage(draws))
    return np.concatenate([[0.0], low]).clip(0.0, 1.0), np.concatenate([high, [1.0]]).clip(0.0, 1.0)


def critical_coverage(draws: int) -> float:
    """CRITICAL between its entries: what it leaves is nearly a power of the number of draws."""
    known, left = np.log(list(CRITICAL)), np.log1p(-np.array(list(CRITICAL.values())))
    return float(-np.expm1(np.interp(np.log(draws), known, left)))

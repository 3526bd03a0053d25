"""What a plan can show before anything runs."""

import math
from functools import cache

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from report.analysis.critical import all_pairs
from report.analysis.differences import FEW_METHODS
from report.analysis.moderation import moderated, prior_of

TASKS = 1000  # simulated: the result is within 1 %
GRID = 12  # critical values between which others are interpolated


@cache
def detectable_difference(methods: int, units: int, power: float = 0.8) -> float:
    """The smallest true difference that a comparison of so many methods shows with this power.

    In standard deviations of a unit, without the noise of the test images; all methods vary alike. NaN where
    a difference cannot be tested: fewer than two methods or two units.

    The standard errors are drawn, with the comparison's own rule for variances, which costs power where units
    are few; the power given a standard error is exact. The same numbers on every call.
    """
    if methods < 2 or units < 2:
        return math.nan
    errors, dfs = standard_errors(methods, units)
    nodes = 1 / np.linspace(1 / dfs.max(), 1 / dfs.min(), GRID)
    critical = np.interp(1 / dfs, 1 / nodes, [all_pairs(methods, float(df)) for df in nodes])
    spread, limits = math.sqrt(2 / units), critical * errors

    def missing_power(gap: float) -> float:
        shown = ndtr((gap - limits) / spread) + ndtr((-gap - limits) / spread)
        return float(shown.mean()) - power

    high = 1.0
    while missing_power(high) < 0:
        high *= 2
    return float(brentq(missing_power, 0.0, high))  # pyright: ignore[reportArgumentType]


def standard_errors(methods: int, units: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the difference of two methods in simulated tasks: its error in sds of a unit, and its df."""
    own = units - 1
    variances = np.random.default_rng(0).chisquare(own, (TASKS, methods)) / own
    squares, dfs = np.empty(TASKS), np.empty(TASKS)
    for task, of_task in enumerate(variances):
        prior = prior_of(of_task.tolist(), [own] * methods)
        assert prior is not None  # there are two methods
        one, other = (moderated(variance, own, prior) / units for variance in of_task[:2].tolist())
        squares[task] = one + other
        if methods > FEW_METHODS:
            dfs[task] = min(prior.df + own, methods * own)
        else:  # Welch and Satterthwaite
            dfs[task] = own * (one + other) ** 2 / (one**2 + other**2)
    return np.sqrt(squares), dfs

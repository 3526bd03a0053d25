"""What so many random draws of two methods can show about their shares of good settings, exactly.

The number of good settings among n draws is binomial. A verdict depends on both numbers alone, so its
chance is a sum over them.
"""

from bisect import bisect_left
from functools import cache

import numpy as np
from scipy.stats import binom

from report.analysis.claims.decide import Expect, outcome_of
from report.analysis.claims.verdict import ShareEstimate
from report.analysis.ease import GoodShare, good_share

ASSUMED_SHARE = 0.3  # of the settings are good: tuned methods on small networks lie between 0.1 and 0.5
SHOWN = 0.8
STEP = 0.005  # of a share
NEVER = 1e-7  # a chance that no sum needs


def chance(expect: Expect, margin: float, draws: int, one: float, other: float) -> float:
    """That so many draws of methods with these true shares support a test; margin: in points."""
    ones, others = (binom.pmf(np.arange(draws + 1), draws, share) for share in (one, other))
    likely = np.flatnonzero(others > NEVER)
    return float(
        sum(others[good] * ones[supporting(expect, margin, draws, int(good))].sum() for good in likely)
    )


def difference_shown(expect: Expect, margin: float, draws: int, other: float = ASSUMED_SHARE) -> float | None:
    """The true one - other, in points, from which on a test is supported in 80 % of the cases, if any is.

    The lowest for `above`, the highest for `below`.
    """
    shares = np.arange(0.0, 1.0 + STEP / 2, STEP)
    shares = shares[::-1] if expect == "below" else shares
    first = bisect_left(shares, SHOWN, key=lambda one: chance(expect, margin, draws, float(one), other))
    return None if first == len(shares) else 100 * (float(shares[first]) - other)


@cache
def supporting(expect: Expect, margin: float, draws: int, other: int) -> slice:
    """Which numbers of good draws of the one support a test, where the other has `other`: all in a row."""

    def supports(good: int) -> bool:
        estimate = ShareEstimate(_share(good, draws), _share(other, draws))
        return outcome_of(estimate, expect, margin) == "supported"

    counts = range(draws + 1)
    if expect == "above":
        return slice(bisect_left(counts, True, key=supports), draws + 1)
    if expect == "below":
        return slice(0, bisect_left(counts, True, key=lambda good: not supports(good)))
    found = [good for good in counts if supports(good)]
    return slice(found[0], found[-1] + 1) if found else slice(0, 0)


@cache
def _share(good: int, draws: int) -> GoodShare:
    return good_share([1.0] * good + [0.0] * (draws - good), reference=1.0, delta=0.0)

"""Intervals against scipy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from report.analysis.intervals import (
    Interval,
    pooled_interval,
    satterthwaite,
    t_interval,
    variance_of,
    welch_interval,
)


def test_t_interval_is_scipys() -> None:
    values = [0.91, 0.93, 0.92, 0.95, 0.90]
    found = t_interval(values)
    assert found is not None
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert t_interval([0.9]) is None


def test_the_interval_of_a_difference_is_scipys() -> None:
    first, second = [0.95, 0.952, 0.949], [0.91, 0.93, 0.90, 0.94]
    found = welch_interval(first, second, 0.975)
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.975)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert welch_interval([0.9], second) is None
    assert welch_interval([0.9, 0.9], [0.8, 0.8]) is None  # nothing varies


def test_degrees_of_freedom_by_hand() -> None:
    """(2 + 1)² / (2²/4 + 1²/2) = 6, and more where a part of the variance is known."""
    assert satterthwaite(3.0, [2.0, 1.0], [4, 2]) == pytest.approx(6.0)
    assert satterthwaite(6.0, [2.0, 1.0], [4, 2]) == pytest.approx(24.0)
    assert satterthwaite(1.0, [0.0, 0.0], [4, 2]) == math.inf


def test_equal_values_do_not_vary() -> None:
    assert variance_of([0.1 + 0.2, 0.3, 0.3]) == 0.0
    assert t_interval([0.3, 0.3]) == Interval(0.3, 0.3)
    assert math.isnan(variance_of([0.3]))


def test_the_pooled_interval_by_hand() -> None:
    """Variances 2 and 8, pooled 5 with 2 degrees of freedom; the mean of 2 and 7 has the error √(5/4)."""
    found = pooled_interval([[1.0, 3.0], [5.0, 9.0]])
    assert found is not None
    assert (found.low, found.high) == pytest.approx((4.5 - 4.3027 * 1.1180, 4.5 + 4.3027 * 1.1180), abs=1e-3)


def test_the_pooled_interval_takes_groups_of_unequal_size() -> None:
    """A group of one has a mean but no variance: the error is √(2·(1/2 + 1))/2."""
    found = pooled_interval([[1.0, 3.0], [5.0]])
    assert found is not None
    half = float(stats.t.ppf(0.975, 1)) * math.sqrt(2 * 1.5) / 2
    assert (found.low, found.high) == pytest.approx((3.5 - half, 3.5 + half))
    assert pooled_interval([[1.0], [2.0]]) is None

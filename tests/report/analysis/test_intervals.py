"""Intervals against scipy and by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from report.analysis.intervals import Interval, change_of, pooled_interval, t_interval, variance_of


def test_t_interval_is_scipys() -> None:
    values = [0.91, 0.93, 0.92, 0.95, 0.90]
    found = t_interval(values)
    assert found is not None
    expected = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert t_interval([0.9]) is None


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


def test_a_change_on_the_same_networks_is_a_one_sample_t_test() -> None:
    differences = [0.01, 0.03, 0.02, 0.05]
    found, expected = change_of(differences), stats.ttest_1samp(differences, 0.0)
    limits = expected.confidence_interval(0.95)
    assert found.interval is not None
    assert found.p == pytest.approx(expected[1])
    assert (found.interval.low, found.interval.high) == pytest.approx((limits.low, limits.high))
    assert (found.mean, found.units) == (pytest.approx(0.0275), 4)


def test_a_change_without_variation_has_no_p() -> None:
    assert math.isnan(change_of([0.01, 0.01]).p)
    assert change_of([0.01, 0.01]).interval == Interval(0.01, 0.01)
    assert change_of([0.01]).interval is None
    assert math.isnan(change_of([]).mean)

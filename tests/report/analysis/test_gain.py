"""Gains against scipy."""

import math

import pytest
from scipy import stats

from report.analysis.gain import welch


def test_the_interval_is_that_of_scipy() -> None:
    first, second = [0.91, 0.93, 0.90], [0.88, 0.885, 0.881, 0.9, 0.87, 0.89]
    gain = welch(first, second)
    ends = stats.ttest_ind(first, second, equal_var=False).confidence_interval(0.95)
    assert gain.value == pytest.approx(sum(first) / 3 - sum(second) / 6)
    assert gain.interval is not None
    assert (gain.interval.low, gain.interval.high) == pytest.approx((ends.low, ends.high))


def test_a_side_that_does_not_vary_adds_nothing_to_the_interval() -> None:
    gain, alone = welch([0.9, 0.9, 0.9], [0.8, 0.82]), stats.t.interval(0.95, 1, 0.09, 0.01)
    assert gain.interval is not None
    assert (gain.interval.low, gain.interval.high) == pytest.approx(alone)


@pytest.mark.parametrize(
    ("first", "second", "few"),
    [([0.9], [0.8, 0.81], True), ([0.9, 0.9], [0.8, 0.8], True), ([0.9] * 3, [0.8] * 3, False)],
)
def test_without_variation_there_is_no_interval(first: list[float], second: list[float], few: bool) -> None:
    difference = pytest.approx(sum(first) / len(first) - sum(second) / len(second))
    found = welch(first, second)
    assert (found.value, found.interval, found.few) == (difference, None, few)


def test_without_a_unit_there_is_no_gain() -> None:
    assert math.isnan(welch([], [0.8]).value)

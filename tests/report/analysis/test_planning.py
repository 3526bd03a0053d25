"""The detectable difference against the two-sample t-test's known table and a simulation."""

import math

import numpy as np
import pytest

from report.analysis.critical import all_pairs
from report.analysis.planning import detectable_difference


@pytest.mark.parametrize(("units", "sds"), [(3, 3.07), (5, 2.02), (10, 1.32), (20, 0.91)])
def test_two_methods(units: int, sds: float) -> None:
    assert detectable_difference(2, units) == pytest.approx(sds, abs=0.005)


def test_ten_methods_by_simulation() -> None:
    gap = detectable_difference(10, 5)
    random = np.random.default_rng(0)
    runs = random.standard_normal((20_000, 10, 5))
    runs[:, 0] += gap
    error = np.sqrt(runs.var(axis=2, ddof=1).mean(axis=1) * 2 / 5)
    shown = np.abs(runs[:, 0].mean(axis=1) - runs[:, 1].mean(axis=1)) > all_pairs(10, 40.0) * error
    assert shown.mean() == pytest.approx(0.8, abs=0.01)


def test_nothing_to_compare() -> None:
    assert math.isnan(detectable_difference(1, 5))
    assert math.isnan(detectable_difference(5, 1))

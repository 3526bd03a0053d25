"""The detectable difference against the t-test's known table and the comparison itself."""

import math

import numpy as np
import pytest

from report.analysis.judgement import judge
from report.analysis.planning import detectable_difference
from report.calibration.simulate import LEVEL, Population, simulate

SD = 0.003


@pytest.mark.parametrize(("units", "sds"), [(3, 3.07), (5, 2.02), (10, 1.32), (20, 0.91)])
def test_two_methods_need_more_than_the_plain_t_test(units: int, sds: float) -> None:
    """The larger variance of two counts; with many units there is nothing to gain or lose."""
    found = detectable_difference(2, units)
    assert sds < found < sds * (1 + 0.85 / units)
    assert found == detectable_difference(2, units)


@pytest.mark.parametrize(("methods", "units"), [(3, 5), (6, 3)])
def test_the_comparison_shows_it_in_four_of_five_tasks(methods: int, units: int) -> None:
    gap, random, tasks = detectable_difference(methods, units) * SD, np.random.default_rng(5), 150
    truth = [Population(LEVEL - gap, SD), *[Population(LEVEL, SD)] * (methods - 1)]
    names, shown = {"method-00", "method-01"}, 0
    for _ in range(tasks):
        pairs = judge(simulate(random, truth, units).task).pairs
        (pair,) = (each for each in pairs if {each.first, each.second} == names)
        shown += pair.interval.excludes_zero
    assert shown / tasks == pytest.approx(0.8, abs=0.08)


def test_nothing_to_compare() -> None:
    assert math.isnan(detectable_difference(1, 5))
    assert math.isnan(detectable_difference(5, 1))

"""The calibration in small: bounds that a faulty comparison breaks within seconds."""

import math
from collections.abc import Iterator
from functools import partial

import pytest

from report.calibration.checks import (
    ALONE,
    FALSE_WORSE,
    POWER,
    SPREAD,
    Case,
    Check,
    beside_erratic,
    coverage,
    equal_methods,
    equality,
    failing,
    new_test_set,
    one_differs,
    uneven,
)
from report.calibration.page import markdown, picture, table


@pytest.mark.parametrize(
    "case",
    [
        partial(equal_methods, 60, 10, 3, SPREAD, "normal"),
        partial(uneven, 60, 10, 3, 2),
        partial(new_test_set, 80, 3),
        partial(coverage, 40, 3, "skewed"),
        partial(equality, 40, 5, 0.0015),
        partial(beside_erratic, 25, 10, 5),
    ],
    ids=["equal methods", "uneven", "test set", "coverage", "equality", "beside erratic methods"],
)
def test_a_few_tasks_keep_the_bounds(case: Case) -> None:
    found = list(case())
    assert any(each.bound is not None for each in found)
    assert failing(found) == []


def test_a_difference_of_a_point_is_seen() -> None:
    """A quarter of a point, less than a standard deviation, is not."""
    (clear, _), (hidden, _) = (list(one_differs(25, 10, 5, points)) for points in (1.0, 0.25))
    assert clear.bound == 0.95
    assert clear.holds
    assert hidden.share < 0.2


def test_a_share_may_miss_its_bound_by_chance_only() -> None:
    """Two standard errors of 5 % in 400 cases are 2.2 %."""
    at_most = [Check("", "", 2, 3, hits, 400, 0.05) for hits in (28, 29)]
    at_least = [Check("", "", 2, 3, hits, 400, 0.95, "at least") for hits in (372, 371)]
    assert [each.holds for each in at_most + at_least] == [True, False, True, False]
    assert Check("", "", 2, 3, 400, 400).holds


def few() -> Iterator[Check]:
    for case in ("normal, equal sds", "skewed, equal sds"):
        yield Check(FALSE_WORSE, case, 10, 5, 30, 400, 0.05)
        yield Check(POWER, ALONE, 10, 5, 390, 400, gap=1.0)


def test_the_page_says_what_is_missed() -> None:
    found = list(few())
    page = markdown(found)
    assert "**2 of 2 bounds are missed.**" in page
    assert "| normal, equal sds | 10 | 5 |  | 7.5 | 400 | at most 5 ± 2.2 | **missed** |" in page
    assert "**All 1 bounds are kept.**" in markdown([Check("x", "", 2, 3, 1, 400, 0.05)])
    assert f"{POWER},{ALONE},10,5,1,390,400,,,True" in table(found)
    assert not math.isnan(found[1].gap)
    drawn = picture(found)
    assert drawn == picture(found)
    assert "one behind of 10" in drawn

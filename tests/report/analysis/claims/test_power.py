"""The chance of a verdict on shares of good settings, against simulated draws."""

import numpy as np
import pytest

from report.analysis.claims.decide import Expect, outcome_of
from report.analysis.claims.power import chance, difference_shown, supporting
from report.analysis.claims.verdict import ShareEstimate
from report.analysis.ease import good_share


@pytest.mark.parametrize(
    ("expect", "margin", "one"), [("above", -10.0, 0.35), ("below", -10.0, 0.2), ("within", 25.0, 0.3)]
)
def test_the_chance_is_that_of_simulated_draws(expect: Expect, margin: float, one: float) -> None:
    random, draws, tasks = np.random.default_rng(0), 40, 2000
    found = []
    for _ in range(tasks):
        shares = [
            good_share((random.uniform(size=draws) < p).astype(float).tolist(), 1.0, 0.0) for p in (one, 0.3)
        ]
        found.append(outcome_of(ShareEstimate(*shares), expect, margin) == "supported")
    expected = chance(expect, margin, draws, one, 0.3)
    assert 0.2 < expected < 0.95
    assert np.mean(found) == pytest.approx(expected, abs=4 * (expected * (1 - expected) / tasks) ** 0.5)


@pytest.mark.parametrize(("expect", "margin"), [("above", -10.0), ("below", 5.0), ("within", 25.0)])
def test_the_numbers_that_support_are_all_in_a_row(expect: Expect, margin: float) -> None:
    draws = 30
    shares = [good_share([1.0] * good + [0.0] * (draws - good), 1.0, 0.0) for good in range(draws + 1)]
    for good, other in enumerate(shares):
        found = [outcome_of(ShareEstimate(one, other), expect, margin) == "supported" for one in shares]
        of_slice = np.zeros(draws + 1, bool)
        of_slice[supporting(expect, margin, draws, good)] = True
        assert of_slice.tolist() == found


def test_the_smallest_difference_has_that_chance_and_less_has_not() -> None:
    above, below = difference_shown("above", 0.0, 40), difference_shown("below", 0.0, 40)
    assert above is not None and below is not None and below < 0 < above
    assert chance("above", 0.0, 40, 0.3 + above / 100, 0.3) >= 0.8
    assert chance("above", 0.0, 40, 0.3 + above / 100 - 0.01, 0.3) < 0.8
    assert chance("below", 0.0, 40, 0.3 + below / 100, 0.3) >= 0.8
    assert chance("below", 0.0, 40, 0.3 + below / 100 + 0.01, 0.3) < 0.8
    assert difference_shown("above", 0.0, 2) is None

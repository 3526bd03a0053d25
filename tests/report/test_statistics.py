"""The statistics against scipy, closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from report.analysis.statistics import (
    best_of_n,
    holm,
    paired_p,
    sampling_noise,
    smallest_difference,
    standard_deviation,
    t_interval,
)


def test_t_interval_is_scipys() -> None:
    values = [0.91, 0.93, 0.92, 0.95, 0.90]
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert t_interval(values) == pytest.approx((high - low) / 2)


def test_t_interval_needs_two_values() -> None:
    assert math.isnan(t_interval([0.9]))
    assert math.isnan(t_interval([]))


def test_equal_values_have_an_interval_of_width_zero() -> None:
    assert t_interval([0.1 + 0.2, 0.3, 0.3]) == 0.0
    assert standard_deviation([0.3, 0.3]) == 0.0


def test_t_interval_covers_as_promised() -> None:
    draws = np.random.default_rng(0).normal(size=(4000, 5))
    covered = [abs(row.mean()) <= t_interval(row.tolist()) for row in draws]
    assert 0.94 <= np.mean(covered) <= 0.96


def test_sampling_noise_of_the_paper() -> None:
    """0.22 points at 56.5 % on 50,000 images: the binomial standard error."""
    assert sampling_noise(0.565, 50_000) == pytest.approx(stats.binom.std(50_000, 0.565) / 50_000)
    assert 100 * sampling_noise(0.565, 50_000) == pytest.approx(0.22, abs=0.005)


def test_the_headline_of_the_paper_is_inside_the_noise() -> None:
    """At 56.5 % on 50,000 images two independent models differ from 0.61 points on: 56.5 and 56.4 do not."""
    assert 100 * smallest_difference(0.565, 0.564, 50_000) == pytest.approx(0.61, abs=0.01)
    random = np.random.default_rng(0)
    draws = random.binomial(1000, 0.7, (20_000, 2)) / 1000  # twins: how often do they differ by more?
    larger = np.abs(draws[:, 0] - draws[:, 1]) > smallest_difference(0.7, 0.7, 1000)
    assert np.mean(larger) == pytest.approx(0.05, abs=0.01)


def test_paired_p_is_scipys() -> None:
    first, second = [0.91, 0.93, 0.92, 0.95], [0.90, 0.93, 0.90, 0.91]
    assert paired_p(first, second) == pytest.approx(stats.ttest_rel(first, second)[1])  # pyright: ignore


@pytest.mark.parametrize(("first", "second"), [([0.9], [0.8]), ([], []), ([0.5, 0.7], [0.4, 0.6])])
def test_paired_p_is_undefined_without_variation(first: list[float], second: list[float]) -> None:
    assert math.isnan(paired_p(first, second))


def test_holm_by_its_definition() -> None:
    """The corrected p is the smallest level at which the step-down procedure still rejects."""
    p_values = [0.01, 0.04, 0.03, 0.005]
    ordered = sorted(p_values)
    for p, corrected in zip(p_values, holm(p_values), strict=True):
        rank = ordered.index(p)
        assert corrected == pytest.approx(max((4 - k) * ordered[k] for k in range(rank + 1)))


def test_holm_does_not_count_an_undefined_comparison() -> None:
    corrected = holm([0.02, math.nan, 0.5])
    assert corrected[0] == pytest.approx(0.04)
    assert math.isnan(corrected[1])
    assert holm([0.9, 0.8])[0] == 1.0


def test_median_of_the_best_of_n_by_brute_force() -> None:
    scores = [0.2, 0.5, 0.6, 0.9]
    for n in (1, 2, 3, 4):
        best = [max(draw) for draw in itertools.product(scores, repeat=n)]
        # Quantile of a discrete distribution: the smallest value that half of the draws do not exceed.
        median = min(score for score in scores if np.mean(np.array(best) <= score) >= 0.5 - 1e-12)
        assert best_of_n(scores).values[n - 1] == median


def test_the_band_is_that_of_dvoretzky_kiefer_and_wolfowitz() -> None:
    """With one draw the lower band is the quantile at 1/2 of the distribution function raised by epsilon."""
    scores = np.linspace(0.05, 0.95, 40)
    epsilon = math.sqrt(math.log(2 / 0.2) / (2 * len(scores)))
    raised = np.minimum(np.arange(1, 41) / 40 + epsilon, 1.0)
    curve = best_of_n(scores.tolist())
    assert curve.lower is not None and curve.upper is not None
    assert curve.lower[0] == scores[np.argmax(raised >= 0.5)]
    assert np.all(curve.lower <= curve.values)
    assert np.all(curve.values <= curve.upper)


def test_a_tuning_curve_takes_ties_and_needs_two_scores() -> None:
    assert best_of_n([0.5, 0.5, 0.5]).values.tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="at least two random trials, got 1"):
        best_of_n([0.5])

"""The tuning curve against closed forms and brute force."""

import itertools
import math

import numpy as np
import pytest

from report.analysis.statistics import best_of_n


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

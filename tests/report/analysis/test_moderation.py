"""The moderated variance against closed forms and a simulated prior."""

import math

import numpy as np
import pytest
from scipy import stats
from scipy.special import polygamma

from report.analysis.moderation import Prior, erratic, moderated, prior_of, trigamma_inverse


@pytest.mark.parametrize("value", [1e-8, 0.01, 1.0, math.pi**2 / 6, 50.0, 1e8])
def test_trigamma_inverse(value: float) -> None:
    assert float(polygamma(1, trigamma_inverse(value))) == pytest.approx(value, rel=1e-9)


def test_equal_variances_give_an_infinite_prior() -> None:
    """With two degrees of freedom E[log s²] lies Euler's constant below log sigma²."""
    prior = prior_of([3.0, 3.0], [2, 2])
    assert prior is not None
    assert prior.df == math.inf
    assert prior.variance == pytest.approx(3.0 * math.exp(np.euler_gamma))


def test_a_prior_by_hand() -> None:
    """Trigamma(1) is π²/6: logs of variance π²/3 leave π²/6 for the prior, so d0/2 = 1."""
    apart = math.pi / math.sqrt(6)
    prior = prior_of([math.exp(apart), math.exp(-apart)], [2, 2])
    assert prior is not None
    assert prior.df == pytest.approx(2.0)
    assert prior.variance == pytest.approx(1.0)


def test_the_prior_that_the_variances_come_from() -> None:
    """limma's model: s² is s0²·d0/chi²(d0) times chi²(d)/d, also with unequal d."""
    random = np.random.default_rng(0)
    dfs = np.where(np.arange(20_000) % 2, 4, 9)
    true = 2.5 * 6 / random.chisquare(6, dfs.size)
    prior = prior_of(list(true * random.chisquare(dfs) / dfs), list(dfs))
    assert prior is not None
    assert prior.df == pytest.approx(6, rel=0.05)
    assert prior.variance == pytest.approx(2.5, rel=0.02)


def test_one_variance_is_no_prior() -> None:
    assert prior_of([1.0], [4]) is None


def test_the_posterior_is_never_below_the_own_variance() -> None:
    prior = Prior(1.0, 2.0)
    assert moderated(0.5, 2, prior) == pytest.approx((2 * 1.0 + 2 * 0.5) / 4)
    assert moderated(3.0, 2, prior) == 3.0
    assert moderated(0.5, 2, Prior(1.0, math.inf)) == 1.0
    assert moderated(3.0, 2, Prior(1.0, math.inf)) == 3.0


def test_variances_far_above_the_others_are_left_out() -> None:
    """Both of two equally large ones; the order of the methods does not matter."""
    random = np.random.default_rng(3)
    usual = list(random.chisquare(2, 12) / 2)
    assert erratic(usual, [2] * 12) == []
    assert sorted(erratic([900.0, *usual[:6], 900.0, *usual[6:]], [2] * 14)) == [0, 7]


def test_the_test_of_the_largest_is_an_f_test() -> None:
    """Three equal variances have s0² = s² e^gamma and d0 = ∞, so 6 degrees of freedom: those of the three."""
    center = math.exp(np.euler_gamma)
    critical = float(stats.f.isf(0.05 / 4, 2, 6))
    for factor, left_out in ((0.999, []), (1.001, [3])):
        assert erratic([1.0, 1.0, 1.0, factor * critical * center], [2] * 4) == left_out


def test_at_most_a_quarter_is_left_out() -> None:
    assert erratic([1.0, 1.1, 1e9], [2] * 3) == []
    assert len(erratic([1.0, 1.1, 0.9, 1.2, 0.8, 1e6, 1e7, 1e8], [2] * 8)) <= 2


def test_populations_without_outliers_lose_one_in_a_few_percent() -> None:
    """Bonferroni's level, with a prior that is estimated: 5 % asked of equal variances."""
    random = np.random.default_rng(1)
    lost = sum(bool(erratic(list(random.chisquare(4, 20) / 4), [4] * 20)) for _ in range(400))
    assert lost / 400 < 0.08

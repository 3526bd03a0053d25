"""The moderated variance against closed forms and a simulated prior."""

import math

import numpy as np
import pytest
from scipy.special import polygamma

from report.analysis.moderation import Prior, moderated, prior_of, trigamma_inverse


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

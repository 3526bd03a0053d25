"""Differences of methods against scipy where its assumptions are met, and by hand."""

import math

import numpy as np
import pytest
from scipy import special, stats

from report.analysis.critical import all_pairs
from report.analysis.differences import Difference, Side, difference, differences, erratic_methods
from report.analysis.evidence import MethodEvidence
from report.analysis.images import ImageProfile
from report.calibration.simulate import evidence
from tests.support.final_runs import method, task

NO_IMAGES = ImageProfile(np.zeros(1), 0.0)
GROUPS = np.random.default_rng(5).normal(0.9, 0.01, (4, 6)) - np.array([[0.0], [0.01], [0.02], [0.03]])


def side(name: str, scores: np.ndarray, variance: float, df: float, pooled: bool) -> Side:
    return Side(name, float(scores.mean()), len(scores), variance, df, pooled, NO_IMAGES)


def test_equal_spread_without_images_is_tukeys_test() -> None:
    pooled = float(GROUPS.var(axis=1, ddof=1).mean())
    tukey = stats.tukey_hsd(*GROUPS)
    limits = tukey.confidence_interval(0.95)
    sides = [side(str(i), scores, pooled, 20.0, pooled=True) for i, scores in enumerate(GROUPS)]
    for a, b in ((0, 1), (0, 3), (2, 3)):
        found = difference(sides[a], sides[b], 0.0, planned=4)
        assert found.value == pytest.approx(tukey.statistic[a, b])
        assert found.p == pytest.approx(tukey.pvalue[a, b], abs=1e-7)
        assert found.interval.low == pytest.approx(limits.low[a, b])
        assert found.interval.high == pytest.approx(limits.high[a, b])


def test_two_methods_with_their_own_spread_are_welchs_test() -> None:
    first, second = GROUPS[0, :4], GROUPS[3]
    sides = [side("", each, float(each.var(ddof=1)), len(each) - 1, False) for each in (first, second)]
    found = difference(sides[0], sides[1], 0.0, planned=2)
    welch = stats.ttest_ind(first, second, equal_var=False)
    for interval, level in ((found.interval, 0.95), (found.equivalence_interval, 0.90)):
        limits = welch.confidence_interval(level)
        assert (interval.low, interval.high) == pytest.approx((limits.low, limits.high))
    assert found.p == pytest.approx(welch[1])


def test_the_best_set_is_that_of_scipys_dunnett() -> None:
    """Balanced and pooled; a method is in the set where its one-sided p is above 5 %."""
    pooled = float(GROUPS.var(axis=1, ddof=1).mean())
    sides = [side(str(i), scores, pooled, 20.0, pooled=True) for i, scores in enumerate(GROUPS)]
    best = max(range(4), key=lambda i: sides[i].mean)
    others = [i for i in range(4) if i != best]
    p = stats.dunnett(
        *(GROUPS[i] for i in others),
        control=GROUPS[best],
        alternative="less",
        rng=np.random.default_rng(0),
    ).pvalue
    found = [difference(sides[best], sides[i], 0.0, planned=4).second_may_be_best for i in others]
    assert found == [float(each) > 0.05 for each in p]
    assert 0 < sum(found) < 3


def spread(task_methods: list[MethodEvidence], planned: int) -> dict[tuple[str, str], Difference]:
    evidence = task(*task_methods)
    found = differences(evidence, task_methods, planned, erratic_methods(evidence, task_methods))
    return {(each.first, each.second): each for each in found}


REGULAR = [
    method("a", [0.90, 0.91, 0.92]),
    method("b", [0.89, 0.91, 0.93]),
    method("c", [0.86, 0.87, 0.89]),
    method("d", [0.80, 0.81, 0.83]),
]


def test_many_methods_share_degrees_of_freedom() -> None:
    """Variances 1, 4, 7/3, 7/3 e-4 differ less than chance would have it: all degrees count."""
    pair = spread(REGULAR, 4)["a", "b"]
    assert pair.df == 8
    assert pair.interval.high == pytest.approx(pair.value + all_pairs(4, 8.0) * pair.error)
    assert pair.error > math.sqrt((1e-4 + 4e-4) / 3)  # the moderated variance of a is larger than its own


def test_few_methods_have_welchs_degrees_of_freedom() -> None:
    """Each variance has its own two; the images add to the error, and nothing to the degrees of freedom."""
    shared = math.exp(np.log([1e-4, 4e-4, 7e-4 / 3]).mean() + np.euler_gamma)
    pair = spread(REGULAR[:3], 3)["a", "c"]
    a, c = max(1e-4, shared) / 3, max(7e-4 / 3, shared) / 3
    assert pair.error**2 > 1.02 * (a + c)
    assert pair.df == pytest.approx(pair.error**4 / (a**2 / 2 + c**2 / 2))


def test_the_degrees_of_freedom_of_a_finite_prior() -> None:
    """Very unequal variances: those of the prior, and the method's own two."""
    steps = np.array([0.001, 0.001, 0.02, 0.04, 0.001])
    found = spread([method(str(i), [0.9, 0.9 + each, 0.9 + 2 * each]) for i, each in enumerate(steps)], 5)
    excess = np.log(steps**2).var(ddof=1) - math.pi**2 / 6
    for pair in found.values():
        assert special.polygamma(1, (pair.df - 2) / 2) == pytest.approx(excess)


@pytest.mark.parametrize(
    "odd",
    [
        method("odd", [0.7, 0.7, 0.7]),
        method("odd", [0.2, 0.9, 0.1]),
        method("odd", [0.9, 0.8], diverged=1),
    ],
    ids=["constant", "collapsed", "diverged"],
)
def test_an_odd_method_informs_no_other_and_takes_nothing_from_them(odd: MethodEvidence) -> None:
    alone, together = spread(REGULAR, 5), spread([*REGULAR, odd], 5)
    assert {pair: together[pair].error for pair in alone} == {p: d.error for p, d in alone.items()}
    assert {pair: together[pair].df for pair in alone} == {p: d.df for p, d in alone.items()}
    own = float(np.var(task(odd).means["odd"], ddof=1)) / 3
    pair = together["a", "odd"]
    assert pair.error**2 > own
    assert pair.df == pytest.approx(2, abs=0.1) if own > 1e-6 else pair.df > 8


def test_without_variation_the_images_alone_decide() -> None:
    """McNemar's variance: 30 images of 1,000 are right for the first method alone, none for the second."""
    methods = [method("a", [0.93] * 3), method("b", [0.90] * 3)]
    pair = spread(methods, 2)["a", "b"]
    assert pair.df == math.inf
    assert pair.error == pytest.approx(math.sqrt((30 - 30**2 / 1000) / 999 / 1000))
    assert pair.interval.low == pytest.approx(0.03 - 1.959964 * pair.error)


def test_equal_scores_on_other_images_are_no_certainty() -> None:
    """Each run is right on half of the images, each time others: equal by chance, not without noise."""
    random = np.random.default_rng(0)
    halves = [[random.permutation(np.arange(1000) < 500) for _ in range(3)] for _ in range(2)]
    methods = [evidence(name, [run[None] for run in runs]) for name, runs in zip("ab", halves, strict=True)]
    assert spread(methods, 2)["a", "b"].error > 0.01


def test_no_difference_at_all() -> None:
    pair = spread([method("a", [0.9] * 3), method("b", [0.9] * 3)], 2)["a", "b"]
    assert (pair.error, pair.p, pair.second_may_be_best) == (0.0, 1.0, True)
    assert pair.equivalence_interval.within(1e-9)

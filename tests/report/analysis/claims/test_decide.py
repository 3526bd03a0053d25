"""Estimates and outcomes, against scipy and against planted effects."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from report.analysis.claims.arms import Sample
from report.analysis.claims.decide import deciding_level, estimate_of, outcome_of, power_at, units_needed
from report.analysis.claims.order import falling, level_of_a_peak, peaked, rising
from report.analysis.images import image_profile


def sample(values, images=None):
    values = np.asarray(values, float)
    n = len(values)
    return Sample("arm", "cell", values, n, n, n, 0, images)


def planted(rng, means, n=5, sd=0.3):
    return [sample(rng.normal(mean, sd, n)) for mean in means]


def own_images(count):
    """Two arms that are right on other images, in nearly every run."""
    rng = np.random.default_rng(1)
    chances = np.where(rng.random((2, count)) < 0.7, 0.95, 0.05)
    return [image_profile((rng.random((4, count)) < each).astype(float)) for each in chances]


A, B = [85.1, 85.4, 84.9, 85.6, 85.2], [84.0, 84.9, 84.1, 84.4]


def test_a_difference_is_welchs():
    estimate = estimate_of([sample(A), sample(B)], [1.0, -1.0])
    expected: Any = stats.ttest_ind(A, B, equal_var=False)
    assert estimate.value / estimate.error == pytest.approx(expected.statistic)
    assert estimate.df == pytest.approx(expected.df)
    interval = expected.confidence_interval(0.95)
    assert (estimate.interval().low, estimate.interval().high) == pytest.approx(tuple(interval))


def test_one_sample_against_zero_is_students():
    estimate = estimate_of([sample(A)], [1.0])
    interval = stats.ttest_1samp(A, 0.0).confidence_interval(0.9)
    assert (estimate.interval(0.9).low, estimate.interval(0.9).high) == pytest.approx(tuple(interval))


def test_a_weighted_sum_of_three():
    """80 % of a gain is recovered: band - 0.2 sgd - 0.8 momentum."""
    three = [sample(A), sample(B), sample([86.0, 86.2, 86.1])]
    estimate = estimate_of(three, [1.0, -0.2, -0.8])
    assert estimate.value == pytest.approx(np.mean(A) - 0.2 * np.mean(B) - 0.8 * 86.1)
    parts = [
        w**2 * np.var(x, ddof=1) / len(x)
        for w, x in zip([1, 0.2, 0.8], [A, B, [86.0, 86.2, 86.1]], strict=True)
    ]
    assert estimate.units_error == pytest.approx(sum(parts))
    assert estimate.df == pytest.approx(
        sum(parts) ** 2 / (parts[0] ** 2 / 4 + parts[1] ** 2 / 3 + parts[2] ** 2 / 2)
    )


def test_images_add_what_the_units_do_not_hold():
    """The same formula as that of two methods, where it has its own golden table."""
    first, second = own_images(50)
    estimate = estimate_of([sample(A, first), sample(B, second)], [1.0, -1.0])
    spread = np.var(first.rates - second.rates, ddof=1) - first.noise - second.noise
    assert spread > 0
    assert estimate.images_error == pytest.approx(100**2 * spread / 50)
    assert estimate.error == pytest.approx(math.sqrt(estimate.units_error + 100**2 * spread / 50))
    one_without = estimate_of([sample(A, first), sample(B)], [1.0, -1.0])
    assert one_without.images_error == 0.0


@pytest.mark.parametrize(
    ("expect", "margin", "shift", "outcome"),
    [
        ("above", 0.5, 2.0, "supported"),
        ("above", 0.5, -1.0, "refuted"),
        ("above", 0.5, 0.5, "undecided"),
        ("above", -0.5, 0.0, "supported"),  # not worse by half a point
        ("below", 0.5, -2.0, "supported"),
        ("below", 0.5, 0.0, "refuted"),
        ("within", 0.5, 0.0, "supported"),
        ("within", 0.5, 2.0, "refuted"),
        ("within", 0.5, -2.0, "refuted"),
        ("within", 0.5, 0.5, "undecided"),
        ("beyond", 0.5, 2.0, "supported"),
        ("beyond", 0.5, -2.0, "supported"),
        ("beyond", 0.5, 0.0, "refuted"),
        ("beyond", 0.5, 0.5, "undecided"),
    ],
)
def test_where_the_interval_lies_decides(expect, margin, shift, outcome):
    values = [shift + each for each in (-0.2, -0.1, 0.0, 0.1, 0.2)]
    assert outcome_of(estimate_of([sample(values)], [1.0]), expect, margin) == outcome


def test_what_refutes_is_corrected_for_the_tests_of_a_claim():
    estimate = estimate_of([sample([-0.9, -0.1, -0.4, -0.5, -0.2])], [1.0])
    assert outcome_of(estimate, "above", 0.0) == "refuted"
    assert outcome_of(estimate, "above", 0.0, parts=50) == "undecided"
    supporting = estimate.reversed()
    assert outcome_of(supporting, "above", 0.0, parts=50) == "supported"


def test_the_interval_that_decides_is_named_where_it_is_not_that_of_95_percent():
    below = estimate_of([sample([-0.9, -0.1, -0.4, -0.5, -0.2])], [1.0])
    assert deciding_level(below, "above", 0.0, 1) is None
    level = deciding_level(below, "above", 0.0, 50)
    assert level == pytest.approx(0.999) and level is not None and below.interval(level).high > 0
    assert deciding_level(below, "above", -2.0, 50) is None  # supported: at 5 %, however many tests
    assert deciding_level(below.reversed(), "below", 0.0, 50) == level
    for margin in (0.75, 3.0):  # within, undecided and supported
        assert deciding_level(below, "within", margin, 1) == pytest.approx(0.9)
    assert deciding_level(below, "within", 0.01, 1) is None  # refuted
    assert deciding_level(below, "within", 0.01, 50) == pytest.approx(0.999)
    assert deciding_level(below, "beyond", 3.0, 2) == pytest.approx(0.95)


def test_the_units_needed_decide_and_one_fewer_do_not():
    estimate = estimate_of([sample(A), sample([85.0, 85.3, 84.8, 85.2, 85.1])], [1.0, -1.0])
    assert outcome_of(estimate, "above", 0.0) == "undecided"
    needed = units_needed(estimate, "above", 0.0)
    assert needed is not None and needed > 5
    assert outcome_of(estimate.with_units(needed), "above", 0.0) == "supported"
    assert outcome_of(estimate.with_units(needed - 1), "above", 0.0) == "undecided"


def test_more_units_have_more_degrees_of_freedom():
    estimate = estimate_of([sample(A), sample([each - 1.0 for each in A])], [1.0, -1.0])
    assert estimate.df == pytest.approx(8.0)
    assert estimate.with_units(20).df == pytest.approx(38.0)
    assert estimate.with_units(20).units_error == pytest.approx(estimate.units_error / 4)


def test_units_of_each_arm_are_of_each_also_where_one_arm_has_more():
    """From 5 and 10 units, 20 of each have the error and the freedom that 20 of each have from 5 and 5."""
    uneven = estimate_of([sample(A), sample([*A, *A])], [1.0, -1.0])
    variances = [np.var(each, ddof=1) for each in (A, [*A, *A])]
    assert uneven.units_error == pytest.approx(variances[0] / 5 + variances[1] / 10)
    twenty = uneven.with_units(20)
    assert twenty.units_error == pytest.approx(sum(variances) / 20)
    assert twenty.df == pytest.approx(19 * sum(variances) ** 2 / sum(each**2 for each in variances))


def test_no_number_of_units_mends_a_small_test_set():
    first, second = own_images(20)
    estimate = estimate_of([sample(A, first), sample(A, second)], [1.0, -1.0])
    assert units_needed(estimate, "within", 0.5) is None


def test_nothing_planted_is_supported_in_five_of_a_hundred_cases_at_most():
    rng = np.random.default_rng(3)
    tasks = 400
    limit = 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / tasks)
    found = {"above": 0, "within": 0, "beyond": 0, "rising": 0, "falling": 0, "peaked": 0}
    for _ in range(tasks):
        at_margin = estimate_of(planted(rng, [0.5, 0.0]), [1.0, -1.0])
        for expect in ("above", "within", "beyond"):
            found[expect] += outcome_of(at_margin, expect, 0.5) == "supported"
        flat = planted(rng, [0.0] * 4)
        for shape in (rising, falling, peaked):
            found[shape.__name__] += shape(flat, 0.0) == "supported"
    assert all(count / tasks <= limit for count in found.values()), found


def test_a_true_claim_is_refuted_in_five_of_a_hundred_cases_at_most():
    rng = np.random.default_rng(4)
    tasks = 400
    limit = 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / tasks)
    refuted = dict.fromkeys(["above", "within", "rising", "peaked", "five parts"], 0)
    for _ in range(tasks):
        at_margin = estimate_of(planted(rng, [0.5, 0.0]), [1.0, -1.0])
        refuted["above"] += outcome_of(at_margin, "above", 0.5) == "refuted"
        refuted["within"] += outcome_of(at_margin, "within", 0.5) == "refuted"
        refuted["rising"] += rising(planted(rng, [0.0] * 4), 0.0) == "refuted"
        refuted["peaked"] += peaked(planted(rng, [0.0, 0.0, 0.0, 0.0]), 0.0) == "refuted"
        five = [estimate_of(planted(rng, [0.5, 0.0]), [1.0, -1.0]) for _ in range(5)]
        refuted["five parts"] += any(outcome_of(each, "above", 0.5, parts=5) == "refuted" for each in five)
    assert all(count / tasks <= limit for count in refuted.values()), refuted


def test_planted_effects_are_found():
    rng = np.random.default_rng(5)
    for _ in range(20):
        assert outcome_of(estimate_of(planted(rng, [2.5, 0.0]), [1.0, -1.0]), "above", 0.5) == "supported"
        assert outcome_of(estimate_of(planted(rng, [-1.5, 0.0]), [1.0, -1.0]), "above", 0.5) == "refuted"
        assert rising(planted(rng, [0.0, 2.0, 4.0, 6.0]), 0.0) == "supported"
        assert rising(planted(rng, [0.0, 4.0, 1.0, 6.0]), 0.0) == "refuted"
        assert falling(planted(rng, [6.0, 4.0, 2.0, 0.0]), 0.0) == "supported"
        assert peaked(planted(rng, [0.0, 3.0, 4.0, 0.0]), 0.0) == "supported"
        assert peaked(planted(rng, [4.0, 0.0, 4.0, 0.0]), 0.0) == "refuted"  # a valley
        assert peaked(planted(rng, [6.0, 4.0, 2.0, 0.0]), 0.0) == "refuted"  # best at an end


LEVEL_ARMS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0]) / math.sqrt(2.5)  # their variance is 1


def at(mean):
    """Five units about a mean; the difference of two such arms has an error of sqrt(0.4), and df 8."""
    return sample(mean + LEVEL_ARMS)


def just(tail):
    """Differences just below and just above the one that an interval with this tail on each side shows."""
    needed = float(stats.t.ppf(1 - tail, 8)) * math.sqrt(0.4)
    return 0.99 * needed, 1.01 * needed


@pytest.mark.parametrize("parts", [1, 3])
def test_a_step_refutes_an_order_at_bonferronis_level_for_all_pairs_and_tests(parts):
    """Of four arms there are six pairs, each with two sides."""
    below, above = just(0.05 / 6 / parts / 2)
    for shape, turn in ((rising, 1), (falling, -1)):
        for drop, outcome in ((below, "undecided"), (above, "refuted")):
            arms = [at(mean) for mean in (0.0, -drop, 50.0, 100.0)]
            assert shape(arms[::turn], 0.0, parts) == outcome


@pytest.mark.parametrize("parts", [1, 3])
def test_an_end_refutes_a_peak_at_the_level_of_two_ends(parts):
    below, above = just(0.05 / 2 / parts / 2)
    for turn in (1, -1):
        for drop, outcome in ((below, "undecided"), (above, "refuted")):
            assert peaked([at(mean) for mean in (drop, 0.0, -50.0)][::turn], 0.0, parts) == outcome


@pytest.mark.parametrize("parts", [1, 3])
def test_a_valley_refutes_a_peak_at_the_level_of_all_triples(parts):
    """Of four arms there are four, each with two sides; without the valley there is a peak at the third."""
    below, above = just(0.05 / 8 / parts / 2)
    for drop, outcome in ((below, "supported"), (above, "refuted")):
        assert peaked([at(mean) for mean in (drop, 0.0, 50.0, -50.0)], 0.0, parts) == outcome


def test_a_peak_is_shown_at_the_level_of_all_arms_between_the_ends():
    """Of five arms three may be it."""
    below, above = just(0.05 / 3 / 2)
    for rise, outcome in ((below, "undecided"), (above, "supported")):
        assert peaked([at(mean) for mean in (0.0, 0.0, rise, 0.0, 0.0)], 0.0, 99) == outcome


def test_a_step_that_is_not_shown_leaves_the_shape_open():
    noise = np.array([-0.3, 0.0, 0.3])
    assert rising([sample(level + noise) for level in (0.0, 3.0, 3.1, 6.0)], 0.0) == "undecided"


def test_a_shape_forgives_a_step_within_the_margin():
    near = [sample([x - 0.01, x, x + 0.01]) for x in (0.0, 5.0, 4.8, 9.0)]
    assert rising(near, 0.0) == "refuted"
    assert rising(near, 0.5) == "supported"


def test_power_is_that_of_simulations():
    rng = np.random.default_rng(6)
    n, sd, tasks = 20, 0.3, 400
    error, df = sd * math.sqrt(2 / n), 2 * n - 2
    shown = power_at("above", 0.5, error, df)
    found = np.mean(
        [
            outcome_of(estimate_of(planted(rng, [shown, 0.0], n, sd), [1.0, -1.0]), "above", 0.5)
            == "supported"
            for _ in range(tasks)
        ]
    )
    assert found == pytest.approx(0.8, abs=0.06)
    equal = np.mean(
        [
            outcome_of(estimate_of(planted(rng, [0.0, 0.0], n, sd), [1.0, -1.0]), "within", 0.3)
            == "supported"
            for _ in range(tasks)
        ]
    )
    assert power_at("within", 0.3, error, df) == pytest.approx(equal, abs=0.06)


def test_the_power_of_a_shape_is_that_of_simulations():
    rng = np.random.default_rng(7)
    n, sd, tasks, margin = 8, 0.3, 400, 2.0
    error, df = sd * math.sqrt(2 / n), 2 * n - 2

    def share(shape, means):
        return np.mean([shape(planted(rng, means, n, sd), margin) == "supported" for _ in range(tasks)])

    against = power_at("above", -margin, error, df)  # a step against the shape that the margin forgives
    assert against < 0
    assert share(rising, [10.0, 10.0 + against, 20.0, 30.0]) == pytest.approx(0.8, abs=0.06)
    assert share(falling, [30.0, 20.0, 20.0 - against, 10.0]) == pytest.approx(0.8, abs=0.06)
    whole = power_at("above", margin, error, df)
    assert share(rising, [0.0, whole / 2, whole]) == pytest.approx(0.8, abs=0.06)
    peak = power_at("above", margin, error, df, level=level_of_a_peak(5))
    assert share(peaked, [0.0, 0.0, peak, -6.0, -9.0]) == pytest.approx(0.8, abs=0.06)

"""Ease of tuning against closed forms, scipy and the package that its bands come from."""

import math
import re

import numpy as np
import pytest
from opda.nonparametric import EmpiricalDistribution
from scipy.stats import binom, binomtest

from report.analysis.budget import CRITICAL, band_of, budget_curve, critical_coverage
from report.analysis.ease import (
    GoodShare,
    common_reference,
    draws_needed,
    good_share,
    share_curve,
    share_differences,
)
from report.analysis.robustness import robustness
from report.analysis.search import Search, place_in
from suite.records.schema import Range
from tests.support.paths import ROOT


def wilson(good: int, draws: int) -> tuple[float, float]:
    interval = binomtest(good, draws).proportion_ci(0.95, method="wilson")
    return float(interval.low), float(interval.high)


@pytest.mark.parametrize(("good", "draws"), [(0, 24), (1, 24), (12, 24), (24, 24), (3, 120)])
def test_the_share_has_wilsons_interval(good: int, draws: int) -> None:
    share = good_share([0.9] * good + [0.5] * (draws - good), reference=0.91, delta=0.01)
    assert (share.good, share.draws, share.share) == (good, draws, good / draws)
    assert (share.low, share.high) == pytest.approx(wilson(good, draws), abs=1e-9)


def test_without_a_good_draw_no_number_of_draws_is_the_most() -> None:
    """Rounding must not make the ends of the interval 1e-17 and 1 - 1e-16."""
    for draws in range(1, 200):
        none, every = good_share([0.5] * draws, 0.9, 0.01), good_share([0.9] * draws, 0.9, 0.01)
        assert (none.low, none.draws_needed[2], every.high) == (0.0, math.inf, 1.0)


def test_a_score_at_the_edge_counts() -> None:
    assert good_share([0.75, 0.5], reference=1.0, delta=0.25).good == 1
    assert 0.519 - 0.05 > 0.469 and good_share([0.469], 0.519, 0.05).good == 1  # equal but for rounding


def test_the_interval_covers_what_missing_draws_could_be() -> None:
    """A lost draw may raise the share, but never the lower end of its interval."""
    scores = [0.9] * 5 + [0.5] * 5
    whole, without_bad = good_share(scores, 0.9, 0.01), good_share(scores[:-1], 0.9, 0.01, missing=1)
    assert without_bad.share > whole.share
    assert without_bad.low == pytest.approx(wilson(5, 10)[0]) == pytest.approx(whole.low)
    assert without_bad.high == pytest.approx(wilson(6, 10)[1])


@pytest.mark.parametrize(
    ("share", "draws"),
    [(0.0, math.inf), (1.0, 1.0), (0.95, 1.0), (0.5, math.log(0.05) / math.log(0.5)), (0.1, 28.4331588)],
)
def test_so_many_draws_contain_a_good_one_with_95_percent(share: float, draws: float) -> None:
    assert draws_needed(share) == pytest.approx(draws)
    if 0 < share < 0.95:
        assert 1 - (1 - share) ** draws_needed(share) == pytest.approx(0.95)


def test_a_wide_share_gives_a_wide_number_of_draws() -> None:
    value, low, high = good_share([0.9, *[0.1] * 23], reference=0.9, delta=0.01).draws_needed
    assert low < value < high < math.inf
    assert good_share([], 0.9, 0.01).draws_needed[1:] == (1.0, math.inf)


def test_the_curve_rises_with_the_tolerance() -> None:
    scores = np.random.default_rng(0).uniform(0.8, 0.9, 60).tolist()
    shares = [share.share for share in share_curve(scores, 0.9)]
    assert shares == sorted(shares) and shares[0] < 0.1 < 0.4 < shares[-1]


def shares_of(*good: int, draws: int) -> dict[str, float]:
    scores = {str(n): [0.9] * each + [0.1] * (draws - each) for n, each in enumerate(good)}
    return {name: good_share(each, 0.9, 0.01) for name, each in scores.items()}  # pyright: ignore[reportReturnType]


def test_two_shares_differ_by_newcombes_interval() -> None:
    """The example of Newcombe 1998, Table II: 56/70 and 48/80, method 10: 0.2 [0.0524, 0.3339]."""
    first, second = good_share([0.9] * 56 + [0] * 14, 0.9, 0), good_share([0.9] * 48 + [0] * 32, 0.9, 0)
    (found,) = share_differences({"one": first, "other": second})
    assert found.value == pytest.approx(0.2)
    assert (found.interval.low, found.interval.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    turned = found.reversed()
    assert (turned.first, turned.value, turned.interval.high) == ("other", -found.value, -found.interval.low)


def test_equal_methods_are_seldom_called_unequally_easy() -> None:
    """Of ten methods with the same share some pair is separated in at most 5 % of the experiments."""
    random, alarms, tasks = np.random.default_rng(0), 0, 60
    for good in random.binomial(21, 0.3, size=(tasks, 10)):
        found = share_differences(shares_of(*good, draws=21))  # pyright: ignore[reportArgumentType]
        assert len(found) == 45
        alarms += any(each.interval.excludes_zero for each in found)
    assert alarms / tasks <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / tasks)


def test_the_reference_is_the_best_mean_over_fresh_seeds() -> None:
    settings = {"bop, default": [0.90, 0.92], "adam, study 1": [0.95, 0.80], "none": []}
    assert common_reference(settings) == ("bop, default", pytest.approx(0.91))
    with pytest.raises(ValueError, match="fresh seeds"):
        common_reference({"none": []})


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    return np.random.default_rng(1).beta(5, 2, 20)


def test_the_curve_is_that_of_opda(draws: np.ndarray) -> None:
    """Its band was simulated with another number of draws: 9 lie between two entries of the table."""
    lower, _, upper = EmpiricalDistribution.confidence_bands(
        draws[:9], 0.8, a=0.0, b=1.0, generator=np.random.default_rng(0), n_jobs=1
    )
    between = np.convolve([0.0, *sorted(draws[:9]), 1.0], [0.5, 0.5], "valid")
    below, above = band_of(9)
    assert (below, above) == (
        pytest.approx(lower.cdf(between), abs=2e-3),
        pytest.approx(upper.cdf(between), abs=2e-3),
    )
    curve = budget_curve(draws[:9].tolist())
    assert curve.low == pytest.approx(upper.quantile_tuning_curve(curve.budgets))
    assert curve.high == pytest.approx(lower.quantile_tuning_curve(curve.budgets))
    curve, empirical = budget_curve(draws.tolist()), EmpiricalDistribution(draws, a=0.0, b=1.0)
    # of 20 draws half lie up to the tenth: there opda rounds to the eleventh
    assert curve.median[0] == sorted(draws)[9]
    assert curve.median[1:] == pytest.approx(empirical.quantile_tuning_curve(curve.budgets[1:]))
    assert curve.mean[0] == pytest.approx(draws.mean())
    pairs = [max(a, b) for i, a in enumerate(draws) for b in draws[:i]]
    assert curve.mean[1] == pytest.approx(np.mean(pairs))


def test_the_band_says_nothing_from_some_number_of_draws_on(draws: np.ndarray) -> None:
    """With 20 draws from four on."""
    curve = budget_curve(draws.tolist())
    assert (curve.carried, curve.informed, len(curve.budgets)) == (3, 3, 20)
    assert (curve.high[:3] < 1.0).all() and (curve.high[3:] == 1.0).all()
    assert len(budget_curve([0.5, 0.6]).budgets) == 0


def test_a_lost_draw_raises_no_curve_and_the_band_holds_all_that_it_could_be(
    draws: np.ndarray,
) -> None:
    known, lost = draws[:15].tolist(), [0.0, 1.0, *draws[15:18].tolist()]
    curve, whole = budget_curve(known, missing=5), budget_curve([*known, *lost])
    assert (curve.draws, curve.budgets.tolist()) == (20, whole.budgets.tolist())
    assert (curve.median <= whole.median).all() and (curve.mean <= whole.mean).all()
    assert (curve.low <= whole.low).all() and (whole.high <= curve.high).all()
    failed = budget_curve([*known, *[0.0] * 5])
    assert curve.median.tolist() == failed.median.tolist() and curve.low.tolist() == failed.low.tolist()
    assert len(budget_curve([0.5, 0.6], missing=9).budgets) == 0


def test_of_many_draws_some_points_stand_for_the_curve() -> None:
    """The median of the best of n uniform numbers is 0.5^(1/n)."""
    curve = budget_curve(np.random.default_rng(0).uniform(size=900).tolist())
    assert len(curve.budgets) <= 200 and (curve.budgets[0], curve.budgets[-1]) == (1, 900)
    assert curve.place(8) is not None and curve.place(899) is None
    assert curve.median[:60] == pytest.approx(0.5 ** (1 / curve.budgets[:60]), abs=0.03)


def test_the_critical_coverage_falls_as_a_power_between_the_entries() -> None:
    """Each entry is what its neighbours give: a wrong digit in the table would stand out."""
    for number, coverage in list(CRITICAL.items())[1:-1]:
        others = {key: value for key, value in CRITICAL.items() if key != number}
        known, left = np.log(list(others)), np.log1p(-np.array(list(others.values())))
        assert math.log1p(-coverage) == pytest.approx(np.interp(math.log(number), known, left), abs=0.05)
        assert critical_coverage(number) == pytest.approx(coverage)


def test_equal_scores_need_no_breaking_of_ties() -> None:
    scores = [0.5] * 10 + [0.8] * 10
    curve, apart = budget_curve(scores), budget_curve([s + 1e-9 * n for n, s in enumerate(scores)])
    assert curve.median == pytest.approx(apart.median, abs=1e-7)
    assert curve.low == pytest.approx(apart.low, abs=1e-7)
    assert curve.high == pytest.approx(apart.high, abs=1e-7)


@pytest.mark.parametrize("draws", [7, 60])
def test_the_band_covers_the_true_curve_as_often_as_it_says(draws: int) -> None:
    """The median of the best of n uniform numbers is 0.5^(1/n)."""
    random, covered, tasks = np.random.default_rng(2), 0, 200
    for _ in range(tasks):
        curve = budget_curve(random.uniform(size=draws).tolist())
        truth = 0.5 ** (1 / curve.budgets)
        covered += bool(((curve.low <= truth) & (truth <= curve.high)).all())
    assert covered / tasks >= 0.8 - 2 * math.sqrt(0.8 * 0.2 / tasks)


def test_scores_beyond_the_support_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        budget_curve([0.1, 0.5, 1.5])


def power(draws: int, low: float, high: float, pairs: int) -> float:
    """How often the interval of the difference of two shares lies above zero, summed over all outcomes."""
    good = np.arange(draws + 1)
    share = good / draws
    ends = [GoodShare(0.01, int(n), draws, 0, 0.0, 1.0).interval(1 - 0.05 / pairs) for n in good]
    below, above = share - [each.low for each in ends], np.array([each.high for each in ends]) - share
    lower_end = share[:, None] - share - np.hypot(below[:, None], above)
    chance = binom.pmf(good, draws, high)[:, None] * binom.pmf(good, draws, low)
    return float((chance * (lower_end > 0)).sum())


def test_the_draws_that_the_docs_ask_for_have_the_power() -> None:
    text = (ROOT / "docs/tuning.md").read_text()
    rows = re.findall(r"^\| (\d+) % and (\d+) % \| (\d+) \| (\d+) \|", text, re.MULTILINE)
    assert len(rows) == 3
    for low, high, of_two, of_four in rows:
        for draws, pairs in ((of_two, 1), (of_four, 6)):
            assert power(int(draws), int(low) / 100, int(high) / 100, pairs) == pytest.approx(0.8, abs=0.015)
    assert power(48, 0.1, 0.4, 6) == pytest.approx(0.8, abs=0.015)  # tuning/fashion-convnet
    assert power(120, 0.2, 0.4, 6) == pytest.approx(0.78, abs=0.015)  # tuning/fashion-mnist, claims/ease


LR, WORD = Range("log", (1e-4, 1e-2)), Range("choice", ("a", "b"))


def test_where_the_order_depends_on_a_range_it_is_reversed() -> None:
    first = Search({"lr": LR}, [{"lr": 2e-4}, {"lr": 5e-3}], [0.7, 0.9])
    second = Search({"w": WORD}, [{"w": "a"}, {"w": "b"}], [0.8, 0.6])
    found = robustness(first, second)
    assert (found.spaces, found.spaces_reversed) == (2, ("lr, lower half",))
    assert found.share == pytest.approx(0.25, abs=0.1)  # 0.7 against 0.8


def test_equal_methods_reverse_nothing() -> None:
    one = Search({"lr": LR}, [{"lr": 2e-4}, {"lr": 5e-3}], [0.9, 0.9])
    found = robustness(one, one)
    assert found.spaces_reversed == () and found.subsets_reversed == 0


def test_a_tie_for_the_best_draw_can_be_lost() -> None:
    first = Search({"lr": LR}, [{"lr": 2e-4}, {"lr": 5e-3}], [0.7, 0.9])
    second = Search({"w": WORD}, [{"w": "a"}, {"w": "b"}], [0.9, 0.9])
    found = robustness(first, second)
    assert found.spaces_reversed == ("lr, lower half",) and found.share == pytest.approx(0.5, abs=0.1)


def test_places_lie_on_the_scale_of_the_range() -> None:
    assert place_in(LR, 1e-3) == pytest.approx(0.5)
    assert place_in(Range("uniform", (2.0, 4.0)), 3.5) == 0.75
    assert place_in(Range("integer", (1, 5)), 2) == 0.25

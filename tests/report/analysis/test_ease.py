"""Ease of tuning against closed forms, scipy and the package that its bands come from."""

import math

import numpy as np
import pytest
from opda.nonparametric import EmpiricalDistribution

from report.analysis.budget import budget_curve
from report.analysis.ease import common_reference, draws_needed, good_share, share_curve
from report.analysis.robustness import Search, place_in, robustness
from suite.records.schema import Range


def wilson(good: int, draws: int) -> tuple[float, float]:
    """The closed form of Wilson 1927."""
    z, p = 1.959963984540054, good / draws
    centre = (p + z * z / (2 * draws)) / (1 + z * z / draws)
    half = z * math.sqrt(p * (1 - p) / draws + z * z / (4 * draws * draws)) / (1 + z * z / draws)
    return max(0.0, centre - half), min(1.0, centre + half)


@pytest.mark.parametrize(("good", "draws"), [(0, 24), (1, 24), (12, 24), (24, 24), (3, 120)])
def test_the_share_has_wilsons_interval(good: int, draws: int) -> None:
    share = good_share([0.9] * good + [0.5] * (draws - good), reference=0.91, delta=0.01)
    assert (share.good, share.draws, share.share) == (good, draws, good / draws)
    assert (share.low, share.high) == pytest.approx(wilson(good, draws), abs=1e-9)


def test_a_score_at_the_edge_counts() -> None:
    assert good_share([0.75, 0.5], reference=1.0, delta=0.25).good == 1


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


def test_the_reference_is_the_best_mean_over_fresh_seeds() -> None:
    settings = {"bop, default": [0.90, 0.92], "adam, study 1": [0.95, 0.80], "none": []}
    assert common_reference(settings) == ("bop, default", pytest.approx(0.91))
    with pytest.raises(ValueError, match="fresh seeds"):
        common_reference({"none": []})


@pytest.fixture(scope="module")
def draws() -> np.ndarray:
    return np.random.default_rng(1).beta(5, 2, 20)


def test_the_curve_is_that_of_opda(draws: np.ndarray) -> None:
    curve = budget_curve(draws.tolist())
    lower, empirical, upper = EmpiricalDistribution.confidence_bands(
        draws, 0.8, a=0.0, b=1.0, generator=np.random.default_rng(0), n_jobs=1
    )
    assert curve.low == pytest.approx(upper.quantile_tuning_curve(curve.budgets))
    assert curve.high == pytest.approx(lower.quantile_tuning_curve(curve.budgets))
    # of 20 draws half lie up to the tenth: there opda rounds to the eleventh
    assert curve.median[0] == sorted(draws)[9]
    assert curve.median[1:] == pytest.approx(empirical.quantile_tuning_curve(curve.budgets[1:]))
    assert curve.mean[0] == pytest.approx(draws.mean())
    pairs = [max(a, b) for i, a in enumerate(draws) for b in draws[:i]]
    assert curve.mean[1] == pytest.approx(np.mean(pairs))


def test_the_curve_ends_where_its_band_says_nothing(draws: np.ndarray) -> None:
    """With 20 draws after three."""
    curve = budget_curve(draws.tolist())
    assert curve.budgets.tolist() == [1, 2, 3] and (curve.high < 1.0).all()
    assert len(budget_curve([0.5, 0.6]).budgets) == 0


def test_equal_scores_need_no_breaking_of_ties() -> None:
    scores = [0.5] * 10 + [0.8] * 10
    curve, apart = budget_curve(scores), budget_curve([s + 1e-9 * n for n, s in enumerate(scores)])
    assert curve.median == pytest.approx(apart.median, abs=1e-7)
    assert curve.low == pytest.approx(apart.low, abs=1e-7)
    assert curve.high == pytest.approx(apart.high, abs=1e-7)


def test_the_band_covers_the_true_curve_as_often_as_it_says() -> None:
    """The median of the best of n uniform numbers is 0.5^(1/n)."""
    random, covered, tasks = np.random.default_rng(2), 0, 400
    for _ in range(tasks):
        curve = budget_curve(random.uniform(size=20).tolist())
        truth = 0.5 ** (1 / curve.budgets)
        covered += bool(((curve.low <= truth) & (truth <= curve.high)).all())
    assert covered / tasks >= 0.8 - 2 * math.sqrt(0.8 * 0.2 / tasks)


def test_scores_beyond_the_support_are_refused() -> None:
    with pytest.raises(ValueError, match="outside"):
        budget_curve([0.1, 0.5, 1.5])


LR, WORD = Range("log", (1e-4, 1e-2)), Range("choice", ("a", "b"))


def test_where_the_order_depends_on_a_range_it_is_reversed() -> None:
    first = Search({"lr": LR}, [{"lr": 2e-4}, {"lr": 5e-3}], [0.7, 0.9])
    second = Search({"w": WORD}, [{"w": "a"}, {"w": "b"}], [0.8, 0.6])
    found = robustness(first, second)
    assert (found.spaces, found.spaces_reversed) == (4, ("lr: lower half of the first",))
    assert found.subsets_reversed / found.subsets == pytest.approx(0.25, abs=0.1)  # 0.7 against 0.8


def test_equal_methods_reverse_nothing() -> None:
    one = Search({"lr": LR}, [{"lr": 2e-4}, {"lr": 5e-3}], [0.9, 0.9])
    found = robustness(one, one)
    assert found.spaces_reversed == () and found.subsets_reversed == 0


def test_places_lie_on_the_scale_of_the_range() -> None:
    assert place_in(LR, 1e-3) == pytest.approx(0.5)
    assert place_in(Range("uniform", (2.0, 4.0)), 3.5) == 0.75
    assert place_in(Range("integer", (1, 5)), 2) == 0.25

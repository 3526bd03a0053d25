"""What a hyperparameter explains: by hand, against scipy, and on searches whose answer is known."""

import numpy as np
import pytest
from scipy import stats

from report.analysis.importance import Slice, effect, effects
from report.analysis.search import Search
from suite.records.schema import Range

LR, WORD = Range("log", (1e-4, 1e-1)), Range("choice", ("a", None))


def search(places: list[float], words: list[str | None], scores: list[float]) -> Search:
    """lr lies at these places of its range on the log scale."""
    values = [{"lr": 1e-4 * 1000**place, "word": word} for place, word in zip(places, words, strict=True)]
    return Search({"lr": LR, "word": WORD}, values, scores)


def test_the_effect_by_hand() -> None:
    """Two thirds with the ranks 1, 2, 3 and 4, 5, 6: H = 12/42 (6²/3 + 15²/3) - 21 = 27/7."""
    found = effect(search([0.1, 0.2, 0.3, 0.8, 0.9, 1.0], ["a"] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), "lr")
    assert found.slices == (Slice("low third", 3, 0.2), Slice("high third", 3, 0.5))
    assert found.explained == pytest.approx((27 / 7 - 1) / 4)
    assert found.p == pytest.approx(2 * stats.chi2.sf(27 / 7, 1))  # of two hyperparameters
    assert found.draws == 6


def test_what_decides_comes_first_also_where_it_is_not_monotone() -> None:
    random = np.random.default_rng(0)
    places, words = random.uniform(size=60), random.choice(["a", "b"], 60)
    scores = 0.9 - (places - 0.5) ** 2 + 0.01 * random.normal(size=60)
    found = effects(
        search(places.tolist(), [None if each == "b" else "a" for each in words], scores.tolist())
    )
    assert [each.name for each in found] == ["lr", "word"]
    assert found[0].explained > 0.5 and found[0].p < 0.001
    assert found[1].explained < 0.1 and {each.name for each in found[1].slices} == {"a", "none"}
    medians = {each.name: each.median for each in found[0].slices}
    assert max(medians, key=medians.__getitem__) == "middle third"


def test_what_does_nothing_explains_nothing_on_average() -> None:
    random, explained, alarms = np.random.default_rng(1), [], 0
    for _ in range(100):
        found = effect(
            search(random.uniform(size=21).tolist(), ["a"] * 21, random.uniform(size=21).tolist()), "lr"
        )
        explained.append(found.explained)
        alarms += found.p < 0.05
    assert np.mean(explained) < 0.06
    assert alarms <= 5


def test_few_draws_or_equal_scores_show_no_effect() -> None:
    assert effects(search([0.5] * 19, ["a"] * 19, [0.5] * 19)) == []
    found = effects(search([0.1] * 10 + [0.9] * 10, ["a"] * 20, [0.5] * 20))
    assert [(each.explained, np.isnan(each.p)) for each in found] == [(0.0, True), (0.0, True)]

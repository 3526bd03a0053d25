"""The words for what a test measures, and for what supports it."""

from typing import Any

import pytest

from report.page.claims.rows import MEASURED, must
from suite.records.claim import MEASURES, Contrast, Order


def test_every_measure_has_words() -> None:
    assert set(MEASURED) == set(MEASURES)


@pytest.mark.parametrize(
    ("shape", "margin", "words"),
    [
        ("rising", 0.0, "rising"),
        ("falling", 2.0, "falling, no step against it of 2 points"),
        ("peaked", 0.0, "highest between the ends"),
        ("peaked", 0.5, "highest between the ends, by more than 0.5 points"),
    ],
)
def test_an_order_must_have_its_shape(shape: Any, margin: float, words: str) -> None:
    test = Order(kind="order", says="s", arms=["a", "b", "c"], shape=shape, margin=margin)
    assert must(test) == words


@pytest.mark.parametrize(
    ("expect", "margin", "words"),
    [
        ("above", -0.3, "above −0.3 points"),  # noqa: RUF001 - a true minus
        ("below", 1.0, "below −1 point"),  # noqa: RUF001
        ("below", -0.3, "below 0.3 points"),
        ("below", 0.0, "below 0 points"),
        ("within", 0.5, "within ±0.5 points"),
        ("beyond", 0.5, "beyond ±0.5 points"),
    ],
)
def test_a_contrast_must_lie_on_its_side_of_the_margin(expect: Any, margin: float, words: str) -> None:
    of = {"a": 1.0, "b": -1.0}
    assert must(Contrast(kind="contrast", says="s", of=of, expect=expect, margin=margin)) == words

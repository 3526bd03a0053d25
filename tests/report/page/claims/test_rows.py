"""The words for what a test measures, and for what supports it."""

from typing import Any

import pytest

from report.analysis.claims import verdict
from report.analysis.claims.decide import Estimate, units_needed
from report.analysis.claims.verdict import ContrastFinding
from report.page.claims.rows import MEASURED, must, needed_words, order_words
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


@pytest.mark.parametrize(
    ("shape", "margin", "words"),
    [  # 14 degrees of freedom: t 2.145 and 0.868, and 2.718 for the three arms between the ends
        ("rising", 0.0, "steps of 0.30 or more, and 0.60 from end to end, each in 80 % of the cases"),
        (
            "falling",
            2.0,
            "steps of at most 1.70 against it, and 2.60 from end to end, each in 80 % of the cases",
        ),
        ("peaked", 2.0, "a peak that is 2.36 above both ends, each in 80 % of the cases"),
    ],
)
def test_what_the_units_show_of_a_shape(shape: Any, margin: float, words: str) -> None:
    test = Order(kind="order", says="s", arms=["a", "b", "c", "d", "e"], shape=shape, margin=margin)
    assert order_words(test, (0.1, 14), (0.2, 14), 5) == words


@pytest.mark.parametrize(
    ("images_error", "why"),
    [(0.04, "the test images are too few"), (0.0, "it is too near to the margin")],
)
def test_what_no_number_of_units_decides_says_why(images_error: float, why: str) -> None:
    estimate = Estimate(value=0.3 + 1e-6, units_error=0.01, images_error=images_error, df=8, units=5)
    assert units_needed(estimate, "above", 0.3) is None
    test = Contrast(kind="contrast", says="", of={"a": 1.0, "b": -1.0}, expect="above", margin=0.3)
    finding = ContrastFinding(estimate, ())
    (remark,) = needed_words(verdict.TestVerdict(test, (), "undecided", finding))
    assert remark == f"10,000 runs of each arm would not decide, if the estimate stays: {why}"
    assert needed_words(verdict.TestVerdict(test, (), "undecided", finding, "a run is missing")) == []
    assert needed_words(verdict.TestVerdict(test, (), "supported", finding)) == []

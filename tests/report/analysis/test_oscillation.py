"""The association of undone flips with accuracy over methods: against scipy, by hand, and its coverage."""

import math
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Annotation
from scipy import stats

from report.analysis.oscillation import association, oscillations
from report.draw.oscillation import LINE, Mark, name_marks, oscillation_drawings
from report.draw.styles import looks_of
from report.draw.svg import draw
from suite.records.claim import Contrast
from tests.support.claim_records import Run, claim_of, records_of

CLAIM = claim_of(Contrast(kind="contrast", says="", of={"a": 1.0, "b": -1.0}, expect="above"))


def test_the_correlation_is_scipys_with_ties_and_its_interval_is_bonetts_and_wrights() -> None:
    draws = np.random.default_rng(3)
    x, y = draws.normal(size=20).round(1), draws.normal(size=20).round(1)
    found = association(list(x), list(y))
    assert found is not None
    assert found.rho == pytest.approx(stats.spearmanr(x, y)[0])
    half_width = 1.959964 * math.sqrt((1 + found.rho**2 / 2) / 17)
    assert math.atanh(found.interval.high) - math.atanh(found.rho) == pytest.approx(half_width, abs=1e-6)
    assert math.atanh(found.rho) - math.atanh(found.interval.low) == pytest.approx(half_width, abs=1e-6)


def test_there_is_none_for_few_methods_or_equal_ones() -> None:
    assert association(range(7), range(7)) is None
    assert association([1.0] * 9, range(9)) is None and association(range(9), [1.0] * 9) is None
    perfect = association(range(8), [-each for each in range(8)])
    assert perfect is not None and (perfect.rho, perfect.interval.low) == (-1.0, -1.0)
    exchanged = association(range(8), [-1, *[-each for each in range(8) if each != 1]])
    assert exchanged is not None and exchanged.rho == pytest.approx(-1 + 12 / (8**3 - 8))
    assert perfect.interval.high == pytest.approx(exchanged.interval.high)


@pytest.mark.parametrize("correlation", [0.0, 0.8])
def test_the_interval_holds_the_correlation_as_often_as_it_promises(correlation: float) -> None:
    draws = np.random.default_rng(5)
    truth = 6 / math.pi * math.asin(correlation / 2)  # Spearman's, of normal numbers with this one of Pearson
    missed = 0
    for _ in range(2000):
        x = draws.normal(size=20)
        y = correlation * x + math.sqrt(1 - correlation**2) * draws.normal(size=20)
        found = association(x.tolist(), y.tolist())
        assert found is not None
        missed += not found.interval.low <= truth <= found.interval.high
    assert 0.03 < missed / 2000 < 0.07


NAMES = [f"m{n}" for n in range(8)]


def test_a_method_has_its_finished_runs_with_all_their_flips() -> None:
    one = [
        Run(top1=0.5, flips=1.0, undone_10=0.2),
        Run(top1=0.7, flips=3.0, undone_10=0.4),
        Run(top1=0.1, status="diverged"),
    ]
    left_out = {"none": [Run(top1=None)], "still": [Run(flips=0.0)], "control": [Run()]}
    records = records_of(CLAIM, {**{name: one for name in NAMES}, **left_out})
    cards = records.plan.methods
    cards = {**cards, "control": replace(cards["control"], control=True)}
    records = replace(records, plan=replace(records.plan, methods=cards))
    found = oscillations(records, records.tasks[0])
    assert [each.method for each in found] == NAMES
    for each in found:
        assert each.runs == 2
        assert (each.undone, each.accuracy, each.gap) == pytest.approx((35.0, 60.0, 10.0))


def test_a_method_counts_once_and_settings_of_one_are_no_methods() -> None:
    records = records_of(CLAIM, {name: [Run()] for name in NAMES})
    again = [replace(cell, method=f"{cell.method}-again") for cell in records.cells]
    twice = replace(records, cells=[*records.cells, *again])
    assert len(oscillations(twice, records.tasks[0])) == len(NAMES)
    grid = {name: {"gamma": 0.1 * n} for n, name in enumerate(NAMES)}
    assert oscillations(records_of(CLAIM, {name: [Run()] for name in NAMES}, grid), records.tasks[0]) == []


def test_a_far_method_stands_at_the_edge_with_its_name_and_number() -> None:
    arms = {f"m{n}": [Run(top1=0.8 + 0.01 * n, undone_10=0.1 * n)] for n in range(1, 9)}
    arms["far"] = [Run(top1=0.2, undone_10=0.5)]
    records = records_of(CLAIM, arms)
    task = records.tasks[0]
    found = oscillations(records, task)
    looks = looks_of({name: "one" for name in arms})
    accuracy, gap = oscillation_drawings(task, found, looks, ["m1", "m8"])
    assert accuracy.name.startswith("undone-accuracy") and gap.name.startswith("undone-gap")
    assert "far ↓ 20.0" in accuracy.svg and ">m1</text>" in accuracy.svg and ">m2</text>" not in accuracy.svg
    assert accuracy.numbers is not None and accuracy.numbers["value"].iloc[-1] == pytest.approx(20.0)
    assert "Rank correlation over 9 methods: 0.79 [" in accuracy.caption
    assert oscillation_drawings(task, found[:7], looks, []) == []


def test_texts_of_marks_at_one_place_stand_apart_with_lines_to_it() -> None:
    looks = looks_of(dict.fromkeys("abc", "one"))
    places = {}

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.set(xlim=(0, 1), ylim=(0, 1))
        name_marks(axes, [Mark(name, 0.5, 0.0, f"{name} \u2193 1.0") for name in "abc"], looks)
        for text in axes.texts:
            assert isinstance(text, Annotation)
            places[text.get_text()] = (text.xyann, text.arrow_patch is not None)

    draw("x", 400, 300, paint)
    assert len(places) == len({place for place, _ in places.values()}) == 3
    assert all(up >= LINE and line for (_, up), line in places.values())  # not on the axis below the panel

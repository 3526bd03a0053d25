"""The association of undone flips with accuracy over methods: against scipy, by hand, and its coverage."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from report.analysis.oscillation import association, oscillations
from report.draw.oscillation import oscillation_drawings
from report.draw.styles import looks_of
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
    assert perfect is not None and (perfect.rho, perfect.interval.high) == (-1.0, -1.0)


def test_the_interval_holds_no_correlation_as_often_as_it_promises() -> None:
    draws = np.random.default_rng(5)
    missed = 0
    for _ in range(2000):
        found = association(draws.normal(size=12).tolist(), draws.normal(size=12).tolist())
        assert found is not None
        missed += not found.interval.low <= 0.0 <= found.interval.high
    assert 0.03 < missed / 2000 < 0.07


def test_a_method_is_the_mean_of_its_finished_runs_and_controls_are_left_out() -> None:
    arms = {
        "a": [Run(top1=0.5, undone_10=0.2), Run(top1=0.7, undone_10=0.4), Run(top1=0.1, status="diverged")],
        "b": [Run(top1=None)],
        "c": [Run(top1=0.6, flips=0.0)],
        "d": [Run(top1=0.6)],
    }
    records = records_of(CLAIM, arms)
    controls = {**records.plan.methods, "d": replace(records.plan.methods["d"], control=True)}
    records = replace(records, plan=replace(records.plan, methods=controls))
    (found,) = oscillations(records, records.tasks[0])
    assert (found.method, found.runs) == ("a", 2)
    assert (found.undone, found.accuracy, found.gap) == pytest.approx((30.0, 60.0, 10.0))


def test_a_far_method_stands_at_the_edge_with_its_number() -> None:
    arms = {f"m{n}": [Run(top1=0.8 + 0.01 * n, undone_10=0.1 * n)] for n in range(1, 9)}
    arms["far"] = [Run(top1=0.2, undone_10=0.5)]
    records = records_of(CLAIM, arms)
    task = records.tasks[0]
    found = oscillations(records, task)
    looks = looks_of({name: "one" for name in arms})
    accuracy, gap = oscillation_drawings(task, found, looks, ["m1", "m8"])
    assert accuracy.name.startswith("undone-accuracy") and gap.name.startswith("undone-gap")
    assert "↓ 20.0" in accuracy.svg and ">m1</text>" in accuracy.svg and ">m2</text>" not in accuracy.svg
    assert accuracy.numbers is not None and accuracy.numbers["value"].iloc[-1] == pytest.approx(20.0)
    assert "Rank correlation over 9 methods: 0.79 [" in accuracy.caption
    assert oscillation_drawings(task, found[:7], looks, []) == []

"""A claim in words: its verdict's reason, and each test with what was found and what it must be."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import BinaryIO

import numpy as np
import pytest
from matplotlib.figure import Figure

from report.analysis.claims.identity import Parting
from report.analysis.claims.verdict import verdict_of
from report.draw.drawing import Drawing
from report.page.claims.evidence import ClaimEvidence, evidence_of, key_of, not_run
from report.page.claims.figures import zones
from report.page.claims.overview import chance, natural, tallies
from report.page.claims.rows import first_parting
from suite.records.claim import Contrast, Exact, Identical, Match, Order
from suite.records.schema import Place, Track
from tests.support.claim_records import Run, claim_of, records_of, tuned_records_of

ABOVE = Contrast(kind="contrast", says="b beats a", of={"b": 1.0, "a": -1.0}, expect="above", margin=0.5)
WITHIN = Contrast(kind="contrast", says="b equals a", of={"b": 1.0, "a": -1.0}, expect="within", margin=0.5)
BELOW = Contrast(kind="contrast", says="b is worse", of={"b": 1.0, "a": -1.0}, expect="below", margin=0.5)

NONE = np.zeros((0, 1))  # flips


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Drawings are not rendered, which would take most of the time here."""

    def blank(figure: Figure, file: BinaryIO, **_: object) -> None:
        file.write(b"<svg>\n</svg>\n")

    monkeypatch.setattr(Figure, "savefig", blank)
    yield


def evidence(*tests, **arms: Sequence[Run]) -> ClaimEvidence:
    flips = {"b-1": np.array([[1, 2], [3, 9]])}
    records = records_of(claim_of(*tests), arms)
    return evidence_of(
        records, verdict_of(records, lambda run: flips.get(run.run_id, np.array([[1, 2], [3, 4]])))
    )


def scores(*values: float) -> list[Run]:
    return [Run(top1=value / 100) for value in values]


LOW, HIGH = scores(50.0, 50.2, 49.8, 50.0), scores(53.0, 53.1, 52.9, 53.0)


def test_arms_that_are_one_training_are_named() -> None:
    also = Contrast(kind="contrast", says="b beats c", of={"b": 1.0, "c": -1.0}, expect="above", margin=0.5)
    (caution,) = evidence(ABOVE, also, a=LOW, b=HIGH, c=LOW).cautions
    assert caution.startswith("data.model.a and data.model.c are one training in every run")
    last = replace(LOW[-1], top1=0.501)
    assert evidence(ABOVE, also, a=LOW, b=HIGH, c=[*LOW[:-1], last]).cautions == ()
    # Where equality is what is tested, it is no fault.
    same = Identical(kind="identical", says="", arms=["a", "c"])
    signed = [replace(run, probes={"signs": {"weights": "w", "flips": "f"}}) for run in LOW]
    assert evidence(same, a=signed, c=signed).cautions == ()


def test_a_contrast_in_words() -> None:
    found = evidence(ABOVE, a=LOW, b=HIGH)
    (row,) = found.rows
    assert (found.mark.key, row.mark.key, found.n, row.must) == (
        "supported",
        "supported",
        "4 runs",
        "above 0.5 points",
    )
    assert found.why == "The test holds." and row.measured == "test accuracy: b − a"  # noqa: RUF001
    assert row.found == "+3.00 points" and row.arms == "b 53.00, a 50.00"
    low, high = row.numbers["low"], row.numbers["high"]
    assert row.interval == f"[{low:+.2f}, {high:+.2f}]" and low < row.numbers["estimate"] < high
    assert [drawing.name for drawing in found.drawings] == ["claim-claim-margins"]
    assert found.cost == "8 of 8 runs of its tests, 0.0 s of training"


def test_accuracies_and_shares_of_flips_have_figures_of_their_own() -> None:
    undone = Contrast(
        kind="contrast", says="b undoes less", measure="undone_10", of={"b": 1.0, "a": -1.0}, expect="below"
    )
    names = [drawing.name for drawing in evidence(ABOVE, undone, WITHIN, a=LOW, b=HIGH).drawings]
    assert names == ["claim-claim-margins", "claim-claim-margins-2"]


def test_a_refuted_claim_names_the_test_that_fails() -> None:
    found = evidence(ABOVE, WITHIN, BELOW, a=LOW, b=HIGH)
    assert found.mark.key == "refuted"
    assert found.why.startswith("It fails here: b equals a. Found: +3.00 points [")
    assert found.why.endswith("supported if within ±0.5 points. So does 1 more.")
    within, below = found.rows[1:]
    assert not within.decided_by and within.shows.startswith("equality with a chance of ")
    assert below.must == "below −0.5 points" and below.shows.endswith("or less in 80 % of the cases")  # noqa: RUF001


def test_an_interval_of_another_level_is_shown_where_it_decides_or_leaves_open() -> None:
    near = scores(50.4, 50.2, 50.3, 50.1)
    equal = evidence(WITHIN, a=LOW, b=near)
    assert equal.mark.key == "supported"
    assert equal.rows[0].decided_by.startswith("decided by the interval of 90 %: [+0.0")
    assert f"] ({equal.rows[0].decided_by})" in equal.table.rows[0][1]

    b = scores(50.0, 50.1, 49.7, 49.8)
    (alone,) = evidence(replace(ABOVE, margin=0.25), a=LOW, b=b).rows
    assert alone.mark.key == "refuted" and not alone.decided_by
    tests = [replace(ABOVE, says=f"{n}", margin=0.25 if n else -5.0) for n in range(7)]
    among = evidence(*tests, a=LOW, b=b)
    assert among.mark.key == "undecided"
    assert among.rows[1].interval == alone.interval
    assert among.rows[1].decided_by.startswith("left open by the interval of 99.3 %: [")
    assert among.rows[1].decided_by in among.why
    assert among.rows[0].mark.key == "supported" and not among.rows[0].decided_by


def test_an_open_claim_says_what_it_takes_and_a_part_of_the_runs_is_no_verdict() -> None:
    found = evidence(ABOVE, a=LOW, b=scores(50.6, 53.0, 50.2, 52.2))
    needed = found.rows[0].numbers["needed"]
    assert found.mark.key == "undecided" and found.why.startswith("Still open: b beats a. Found: ")
    assert found.why.endswith(f" {needed} runs of each arm would decide, if the estimate stays.")
    part = evidence(ABOVE, a=LOW, b=[*HIGH[:3], Run(top1=None)])
    assert part.mark.key == "incomplete" and part.why == "7 of 8 runs are in. 3 of 4 runs of b are in."


def test_arms_without_a_range_are_compared_by_their_runs() -> None:
    """Nothing of theirs was tuned: their studies are the same setting on other seeds."""
    groups = {
        arm: [runs[:2], runs[2:], runs[1:3]] for arm, runs in dict(a=LOW, b=HIGH, c=LOW, d=HIGH).items()
    }
    other = replace(ABOVE, of={"d": 1.0, "c": -1.0})
    records = tuned_records_of(
        claim_of(ABOVE, other), {arm: [0.5] for arm in groups}, best=0.5, studies=groups
    )
    cards = {**records.plan.methods, **{arm: replace(records.plan.methods[arm], hypers={}) for arm in "cd"}}
    records = replace(records, plan=replace(records.plan, methods=cards))
    found = evidence_of(records, verdict_of(records, lambda run: NONE))
    assert [row.n for row in found.rows] == ["3 studies", "6 runs"]
    assert found.n == "3 studies; 6 runs"


@pytest.mark.parametrize(
    "place", [Place("tuning", "tpe", 0, 1), Place("transfer", "random", 0, 0, "another.task")]
)
def test_runs_that_no_test_is_about_leave_no_claim_incomplete(place: Place) -> None:
    """Tests are about the first track's winners on their own task."""
    studies = {
        "a": [LOW[:2], LOW[2:], LOW[1:3]],
        "b": [scores(*pair) for pair in ((50, 51), (54, 53), (51, 50))],
    }
    records = tuned_records_of(claim_of(ABOVE), {"a": [0.5], "b": [0.5]}, best=0.5, studies=studies)
    tuning = replace(records.plan.tuning, tracks=[*records.plan.tuning.tracks, Track(name="tpe", trials=2)])
    missing = replace(records.runs[-1], place=place, status="missing", result=None)
    more = replace(records, plan=replace(records.plan, tuning=tuning), runs=[*records.runs, missing])
    before, after = (evidence_of(each, verdict_of(each, lambda run: NONE)) for each in (records, more))
    assert before.mark.key == after.mark.key == "undecided"
    assert (before.cost, before.why) == (after.cost, after.why)


def test_a_control_that_fails_is_the_reason() -> None:
    control = Contrast(kind="contrast", says="a wins", of={"a": 1.0, "b": -1.0}, expect="above", control=True)
    found = evidence(ABOVE, control, a=LOW, b=HIGH)
    assert found.mark.key == "undecided" and not found.decided
    assert found.why == "A control does not do what it must: a wins."
    part = evidence(ABOVE, control, a=LOW, b=[*HIGH[:3], Run(top1=None)])
    assert part.why == "7 of 8 runs are in. A control is open: a wins (3 of 4 runs of b are in)."
    kept = Contrast(kind="contrast", says="", of={"b": 1.0, "a": -1.0}, expect="above", control=True)
    assert evidence(ABOVE, kept, a=LOW, b=HIGH).why == "The test holds. Its control does what it must."


def test_runs_that_part_are_named_with_seed_step_and_layer() -> None:
    same = Identical(kind="identical", says="the same", arms=["a", "b"])
    one = Run(probes={"signs": {"weights": "x"}})
    other = Run(probes={"signs": {"weights": "y"}})
    found = evidence(same, a=[one] * 3, b=[one, other, one])
    assert found.mark.key == "refuted" and not found.by_chance
    assert found.rows[0].found == (
        "2 of 3 pairs of runs are equal; first difference in step 2, layer last (b against a, seed 1)"
    )
    (drawing,) = found.drawings
    assert drawing.numbers is not None and drawing.numbers["equal"].tolist() == [True, False, True]
    assert "2 of 3 equal, first difference: step 2, last" in drawing.label
    assert evidence(same, a=[one] * 3, b=[one] * 3).rows[0].found == "3 of 3 pairs of runs are equal"


def test_the_earliest_difference_is_named() -> None:
    late, early = Parting("a", "b", 1, 9, "x"), Parting("a", "b", 2, 3, "y")
    assert first_parting((Parting("a", "b", 0, None, None), late, early)) == early


def test_counts_and_orders() -> None:
    exact = Exact(kind="exact", says="two", measure="reals", values={"a": 2.0, "b": 3.0})
    found = evidence(exact, a=[Run()], b=[Run(reals=2.5)])
    assert found.rows[0].found == "a 2, b 2.5" and found.rows[0].must == "a 2, b 3"
    order = Order(kind="order", says="", measure="flips", shape="rising", arms=["a", "b", "c"])
    arms = {name: [Run(flips=n + 0.01 * k) for k in range(4)] for n, name in enumerate("abc", 1)}
    found = evidence(order, **arms)
    assert found.mark.key == "supported" and found.rows[0].found == "1.01 → 2.01 → 3.01"
    assert found.rows[0].shows.startswith("steps of 0.0") and found.by_chance


def ordered(settings: dict[str, dict[str, float]], *tests: Order) -> list[Drawing]:
    arms = {name: [Run(flips=n + 0.01 * k) for k in range(4)] for n, name in enumerate(settings, 1)}
    records = records_of(claim_of(*tests), arms, settings)
    verdict = verdict_of(records, lambda run: np.zeros((2, 2), int))
    return list(evidence_of(records, verdict).drawings)


def rising(*arms: str) -> Order:
    return Order(kind="order", says=f"up {arms[0]}", measure="flips", shape="rising", arms=[*arms])


def test_orders_along_one_hyperparameter_are_lines_of_one_figure() -> None:
    pairs = [{"gamma": g, "threshold": t} for t in (0.0, 1e-8) for g in (1e-4, 1e-3, 1e-2)]
    grid = dict(zip("abcdef", pairs, strict=True))
    (drawing,) = ordered(grid, rising(*"abc"), rising(*"def"))
    assert drawing.numbers is not None
    assert drawing.numbers["line"].tolist() == ["threshold 0"] * 3 + ["threshold 1e-08"] * 3
    assert drawing.numbers["arm"].tolist() == ["gamma 0.0001", "gamma 0.001", "gamma 0.01"] * 2
    assert drawing.caption.startswith("A line for each test. All 2 tests (rising): ✓ supported.")
    # One that goes the other way is named beside the other.
    (drawing,) = ordered(grid, rising(*"abc"), rising(*"fed"))
    assert "up a: ✓ supported; up f: ✗ refuted" in drawing.caption


def test_an_order_alone_has_a_row_for_each_value_or_arm() -> None:
    one = {name: {"gamma": gamma} for name, gamma in zip("abc", (1e-4, 1e-3, 1e-2), strict=True)}
    (drawing,) = ordered(one, rising("a", "b", "c"))
    assert drawing.numbers is not None
    assert drawing.numbers["arm"].tolist() == ["gamma 0.0001", "gamma 0.001", "gamma 0.01"]
    # Where two hyperparameters differ there is no axis, and the names of the arms stand there.
    two = {**one, "c": {"gamma": 1e-2, "threshold": 1e-8}}
    (drawing,) = ordered(two, rising("a", "b", "c"))
    assert drawing.numbers is not None and drawing.numbers["arm"].tolist() == ["a", "b", "c"]


def test_a_control_another_measure_and_another_method_are_no_lines_beside_a_test() -> None:
    pairs = [{"gamma": g, "threshold": t} for t in (0.0, 1e-8) for g in (1e-4, 1e-3, 1e-2)]
    grid = dict(zip("abcdef", pairs, strict=True))
    test, other = rising(*"abc"), rising(*"def")
    for beside in (replace(other, control=True), replace(other, minus="never")):
        assert len(ordered(grid, test, beside)) == 2
    titled = ordered(grid, replace(test, minus="never"))[0]
    assert "less" in titled.label
    of_two_methods = {**grid, **{name: {**grid[name], "momentum": 0.9} for name in "def"}}
    assert len(ordered(of_two_methods, test, other)) == 2


def test_orders_that_no_setting_tells_apart_are_figures_of_their_own() -> None:
    one = {name: {"gamma": gamma} for name, gamma in zip("abc", (1e-4, 1e-3, 1e-2), strict=True)}
    drawings = ordered(one, rising("a", "b"), rising("b", "c"))
    assert [each.caption[:16] for each in drawings] == ["up a: ✓ supporte", "up b: ✓ supporte"]
    assert len({each.name for each in drawings}) == 2


def test_matched_arms_show_which_of_their_settings_counts() -> None:
    match = Match(target=2.0)
    test = Contrast(kind="contrast", says="", of={"b": 1.0, "a-*": -1.0}, expect="above", match=match)
    arms = {
        "a-1": [Run(top1=r.top1, flips=1.0) for r in LOW],
        "a-2": [Run(top1=r.top1, flips=2.1) for r in LOW],
        "b": [Run(top1=r.top1, flips=1.9) for r in HIGH],
    }
    (row,) = evidence(test, **arms).rows
    assert row.arms == "b 53.00 (matched at 1.9), a-2 50.00 (matched at 2.1)"
    assert row.measured.endswith("of each the setting with flips per weight nearest to 2")


def test_the_settings_that_differ_are_a_table_and_the_others_a_sentence() -> None:
    found = evidence(ABOVE, a=LOW, b=HIGH)
    assert found.settings is not None
    assert found.settings.columns == ["arm", "method"] and found.settings.rows == [["a", "a"], ["b", "b"]]
    assert "batch size 2" in found.same


def test_what_stands_falls_and_is_open() -> None:
    claim = claim_of(ABOVE)
    found = [
        evidence(ABOVE, a=LOW, b=HIGH),
        evidence(WITHIN, a=LOW, b=HIGH),
        not_run("claims/x", claim, 10, 50),
        evidence(Exact(kind="exact", says="", measure="reals", values={"a": 2.0}), a=[Run()]),
    ]
    assert list(map(str, tallies(found))) == [
        "Stands: 2 of the 4 claims are supported: C1, C1.",
        "Falls: 1 of the 4 claims is refuted: C1.",
        "Open: 1 of the 4 claims is not decided: not run C1.",
    ]
    assert chance(found).startswith("Of 3 verdicts, 2 could be wrong by chance, each in at most 5 % of")
    assert "0.1 are expected at most. 1 verdict rests on equality" in chance(found)
    assert chance(found[2:3]) == "There is no verdict yet that could be wrong by chance."
    assert found[2].why == "No run is in. It takes at most 10 runs, 50 epochs."
    assert found[2].command == "make claim C=x" and found[0].command == "make sweep EXP=claim"


@pytest.mark.parametrize(
    ("expect", "zones_of"),
    [
        ("above", ((0.5, math.inf),)),
        ("below", ((-math.inf, -0.5),)),
        ("within", ((-0.5, 0.5),)),
        ("beyond", ((-math.inf, -0.5), (0.5, math.inf))),
    ],
)
def test_the_shaded_zone_is_where_an_interval_supports(expect, zones_of) -> None:
    assert zones(replace(ABOVE, expect=expect)) == zones_of


def test_ids_are_in_their_order_and_keys_are_safe() -> None:
    assert sorted(["M", "C10", "C9b", "C9", "C1"], key=natural) == ["C1", "C9", "C9b", "C10", "M"]
    assert key_of("claims/a") == "a" and key_of("claims/../../x y/<b>") == "------x-y--b-"

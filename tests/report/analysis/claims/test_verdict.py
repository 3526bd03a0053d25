"""The verdict of a claim, from the records of planted arms."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest

from report.analysis.claims.identity import Parting
from report.analysis.claims.measures import measured
from report.analysis.claims.verdict import ContrastFinding, EaseFinding, ExactFinding, Verdict, verdict_of
from report.read.records import RunRecord
from suite.records.claim import MEASURES, Contrast, Ease, Exact, Identical, Match, Order
from tests.support.claim_records import IMAGES, Run, claim_of, records_of, tuned_records_of

ABOVE = Contrast(kind="contrast", says="b beats a", of={"b": 1.0, "a": -1.0}, expect="above", margin=0.5)
WITHIN = Contrast(kind="contrast", says="b equals a", of={"b": 1.0, "a": -1.0}, expect="within", margin=1.0)
FLIPS = {
    "a-0": np.array([[1, 2], [3, 4], [5, 6]]),
    "b-0": np.array([[1, 2], [3, 7], [5, 6]]),
}


def flips_of(run: RunRecord) -> np.ndarray:
    return FLIPS.get(run.run_id, FLIPS["a-0"])


def verdict(tests, **arms: Sequence[Run]) -> Verdict:
    return verdict_of(records_of(claim_of(*tests), arms), flips_of)


def scores(*values: float) -> list[Run]:
    return [Run(top1=value / 100) for value in values]


LOW, HIGH = scores(50.0, 50.2, 49.9, 50.1), scores(53.0, 53.1, 52.8, 53.2)


def test_a_planted_difference_and_its_opposite():
    assert verdict([ABOVE], a=LOW, b=HIGH).outcome == "supported"
    assert verdict([ABOVE], a=HIGH, b=LOW).outcome == "refuted"
    found = verdict([ABOVE], a=LOW, b=scores(50.6, 53.0, 50.2, 52.2))
    assert found.outcome == "undecided" and found.tests[0].reason == ""
    finding = found.tests[0].finding
    assert isinstance(finding, ContrastFinding) and finding.estimate is not None
    assert finding.needed is not None and finding.needed > 4
    assert finding.estimate.value == pytest.approx(1.45)


def test_a_missing_run_leaves_it_undecided_and_says_so():
    found = verdict([ABOVE], a=LOW, b=[*HIGH[:3], Run(top1=None)])
    assert found.outcome == "undecided"
    assert found.reason == found.tests[0].reason == "3 of 4 runs of b are in"


def test_a_diverged_run_counts_at_chance_and_forbids_equality():
    diverged = [*LOW[:3], Run(top1=0.1, status="diverged")]
    found = verdict([ABOVE], a=diverged, b=HIGH)
    finding = found.tests[0].finding
    assert isinstance(finding, ContrastFinding) and finding.estimate is not None
    assert finding.estimate.value == pytest.approx(53.025 - (50.0 + 50.2 + 49.9 + 10.0) / 4)
    images = finding.samples[1].images
    assert images is not None
    assert images.rates.mean() == pytest.approx((0.5 + 0.502 + 0.499 + 0.1) / 4)  # at chance on each image
    assert found.tests[0].notes == ("1 of 4 runs of a diverged",)
    assert verdict([WITHIN], a=diverged, b=diverged).reason == "1 of 4 runs of b diverged"
    losses = Contrast(kind="contrast", says="", measure="test_loss", of=ABOVE.of, expect="above")
    assert verdict([losses], a=diverged, b=HIGH).reason == "1 of 4 runs of a diverged"


def test_two_runs_carry_no_verdict():
    assert verdict([ABOVE], a=LOW[:2], b=HIGH[:2]).reason == "2 units of b carry no verdict: it takes 3"


def test_arms_that_are_one_training_are_not_compared():
    within = verdict([WITHIN], a=LOW, b=LOW)
    assert within.outcome == "undecided"
    assert within.reason == "one training in every run: b and a; what differs between them never acts"
    almost = [*LOW[:3], Run(top1=0.502)]
    assert verdict([WITHIN], a=LOW, b=almost).outcome == "supported"
    # They cancel where others differ: what c gains over a, less what d gains over b.
    gains = Contrast(
        kind="contrast", says="", of={"c": 1.0, "a": -1.0, "d": -1.0, "b": 1.0}, expect="above", margin=0.5
    )
    assert verdict([gains], a=LOW, b=LOW, c=HIGH, d=scores(51.0, 50.9, 51.2, 51.1)).outcome == "supported"
    # A pair beside a pair leaves nothing, unless the two of a pair count on the same side.
    found = verdict([gains], a=LOW, b=LOW, c=HIGH, d=HIGH)
    assert found.reason == (
        "one training in every run: c and d; a and b; what differs between them never acts"
    )
    both = replace(gains, of={"c": 0.5, "d": 0.5, "a": -0.5, "b": -0.5})
    assert verdict([both], a=LOW, b=LOW, c=HIGH, d=HIGH).outcome == "supported"
    # Weights that leave nothing but a rounding error, and pools that pick the same cell.
    thirds = replace(WITHIN, of={"a": 0.1, "b": 0.2, "c": -0.3})
    assert verdict([thirds], a=LOW, b=LOW, c=LOW).outcome == "undecided"
    match = Match(target=1.0, tolerance=0.5)
    pools = replace(WITHIN, of={"a*": 1.0, "a-*": -1.0}, match=match)
    assert verdict([pools], **{"a-1": LOW, "a-2": HIGH}).reason == "a* and a-* are one setting"


def test_a_test_without_its_arms_is_open_and_not_left_out():
    """Records that are older than the claim may lack an arm of it."""
    records = records_of(claim_of(ABOVE), {"a": LOW, "b": HIGH})
    absent = replace(ABOVE, says="c beats a", of={"c": 1.0, "a": -1.0})
    for test in (absent, replace(absent, control=True)):
        claim = claim_of(ABOVE, test)
        found = verdict_of(replace(records, plan=replace(records.plan, claim=claim)), flips_of)
        assert (found.outcome, found.tests[1].outcome) == ("undecided", "undecided")
        assert found.tests[1].reason == "no task of these records has c and a"


def test_controls_take_no_part_in_bonferronis_level():
    just = scores(50.22, 50.42, 50.12, 50.32)  # refutes a margin of 0.5 points at 95 %, and not at 99 %
    holds = Contrast(kind="contrast", says="c", of={"c": 1.0, "a": -1.0}, expect="above", control=True)
    assert verdict([ABOVE, *[holds] * 4], a=LOW, b=just, c=HIGH).outcome == "refuted"
    own = replace(holds, control=False)
    assert verdict([ABOVE, *[own] * 4], a=LOW, b=just, c=HIGH).outcome == "undecided"
    # Nor do other tests make a control's own outcome less certain.
    found = verdict([replace(ABOVE, control=True), *[own] * 5], a=LOW, b=just, c=HIGH)
    assert (found.outcome, found.tests[0].outcome) == ("undecided", "refuted")


def test_one_refuted_test_refutes_and_all_must_support():
    reverse = Contrast(kind="contrast", says="", of={"a": 1.0, "b": -1.0}, expect="above")
    assert verdict([ABOVE, reverse], a=LOW, b=HIGH).outcome == "refuted"
    open_ = Contrast(kind="contrast", says="", of={"c": 1.0, "b": -1.0}, expect="above")
    like = scores(53.2, 52.9, 53.3, 53.1)
    assert verdict([ABOVE, open_], a=LOW, b=HIGH, c=like).outcome == "undecided"


def test_a_control_that_fails_takes_the_verdict_away():
    control = Contrast(
        kind="contrast", says="a is worse", of={"b": 1.0, "a": -1.0}, expect="below", control=True
    )
    found = verdict([ABOVE, control], a=LOW, b=HIGH)
    assert found.outcome == "undecided"
    assert found.reason == "a control does not do what it must: a is worse"
    refuted = Contrast(kind="contrast", says="", of={"a": 1.0, "b": -1.0}, expect="above")
    again = verdict([refuted, control], a=LOW, b=HIGH)  # nor is a claim refuted that was not tested well
    assert (again.outcome, again.reason, again.tests[0].outcome) == ("undecided", found.reason, "refuted")
    kept = Contrast(kind="contrast", says="", of={"b": 1.0, "a": -1.0}, expect="above", control=True)
    assert verdict([ABOVE, kept], a=LOW, b=HIGH).outcome == "supported"


def test_a_measure_minus_another_of_the_same_network():
    gains = [0.011, 0.009, 0.012, 0.010]
    runs = [
        Run(top1=top1, probes={"reestimate": {"kept_top1": top1, "again_top1": top1 + gain}})
        for top1, gain in zip((0.4, 0.6, 0.5, 0.7), gains, strict=True)
    ]
    test = Contrast(
        kind="contrast",
        says="",
        measure="probe.reestimate.again_top1",
        minus="probe.reestimate.kept_top1",
        of={"a": 1.0},
        expect="above",
        margin=0.1,
    )
    found = verdict([test], a=runs)
    assert found.outcome == "supported"
    finding = found.tests[0].finding
    assert isinstance(finding, ContrastFinding) and finding.estimate is not None
    assert finding.estimate.value == pytest.approx(1.05)  # points
    assert finding.estimate.error == pytest.approx(100 * np.std(gains, ddof=1) / 2)
    assert verdict([test], a=[*runs[:3], Run()]).outcome == "undecided"  # a run without the probe


def hashed(*words: str) -> list[Run]:
    return [Run(probes={"signs": {"weights": word, "flips": word}}) for word in words]


SAME = Identical(kind="identical", says="", arms=["a", "b"])
DIFFER = Identical(kind="identical", says="", arms=["a", "b"], expect="differ")


def test_identical_arms_and_the_first_step_and_layer_that_differ():
    assert verdict([SAME], a=hashed("x", "y"), b=hashed("x", "y")).outcome == "supported"
    found = verdict([SAME], a=hashed("x", "y"), b=hashed("z", "y"))
    assert found.outcome == "refuted"
    identity = found.tests[0].finding
    assert identity.pairs == 2  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]
    assert identity.partings == (Parting("a", "b", 0, 2, "last"),)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def test_a_difference_of_the_last_weights_alone_has_no_step():
    found = verdict([SAME], a=hashed("x", "y"), b=hashed("x", "z"))
    assert found.tests[0].finding.partings == (Parting("a", "b", 1, None, None),)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def test_arms_that_must_differ_do_so_for_every_seed():
    assert verdict([DIFFER], a=hashed("x", "y"), b=hashed("z", "w")).outcome == "supported"
    assert verdict([DIFFER], a=hashed("x", "y"), b=hashed("z", "y")).outcome == "refuted"
    assert verdict([DIFFER], a=hashed("x", "y"), b=[*hashed("z"), Run(top1=None)]).outcome == "undecided"
    assert verdict([DIFFER], a=hashed("x", "y"), b=[*hashed("z"), Run()]).outcome == "undecided"  # no hash


def test_counts_are_exact_to_two_decimals():
    test = Exact(kind="exact", says="", measure="reals", values={"a": 1.0, "b": 2.0})
    found = verdict([test], a=[Run(reals=1.0), Run(reals=1.001)], b=[Run(reals=2.0)] * 2)
    assert found.outcome == "supported"
    assert isinstance(found.tests[0].finding, ExactFinding)
    assert found.tests[0].finding.values["a"] == pytest.approx((1.0, 1.001))
    assert verdict([test], a=[Run(reals=1.0)], b=[Run(reals=2.01)]).outcome == "refuted"
    assert verdict([test], a=[Run(reals=1.0)], b=[Run(top1=None)]).outcome == "undecided"
    half = verdict([test], a=[Run(reals=1.0), Run(top1=None)], b=[Run(reals=2.0)] * 2)
    assert (half.outcome, half.reason) == ("undecided", "1 of 2 runs of a have the number")


def flipping(flips: float, *undone: float) -> list[Run]:
    return [Run(flips=flips, undone_10=share) for share in undone]


def test_matched_arms_are_those_nearest_to_the_target():
    test = Contrast(
        kind="contrast",
        says="",
        measure="undone_10",
        of={"sgd-*": 1.0, "momentum-*": -1.0},
        expect="above",
        match=Match(target=4.0),
    )
    arms = {
        "sgd-1": flipping(2.0, 0.5, 0.51, 0.5),
        "sgd-2": flipping(3.9, 0.3, 0.31, 0.3),
        "momentum-1": flipping(4.5, 0.1, 0.11, 0.12),
        "momentum-2": flipping(40.0, 0.9, 0.9, 0.9),
    }
    found = verdict([test], **arms)
    assert found.outcome == "supported"
    finding = found.tests[0].finding
    assert isinstance(finding, ContrastFinding)
    assert [each.cell for each in finding.samples] == ["data.model.sgd-2", "data.model.momentum-1"]
    assert [each.matched for each in finding.samples] == [3.9, 4.5]
    lost = verdict([test], **{**arms, "sgd-1": [*flipping(2.0, 0.5, 0.51), Run(top1=None)]})
    assert lost.reason == "2 of 3 runs of sgd-* are in"  # it could have been the nearest
    far = verdict([test], **{**arms, "momentum-1": flipping(6.0, 0.1, 0.11, 0.12)})
    assert far.reason == "no setting of momentum-* has flips near 4: 6 at the nearest"


def test_order_of_the_arms():
    test = Order(kind="order", says="", arms=["a", "b", "c"], shape="rising")
    assert verdict([test], a=LOW, b=HIGH, c=scores(60.0, 60.1, 60.2, 60.1)).outcome == "supported"
    assert verdict([test], a=HIGH, b=LOW, c=scores(60.0, 60.1, 60.2, 60.1)).outcome == "refuted"


def test_the_other_tests_of_a_claim_make_an_order_harder_to_refute():
    """The step from a to b falls by four standard errors: enough for six pairs, not for ten tests of six."""
    test = Order(kind="order", says="", measure="flips", arms=["a", "b", "c", "d"], shape="rising")
    arms = {
        name: [Run(flips=mean + step) for step in (-0.02, -0.01, 0.0, 0.01, 0.02)]
        for name, mean in (("a", 5.0), ("b", 4.96), ("c", 6.0), ("d", 7.0))
    }
    holds = Contrast(kind="contrast", says="", measure="flips", of={"d": 1.0, "a": -1.0}, expect="above")
    assert verdict([test], **arms).outcome == "refuted"
    found = verdict([test, *[holds] * 9], **arms)
    assert [each.outcome for each in found.tests] == ["undecided", *["supported"] * 9]


def test_of_two_tracks_the_first_one_is_tested():
    better, worse = (
        [scores(base, base + 0.1), scores(base + 0.2, base), scores(base, base + 0.3)]
        for base in (53.0, 50.0)
    )
    draws = {"a": [0.5], "b": [0.5]}
    first = tuned_records_of(claim_of(ABOVE), draws, best=0.5, studies={"a": worse, "b": better})
    second = tuned_records_of(claim_of(ABOVE), draws, best=0.5, studies={"a": better, "b": worse})
    (track,) = first.plan.tuning.tracks
    tracks = [track, replace(track, name="tpe")]
    cells = [replace(cell, track="tpe") for cell in second.cells]
    runs = [
        replace(run, cell=cells[second.cells.index(run.cell)], place=run.place._replace(track="tpe"))
        for run in second.runs
        if run.place.track == "random"
    ]
    plan = replace(first.plan, tuning=replace(first.plan.tuning, tracks=tracks))
    both = replace(first, plan=plan, cells=[*first.cells, *cells], runs=[*first.runs, *runs])
    assert verdict_of(both, flips_of).outcome == "supported"
    turned = replace(both, plan=replace(plan, tuning=replace(plan.tuning, tracks=tracks[::-1])))
    assert verdict_of(turned, flips_of).outcome == "refuted"


def test_equal_scores_on_other_images_are_no_certainty():
    """Where units agree on the whole, and not on each image, no variance of theirs holds that noise."""
    records = records_of(claim_of(WITHIN), {"a": scores(*[50.0] * 4), "b": scores(*[50.0] * 4)})
    random = np.random.default_rng(0)
    rights = [random.permutation(np.arange(IMAGES) < IMAGES // 2) for _ in records.runs]
    runs = [
        replace(run, correct=np.packbits(right).tobytes())
        for run, right in zip(records.runs, rights, strict=True)
    ]
    finding = verdict_of(replace(records, runs=runs), flips_of).tests[0].finding
    assert isinstance(finding, ContrastFinding) and finding.estimate is not None
    of_a, of_b = (np.mean(rights[first : first + 4], axis=0) for first in (0, 4))
    assert finding.estimate.units_error == 0.0
    assert finding.estimate.images_error == pytest.approx(100**2 * np.var(of_b - of_a, ddof=1) / IMAGES)


NOT_LOWER = Ease(kind="ease", says="", of="bop", against="adam", delta=1.0, expect="above", margin=-10.0)


def ease(good: int, of: int, against: int = 30, test: Ease = NOT_LOWER) -> Verdict:
    """So many of 60 draws of each method are within a point of the best, 90 %."""
    near, far = 0.895, 0.8
    draws = {
        "bop": [near] * good + [far] * (of - good),
        "adam": [near] * against + [far] * (60 - against),
    }
    return verdict_of(tuned_records_of(claim_of(test), draws, best=0.9), flips_of)


def test_ease_compares_the_shares_of_good_settings():
    found = ease(40, 60)
    assert found.outcome == "supported"
    finding = found.tests[0].finding
    assert isinstance(finding, EaseFinding)
    assert finding.estimate.value == pytest.approx(100 * (40 / 60 - 30 / 60))
    mine, theirs = (binomtest(good, 60).proportion_ci(method="wilson") for good in (40, 30))
    below = math.hypot(40 / 60 - mine.low, theirs.high - 30 / 60)  # Newcombe's square and add
    above = math.hypot(mine.high - 40 / 60, 30 / 60 - theirs.low)
    interval = finding.estimate.interval()
    assert interval.low == pytest.approx(100 * (10 / 60 - below))
    assert interval.high == pytest.approx(100 * (10 / 60 + above))
    assert finding.reference.validation == pytest.approx(0.9)
    assert ease(10, 60).outcome == "refuted"
    assert ease(30, 60).outcome == "undecided"


def test_the_other_tests_of_a_claim_make_an_ease_harder_to_refute():
    far_off = replace(NOT_LOWER, margin=-90.0)
    records = {"bop": [0.895] * 12 + [0.8] * 48, "adam": [0.895] * 30 + [0.8] * 30}
    alone, among = (
        verdict_of(tuned_records_of(claim_of(NOT_LOWER, *others), records, best=0.9), flips_of)
        for others in ([], [far_off] * 9)
    )
    assert alone.outcome == "refuted"
    assert [each.outcome for each in among.tests] == ["undecided", *["supported"] * 9]


def test_ease_waits_for_the_final_runs_that_may_show_a_better_reference():
    records = tuned_records_of(claim_of(NOT_LOWER), {"bop": [0.9] * 60, "adam": [0.8] * 60}, best=0.9)
    lost = next(run for run in records.runs if run.place.phase == "default" and run.cell.method == "adam")
    runs = [replace(run, status="missing", result=None) if run is lost else run for run in records.runs]
    found = verdict_of(replace(records, runs=runs), flips_of)
    assert (found.outcome, found.reason) == ("undecided", "final runs of some settings have no result yet")


def test_ease_waits_for_every_draw():
    records = tuned_records_of(claim_of(NOT_LOWER), {"bop": [0.9] * 60, "adam": [0.8] * 60}, best=0.9)
    lost = next(run for run in records.runs if run.place[:4] == ("tuning", "random", 0, 3))
    runs = [replace(run, status="missing", result=None) if run is lost else run for run in records.runs]
    assert verdict_of(records, flips_of).outcome == "supported"
    found = verdict_of(replace(records, runs=runs), flips_of)
    assert found.reason == "1 draws of bop have no score"


def test_a_unit_is_a_study_where_there_are_several():
    groups = {
        "a": [scores(50.0, 51.0), scores(50.2, 50.8), scores(49.9, 51.1)],
        "b": [scores(53.0, 54.0), scores(53.2, 53.8), scores(52.9, 54.1)],
    }
    draws = {"a": [0.5], "b": [0.5]}
    records = tuned_records_of(claim_of(ABOVE), draws, best=0.5, studies=groups)
    found = verdict_of(records, flips_of)
    finding = found.tests[0].finding
    assert found.outcome == "supported" and isinstance(finding, ContrastFinding)
    assert [each.n for each in finding.samples] == [3, 3]
    assert finding.samples[1].values == pytest.approx([50.5, 50.5, 50.5])
    two = {arm: each[:2] for arm, each in groups.items()}
    records = tuned_records_of(claim_of(ABOVE), draws, best=0.5, studies=two)
    assert verdict_of(records, flips_of).reason == "2 studies carry no verdict: it takes 3"
    one = {arm: [[run for group in each for run in group]] for arm, each in groups.items()}
    found = verdict_of(tuned_records_of(claim_of(ABOVE), draws, best=0.5, studies=one), flips_of)
    assert found.tests[0].notes == ("given one draw of the tuning",) and found.outcome == "supported"


def test_every_measure_has_a_number_on_a_finished_run():
    records = records_of(
        claim_of(ABOVE), {"a": [Run(top1=0.5, flips=3.0, undone_10=0.25, reals=3.0)], "b": LOW}
    )
    run = records.runs[0]
    numbers = {name: measured(run, name) for name in MEASURES}
    assert not any(np.isnan(value) for value in numbers.values())
    assert numbers["test_top1"] == 50.0 and numbers["gap"] == pytest.approx(10.0)
    assert numbers["flips"] == 3.0 and numbers["undone_10"] == pytest.approx(100 * 75 / 300)
    assert numbers["reals"] == 3.0 and numbers["never"] == 50.0 and numbers["distance"] == 25.0
    assert IMAGES == 1000

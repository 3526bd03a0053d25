"""The verdict of a claim: each of its tests on each group of cells, then all of them together."""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from report.analysis.claims.arms import (
    Sample,
    cells_by_group,
    nearest,
    same_trainings,
    sample,
    studies_of_cells,
)
from report.analysis.claims.decide import (
    LEVEL,
    Estimate,
    Expect,
    Outcome,
    estimate_of,
    outcome_of,
    units_needed,
)
from report.analysis.claims.identity import SIGNS, Identity, Trajectory, identity_of
from report.analysis.claims.order import SHAPES, step
from report.analysis.ease import GoodShare, good_share, newcombe
from report.analysis.intervals import Interval
from report.analysis.judgement import ENOUGH_UNITS
from report.analysis.search import search_of
from report.analysis.study import Reference, reference_of
from report.read.records import CellRecord, Records, RunRecord
from suite.records.claim import Claim, Contrast, Ease, Exact, Group, Identical, Match, Order, Test

FlipsOf = Callable[[RunRecord], np.ndarray]  # of a final run: int (steps, layers)
EXACTLY = 0.005  # a count agrees to two decimals: an optimizer may keep a step counter for a whole layer


@dataclass(frozen=True)
class ShareEstimate:
    """one - other, shares of good settings, in points."""

    one: GoodShare
    other: GoodShare

    @property
    def value(self) -> float:
        return 100 * (self.one.share - self.other.share)

    def interval(self, level: float = LEVEL) -> Interval:
        found = newcombe(self.one, self.other, level)
        return Interval(100 * found.low, 100 * found.high)

    def reversed(self) -> "ShareEstimate":
        return ShareEstimate(self.other, self.one)


@dataclass(frozen=True)
class ContrastFinding:
    estimate: Estimate | None  # none with an arm of fewer than two units
    samples: tuple[Sample, ...]
    needed: int | None = None  # units of each arm that would decide, of an undecided one


@dataclass(frozen=True)
class OrderFinding:
    samples: tuple[Sample, ...]
    steps: tuple[Estimate, ...]  # from each arm to the next; empty with an arm of fewer than two units


@dataclass(frozen=True)
class ExactFinding:
    """The distinct values of each arm's runs, next to the value that is claimed."""

    values: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class EaseFinding:
    estimate: ShareEstimate
    reference: Reference


Finding = ContrastFinding | OrderFinding | Identity | ExactFinding | EaseFinding


@dataclass(frozen=True)
class TestVerdict:
    """One test on one group of cells. reason: why it is undecided, where more units would not decide.

    parts: how many tests may refute the claim, for Bonferroni's level. unit: of its arms, where they have
    any.
    """

    test: Test
    group: Group
    outcome: Outcome
    finding: Finding | None
    reason: str = ""
    notes: tuple[str, ...] = ()
    parts: int = 1
    unit: Literal["study", "run"] = "run"


@dataclass(frozen=True)
class Verdict:
    """A claim's verdict. reason: why it is undecided; empty otherwise."""

    claim: Claim
    outcome: Outcome
    tests: tuple[TestVerdict, ...]
    reason: str = ""


def verdict_of(records: Records, flips_of: FlipsOf) -> Verdict:
    """The verdict of the claim of these records' plan; ValueError if there is none."""
    claim = records.plan.claim
    if claim is None:
        raise ValueError(f"{records.plan.experiment} makes no claim")
    jobs = [(test, cells_by_group(records, test.arms)) for test in claim.tests]
    parts = sum(len(groups) for test, groups in jobs if not test.control)
    tests: list[TestVerdict] = []
    for test, groups in jobs:
        tests += [
            test_verdict(records, test, group, pools, parts, flips_of) for group, pools in groups.items()
        ]
        if not groups:  # the records are of an experiment before its file got this test
            arms = " and ".join(test.arms)
            tests.append(TestVerdict(test, (), "undecided", None, f"no task of these records has {arms}"))
    return together(claim, tests)


def together(claim: Claim, tests: Sequence[TestVerdict]) -> Verdict:
    """A control that does not do what it must leaves the claim undecided, whatever else was found."""
    controls = [each for each in tests if each.test.control]
    own = [each for each in tests if not each.test.control]
    broken = [each for each in controls if each.outcome != "supported"]
    reason = ""
    if broken:
        outcome: Outcome = "undecided"
        reason = f"a control does not do what it must: {broken[0].test.says}"
    elif any(each.outcome == "refuted" for each in own):
        outcome = "refuted"
    elif own and all(each.outcome == "supported" for each in own):
        outcome = "supported"
    else:
        outcome = "undecided"
        reason = next((each.reason for each in own if each.outcome == "undecided" and each.reason), "")
    return Verdict(claim, outcome, tuple(tests), reason)


def test_verdict(
    records: Records,
    test: Test,
    group: Group,
    pools: Sequence[Sequence[CellRecord]],
    parts: int,
    flips_of: FlipsOf,
) -> TestVerdict:
    cells = [pool[0] for pool in pools]  # only what is matched has more than one
    parts = 1 if test.control else max(1, parts)
    match test:
        case Identical():
            return identical(records, test, group, cells, flips_of)
        case Exact():
            return exact(records, test, group, cells)
        case Ease():
            return replace(ease(records, test, group, cells, parts), parts=parts)
        case Contrast() | Order():
            studies = studies_of_cells(records, [cell for pool in pools for cell in pool])
            found = of_samples(records, test, group, pools, parts, studies)
            return replace(found, parts=parts, unit="study" if studies > 1 else "run")


def of_samples(
    records: Records,
    test: Contrast | Order,
    group: Group,
    pools: Sequence[Sequence[CellRecord]],
    parts: int,
    studies: int,
) -> TestVerdict:
    every = [
        [sample(records, arm, cell, studies, test.measure, test.minus) for cell in pool]
        for arm, pool in zip(test.arms, pools, strict=True)
    ]
    samples = tuple(
        nearest(records, test.match, settings, pool, studies)
        for settings, pool in zip(every, pools, strict=True)
    )
    finding = contrast_finding(test, samples) if isinstance(test, Contrast) else order_finding(samples)
    notes = notes_on(samples, studies)
    # Of a pool all settings have to be in: one that is missing could be the nearest.
    settings = list(itertools.chain.from_iterable(every))
    reason = (
        why_no_verdict(settings, studies, needs_all=within(test))
        or unmatched(test.match, samples)
        or never_acts(records, test, samples, itertools.chain.from_iterable(pools))
    )
    if reason:
        return TestVerdict(test, group, "undecided", finding, reason, notes)
    if isinstance(test, Order):
        return TestVerdict(test, group, SHAPES[test.shape](samples, test.margin, parts), finding, "", notes)
    assert isinstance(finding, ContrastFinding) and finding.estimate is not None
    outcome = outcome_of(finding.estimate, test.expect, test.margin, parts)
    if outcome != "undecided":
        return TestVerdict(test, group, outcome, finding, "", notes)
    needed = units_needed(finding.estimate, test.expect, test.margin, parts)
    return TestVerdict(test, group, outcome, ContrastFinding(finding.estimate, samples, needed), "", notes)


def within(test: Contrast | Order) -> bool:
    return isinstance(test, Contrast) and test.expect == "within"


def contrast_finding(test: Contrast, samples: tuple[Sample, ...]) -> ContrastFinding:
    enough = all(each.n > 1 for each in samples)
    return ContrastFinding(estimate_of(samples, list(test.of.values())) if enough else None, samples)


def order_finding(samples: tuple[Sample, ...]) -> OrderFinding:
    enough = all(each.n > 1 for each in samples)
    steps = [step(samples, n, n + 1) for n in range(len(samples) - 1)] if enough else []
    return OrderFinding(samples, tuple(steps))


def why_no_verdict(samples: Sequence[Sample], studies: int, needs_all: bool) -> str:
    """Why these units carry no verdict, whatever their numbers; else nothing.

    needs_all: whether a diverged run forbids one, as it does for equality.
    """
    for each in samples:
        if each.runs < each.planned_runs:
            return f"{each.runs} of {each.planned_runs} runs of {each.arm} are in"
        if each.diverged and (needs_all or each.n < each.planned):
            return f"{each.diverged} of {each.planned_runs} runs of {each.arm} diverged"
        if each.n < each.planned:
            return f"{each.n} of {each.planned} units of {each.arm} have the number"
    if studies == 2:
        return f"2 studies carry no verdict: it takes {ENOUGH_UNITS}"
    if few := [each for each in samples if each.n < ENOUGH_UNITS]:
        return f"{few[0].n} units of {few[0].arm} carry no verdict: it takes {ENOUGH_UNITS}"
    return ""


def unmatched(match: Match | None, samples: Sequence[Sample]) -> str:
    """Which arm has no setting near enough to what the arms are matched on; else nothing."""
    if match is None:
        return ""
    far = 1 + match.tolerance
    for each in samples:
        reached = math.nan if each.matched is None else each.matched
        if not match.target / far <= reached <= match.target * far:
            found = "none has a number" if math.isnan(reached) else f"{reached:.3g} at the nearest"
            return f"no setting of {each.arm} has {match.measure} near {match.target:g}: {found}"
    return ""


def never_acts(
    records: Records, test: Contrast | Order, samples: Sequence[Sample], cells: Iterable[CellRecord]
) -> str:
    """Which arms a contrast weighs against each other though they are one training; else nothing.

    They may stand beside arms that differ: in a difference of two differences they cancel.
    """
    if not isinstance(test, Contrast):
        return ""
    weights: dict[str, float] = {}
    for each in samples:
        weights[each.cell] = weights.get(each.cell, 0.0) + test.of[each.arm]
    compared = {cell.name: cell for cell in cells}
    groups = same_trainings(records, [compared[name] for name in weights])
    for first, *others in groups:
        weights[first.name] += sum(weights.pop(cell.name) for cell in others)
    if any(abs(weight) > 1e-9 for weight in weights.values()):
        return ""
    if not groups:
        return f"{' and '.join(each.arm for each in samples)} are one setting"
    named = "; ".join(" and ".join(cell.planned.method for cell in group) for group in groups)
    return f"one training in every run: {named}; what differs between them never acts"


def notes_on(samples: Sequence[Sample], studies: int) -> tuple[str, ...]:
    diverged = [
        f"{each.diverged} of {each.planned_runs} runs of {each.arm} diverged"
        for each in samples
        if each.diverged
    ]
    return (*(["given one draw of the tuning"] if studies == 1 else []), *diverged)


def identical(
    records: Records, test: Identical, group: Group, cells: Sequence[CellRecord], flips_of: FlipsOf
) -> TestVerdict:
    arms: list[tuple[str, list[Trajectory]]] = []
    for arm, cell in zip(test.arms, cells, strict=True):
        runs = records.finals(cell)
        done = [run for run in runs if run.status == "done" and run.result and run.result.probes.get(SIGNS)]
        if len(done) < len(runs):
            reason = f"{len(done)} of {len(runs)} runs of {arm} are done"
            return TestVerdict(test, group, "undecided", None, reason)
        arms.append((arm, [trajectory(run, flips_of) for run in runs]))
    identity = identity_of(arms)
    return TestVerdict(test, group, identity.outcome(test.expect), identity)


def trajectory(run: RunRecord, flips_of: FlipsOf) -> Trajectory:
    assert run.result is not None and run.curves is not None
    hashes = dict(run.result.probes[SIGNS])
    return Trajectory(run.seed, hashes, lambda: flips_of(run), run.curves.layers.names)


def exact(records: Records, test: Exact, group: Group, cells: Sequence[CellRecord]) -> TestVerdict:
    found: dict[str, tuple[float, ...]] = {}
    for arm, cell in zip(test.arms, cells, strict=True):
        one = sample(records, arm, cell, 0, test.measure)
        if not one.complete:
            reason = f"{one.n} of {one.planned_runs} runs of {arm} have the number"
            return TestVerdict(test, group, "undecided", None, reason)
        found[arm] = tuple(sorted(set(one.values.tolist())))
    agree = all(abs(value - test.values[arm]) < EXACTLY for arm, values in found.items() for value in values)
    return TestVerdict(test, group, "supported" if agree else "refuted", ExactFinding(found))


def ease(records: Records, test: Ease, group: Group, cells: Sequence[CellRecord], parts: int) -> TestVerdict:
    rows = records.cells_of(cells[0].task)
    reference = reference_of(records, rows)
    searches = [search_of(records, cell) for cell in cells]
    if missing := next(
        (
            f"{each.missing} draws of {arm} have no score"
            for arm, each in zip(test.arms, searches, strict=True)
            if each.missing
        ),
        "",
    ):
        return TestVerdict(test, group, "undecided", None, missing)
    if reference is None or reference.incomplete:
        return TestVerdict(test, group, "undecided", None, "final runs of some settings have no result yet")
    one, other = (good_share(each.scores, reference.validation, test.delta / 100) for each in searches)
    estimate = ShareEstimate(one, other)
    expect: Expect = test.expect
    outcome = outcome_of(estimate, expect, test.margin, parts)
    return TestVerdict(test, group, outcome, EaseFinding(estimate, reference))

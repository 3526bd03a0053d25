"""The figures of a claim, for each kind of its tests."""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from report.analysis.claims.arms import cells_by_group
from report.analysis.claims.decide import Estimate
from report.analysis.claims.identity import Identity
from report.analysis.claims.verdict import (
    ContrastFinding,
    EaseFinding,
    ExactFinding,
    ShareEstimate,
    Verdict,
)
from report.analysis.ease import GoodShare
from report.analysis.intervals import Interval
from report.draw.claims import (
    Against,
    Counted,
    Level,
    Pairs,
    against_margins,
    counts,
    seed_by_seed,
)
from report.draw.drawing import Drawing
from report.page.claims.ordered import TABLE, Shown, levels_drawing, orders
from report.page.claims.rows import TestRow, measure_words, number
from report.read.records import Records
from suite.records.claim import Contrast, Ease, Exact, Identical, unit_of


def figures_of(records: Records, verdict: Verdict, rows: Sequence[TestRow], name: str) -> Iterator[Drawing]:
    """Those of estimates, of shares, of arms in order, of equal runs, and of counts; `name` begins theirs."""
    shown = list(zip(verdict.tests, rows, strict=True))
    yield from margins(name, shown)
    yield from shares(name, shown)
    yield from orders(name, records, shown)
    yield from equal_runs(name, records, shown)
    yield from counted(name, shown)


def margins(name: str, shown: Sequence[Shown]) -> Iterator[Drawing]:
    """Estimates next to what supports them, a figure for each unit; accuracies have their own."""
    by_unit: dict[tuple[str, bool], list[tuple[Shown, Estimate | ShareEstimate]]] = {}
    for each in shown:
        test, finding = each[0].test, each[0].finding
        if isinstance(finding, ContrastFinding | EaseFinding) and finding.estimate is not None:
            unit = unit_of(test.measure) if isinstance(test, Contrast) else "points of the share"
            accuracy = isinstance(test, Contrast) and "top1" in test.measure
            by_unit.setdefault((unit, accuracy), []).append((each, finding.estimate))
    for order, ((unit, _), found) in enumerate(by_unit.items()):
        key = f"{name}-margins{f'-{order + 1}' if order else ''}"
        axis = {"%": "points", "": "difference"}.get(unit, unit)
        digits = "%" if unit == "points of the share" else unit
        bars = [
            Against(
                label=f"{row.says}{' (control)' if row.control else ''}",
                value=estimate.value,
                interval=estimate.interval(),
                outcome=verdict.outcome,
                zones=zones(verdict.test),
                words=f"{number(estimate.value, digits, True)} {row.mark.symbol}",
            )
            for (verdict, row), estimate in found
        ]
        numbers = pd.DataFrame([row.numbers for (_, row), _ in found])
        texts = [
            f"{bar.label}: {row.whole}, {row.mark.word}"
            for bar, ((_, row), _) in zip(bars, found, strict=True)
        ]
        yield Drawing(
            key,
            against_margins(key, bars, axis),
            f"Estimates with intervals. {'; '.join(texts)}.",
            "Each estimate (mark) with its 95 % interval; shaded: what supports the test, set beforehand. "
            "Dots are supported, crosses refuted, diamonds undecided."
            + (" Equality is decided by the 90 % interval." if any_within(found) else ""),
            TABLE,
            numbers,
        )


def any_within(found: Sequence[tuple[Shown, object]]) -> bool:
    return any(getattr(verdict.test, "expect", "") == "within" for (verdict, _), _ in found)


def zones(test: object) -> tuple[tuple[float, float], ...]:
    """Where an estimate's interval has to lie."""
    assert isinstance(test, Contrast | Ease)
    above, below = (test.margin, math.inf), (-math.inf, -test.margin)
    match test.expect:
        case "above":
            return (above,)
        case "below":
            return (below,)
        case "within":
            return ((-test.margin, test.margin),)
    return (below, above)


def shares(name: str, shown: Sequence[Shown]) -> Iterator[Drawing]:
    """The share of good settings of each arm."""
    found = [v for v, _ in shown if isinstance(v.test, Ease) and isinstance(v.finding, EaseFinding)]
    levels: dict[str, GoodShare] = {}
    for each in found:
        assert isinstance(each.test, Ease) and isinstance(each.finding, EaseFinding)
        at = (
            f", {each.test.delta:g} points"
            if len({v.test.delta for v in found if isinstance(v.test, Ease)}) > 1
            else ""
        )
        of_group = f", {'.'.join(each.group)}" if len({v.group for v in found}) > 1 else ""
        levels[f"{each.test.of}{of_group}{at}"] = each.finding.estimate.one
        levels[f"{each.test.against}{of_group}{at}"] = each.finding.estimate.other
    if not levels:
        return
    rows = [
        Level(
            label,
            100 * share.share,
            Interval(100 * share.low, 100 * share.high),
            f"{share.good} of {share.draws}",
        )
        for label, share in levels.items()
    ]
    yield levels_drawing(
        f"{name}-shares",
        rows,
        "random settings that are good, %",
        False,
        "The share of random settings within so many points of the best known one, with Wilson's 95 % "
        "interval.",
    )


def equal_runs(name: str, records: Records, shown: Sequence[Shown]) -> Iterator[Drawing]:
    """Every arm against the first, seed by seed."""
    rows: list[Pairs] = []
    table: list[dict[str, object]] = []
    for verdict, _ in shown:
        test, finding = verdict.test, verdict.finding
        if not isinstance(test, Identical) or not isinstance(finding, Identity):
            continue
        first = cells_by_group(records, test.arms)[verdict.group][0][0]
        seeds = [run.seed for run in records.finals(first)]
        for arm in test.arms[1:]:
            parted = {each.seed: each for each in finding.partings if each.other == arm}
            equal = tuple(seed not in parted for seed in seeds)
            words = f"all {len(seeds)} equal" if not parted else f"{sum(equal)} of {len(seeds)} equal"
            if parted:
                earliest = min(parted.values(), key=lambda each: each.step or math.inf)
                words += f", first difference: step {earliest.step or 'none'}"
                words += f", {earliest.layer}" if earliest.layer else ""
            must = "control, must differ" if test.expect == "differ" else "must be equal"
            rows.append(Pairs(f"{arm} against {test.arms[0]}: {must}", equal, words))
            table += [
                {
                    "arm": arm,
                    "against": test.arms[0],
                    "seed": seed,
                    "equal": seed not in parted,
                    "step": parted[seed].step if seed in parted else None,
                    "layer": parted[seed].layer if seed in parted else None,
                }
                for seed in seeds
            ]
    if rows:
        key = f"{name}-equal"
        yield Drawing(
            key,
            seed_by_seed(key, rows),
            f"Which runs are equal. {'; '.join(f'{row.label}: {row.words}' for row in rows)}.",
            "A mark for each seed: a dot where both runs have the same binary weights at the end and the "
            "same flips in every step and layer, a cross where they differ.",
            TABLE,
            pd.DataFrame(table),
        )


def counted(name: str, shown: Sequence[Shown]) -> Iterator[Drawing]:
    """Counts next to those that are claimed, a figure for each measure."""
    by_measure: dict[str, list[Counted]] = {}
    for verdict, _ in shown:
        if isinstance(verdict.test, Exact) and isinstance(verdict.finding, ExactFinding):
            by_measure.setdefault(verdict.test.measure, []).extend(
                Counted(arm, values, verdict.test.values[arm])
                for arm, values in verdict.finding.values.items()
            )
    for order, (measure, rows) in enumerate(by_measure.items()):
        key = f"{name}-counts{f'-{order + 1}' if order else ''}"
        words = "; ".join(
            f"{r.label} {', '.join(f'{v:.4g}' for v in r.values)}, claimed {r.claimed:g}" for r in rows
        )
        yield Drawing(
            key,
            counts(key, rows, measure_words(measure)),
            f"Counts next to the claimed ones: {words}.",
            "What the runs have (dot) and what the claim states (ring).",
            TABLE,
            pd.DataFrame(
                [{"arm": r.label, "value": value, "claimed": r.claimed} for r in rows for value in r.values]
            ),
        )

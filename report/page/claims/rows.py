"""A test of a claim in words and numbers: what was found, what it must be, and what its units can show."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from report.analysis.claims.decide import MOST_UNITS, Estimate, deciding_level, power_at
from report.analysis.claims.identity import Identity, Parting
from report.analysis.claims.order import level_of_a_peak, step
from report.analysis.claims.power import ASSUMED_SHARE, chance, difference_shown
from report.analysis.claims.verdict import (
    ContrastFinding,
    EaseFinding,
    ExactFinding,
    OrderFinding,
    ShareEstimate,
    TestVerdict,
)
from report.analysis.intervals import Interval
from report.analysis.numbers import NONE, listing
from report.analysis.readings import MINUS
from suite.machine.words import count, plural
from suite.records.claim import PROBE, Contrast, Ease, Exact, Identical, Order, Test, unit_of

MEASURED: Mapping[str, str] = {
    "test_top1": "test accuracy",
    "val_top1": "validation accuracy",
    "train_top1": "training accuracy",
    "gap": "training accuracy less test accuracy",
    "test_loss": "test loss",
    "val_loss": "validation loss",
    "train_loss": "training loss",
    "flips": "flips per weight",
    "undone_1": "flips undone by the next step",
    "undone_2": "flips undone within 2 steps",
    "undone_5": "flips undone within 5 steps",
    "undone_10": "flips undone within 10 steps",
    "never": "weights that never flip",
    "distance": "weights with another sign than at the start",
    "reals": "real numbers per weight",
}
DIGITS = {"%": 2, "nats": 4}
TIMES = " \u00d7 "

Spread = tuple[float, float]  # of an estimate: its error, and the degrees of freedom of that


@dataclass(frozen=True)
class Mark:
    """How an outcome is shown: a symbol and a word, and a key for its colour."""

    key: str
    symbol: str
    word: str


SUPPORTED, REFUTED, UNDECIDED = (
    Mark("supported", "✓", "supported"),
    Mark("refuted", "✗", "refuted"),
    Mark("undecided", "?", "undecided"),
)
INCOMPLETE, NOT_RUN, DAMAGED = (
    Mark("incomplete", "…", "not complete"),
    Mark("not-run", "–", "not run"),  # noqa: RUF001 - a dash as a symbol
    Mark("damaged", "!", "damaged"),
)
MARKS = {mark.key: mark for mark in (SUPPORTED, REFUTED, UNDECIDED)}


@dataclass(frozen=True)
class TestRow:
    """One test on one group of cells. decided_by: an interval of another level, where it decides, in words.

    n: units of each arm. arms: their means, where the estimate is another number. numbers: for a program, by
    the names of the columns of claims.csv.
    """

    mark: Mark
    control: bool
    kind: str
    says: str
    measured: str
    found: str
    interval: str
    decided_by: str
    must: str
    n: str
    shows: str
    arms: str
    remarks: tuple[str, ...]
    numbers: dict[str, Any]

    @property
    def whole(self) -> str:
        """What was found, with its interval, and with the one that decides where that is another."""
        words = f"{self.found} {self.interval}".strip()
        return f"{words} ({self.decided_by})" if self.decided_by else words


def test_row(verdict: TestVerdict, several: bool) -> TestRow:
    """A test in words. several: whether the test has other groups of cells, too."""
    test, finding = verdict.test, verdict.finding
    group = f" ({TIMES.join(verdict.group)})" if several else ""
    found, interval, shows = described(test, finding)
    estimate = getattr(finding, "estimate", None)
    return TestRow(
        mark=MARKS[verdict.outcome],
        control=test.control,
        kind=test.kind,
        says=f"{test.says}{group}",
        measured=measured(test),
        found=found,
        interval=interval,
        decided_by=deciding_words(verdict),
        must=must(test),
        n=n_words(finding, verdict.unit),
        shows=shows,
        arms=means_words(test, finding),
        remarks=(*([verdict.reason] if verdict.reason else []), *needed_words(verdict), *verdict.notes),
        numbers={
            "kind": test.kind,
            "control": test.control,
            "test": test.says,
            "group": ".".join(verdict.group),
            "outcome": verdict.outcome,
            **numbers_of(estimate),
            "margin": getattr(test, "margin", None),
            "n": n_words(finding, ""),
            "needed": getattr(finding, "needed", None),
            "decided_by": deciding_words(verdict),
            "reason": verdict.reason,
        },
    )


def numbers_of(estimate: Estimate | ShareEstimate | None) -> dict[str, float | None]:
    if estimate is None:
        return {"estimate": None, "low": None, "high": None}
    interval = estimate.interval()
    known = [estimate.value, interval.low, interval.high]
    return dict(
        zip(("estimate", "low", "high"), [v if math.isfinite(v) else None for v in known], strict=True)
    )


def measured(test: Test) -> str:
    """What is compared: the arms and their measure."""
    match test:
        case Identical():
            return f"binary weights and flips of {listing(test.arms)}"
        case Exact():
            return f"{measure_words(test.measure)} of {listing(test.arms)}"
        case Ease():
            return (
                f"random settings within {test.delta:g} points of the best: {test.of} {MINUS} {test.against}"
            )
    what = measure_words(test.measure)
    if test.minus is not None:
        what += f" less {measure_words(test.minus)}"
    arms = f" along {listing(test.arms)}" if isinstance(test, Order) else f": {weighted(test)}"
    if test.match is None:
        return what + arms
    matched = f"{measure_words(test.match.measure)} nearest to {test.match.target:g}"
    return f"{what}{arms}, of each the setting with {matched}"


def weighted(test: Contrast) -> str:
    """The sum in words: `bop - latent-adam`."""
    words = ""
    for arm, weight in test.of.items():
        sign = f" {MINUS} " if weight < 0 and words else MINUS if weight < 0 else " + " if words else ""
        words += f"{sign}{'' if abs(weight) == 1 else f'{abs(weight):g}{TIMES}'}{arm}"
    return words


def measure_words(measure: str) -> str:
    if measure.startswith(PROBE):
        _, probe, key = measure.split(".", 2)
        return f"{key} of the probe {probe}"
    return MEASURED[measure]


def must(test: Test) -> str:
    """What supports the test."""
    match test:
        case Identical():
            return "the same" if test.expect == "same" else "different for every seed"
        case Exact():
            return ", ".join(f"{arm} {value:g}" for arm, value in test.values.items())
        case Order(shape="peaked"):
            by = f", by more than {amount(test.margin, test.measure)}" if test.margin else ""
            return f"highest between the ends{by}"
        case Order():
            within = f", no step against it of {amount(test.margin, test.measure)}" if test.margin else ""
            return f"{test.shape}{within}"
    measure = test.measure if isinstance(test, Contrast) else None
    match test.expect:
        case "above":
            return f"above {amount(test.margin, measure)}"
        case "below":
            return f"below {amount(-test.margin or 0.0, measure)}"
        case "within":
            return f"within ±{amount(test.margin, measure)}"
    return f"beyond ±{amount(test.margin, measure)}"


def amount(value: float, measure: str | None) -> str:
    """A difference of a measure with its unit; without a measure, of shares."""
    unit = "%" if measure is None else unit_of(measure)
    points = " point" if abs(value) == 1 else " points"
    words = {"%": points, "nats": " nats"}.get(unit, "")
    return f"{value:g}{words}".replace("-", MINUS)


def number(value: float, unit: str, sign: bool = False) -> str:
    """A number in its unit's digits, with a true minus."""
    if math.isnan(value):
        return NONE
    plus = "+" if sign else ""
    text = f"{value:{plus}.{DIGITS[unit]}f}" if unit in DIGITS else f"{value:{plus}.3g}"
    zero = float(text) == 0
    return (text.lstrip("+-") if zero else text).replace("-", MINUS)


def interval_words(interval: Interval, unit: str) -> str:
    return f"[{number(interval.low, unit, True)}, {number(interval.high, unit, True)}]"


def deciding_words(verdict: TestVerdict) -> str:
    """The interval that decides a test, or leaves it open, where it is not the one of 95 %."""
    match verdict.test, verdict.finding:
        case ((Contrast() as test), ContrastFinding(estimate=Estimate() as estimate)):
            unit = unit_of(test.measure)
        case ((Ease() as test), EaseFinding(estimate=ShareEstimate() as estimate)):
            unit = "%"
        case _:
            return ""
    level = deciding_level(estimate, test.expect, test.margin, verdict.parts)
    if level is None or verdict.reason:
        return ""
    verb = "decided" if verdict.outcome != "undecided" else "left open"
    return f"{verb} by the interval of {100 * level:.3g} %: {interval_words(estimate.interval(level), unit)}"


def described(test: Test, finding: object) -> tuple[str, str, str]:
    """What was found, its interval, what n can show."""
    match finding:
        case ContrastFinding(estimate=Estimate() as estimate):
            assert isinstance(test, Contrast)
            unit = unit_of(test.measure)
            words = {"%": " points", "nats": " nats"}.get(unit, "")
            found = f"{number(estimate.value, unit, True)}{words}"
            return found, interval_words(estimate.interval(), unit), shown_by(test, estimate)
        case OrderFinding():
            assert isinstance(test, Order)
            unit = unit_of(test.measure)
            means = " → ".join(number(each.mean, unit) for each in finding.samples)
            return f"{means}{' %' if unit == '%' else ''}", "", order_shown(test, finding)
        case Identity():
            return identity_words(finding), "", ""
        case ExactFinding():
            values = ((arm, " or ".join(f"{v:.4g}" for v in found)) for arm, found in finding.values.items())
            return ", ".join(f"{arm} {words}" for arm, words in values), "", ""
        case EaseFinding(estimate=estimate):
            one, other = estimate.one, estimate.other
            words = (
                f"{one.good} of {one.draws} against {other.good} of {other.draws}: "
                f"{number(estimate.value, '%', True)} points"
            )
            assert isinstance(test, Ease)
            draws = min(one.draws, other.draws)
            shows = ease_words(test, draws, other.share) if draws else ""
            return words, interval_words(estimate.interval(), "%"), shows
    return NONE, "", ""


def means_words(test: Test, finding: object) -> str:
    """The mean of each arm of a contrast; where arms are matched, which of its settings counts."""
    if not isinstance(finding, ContrastFinding | OrderFinding) or not isinstance(test, Contrast | Order):
        return ""
    unit = unit_of(test.measure)
    words = []
    for each in finding.samples:
        mean = f" {number(each.mean, unit)}" if isinstance(test, Contrast) and each.n else ""
        if each.matched is not None:
            words.append(f"{each.cell.rsplit('.', 1)[-1]}{mean} (matched at {each.matched:.3g})")
        elif mean:
            words.append(f"{each.arm}{mean}")
    return ", ".join(words)


def identity_words(identity: Identity) -> str:
    equal = identity.pairs - len(identity.partings)
    if not identity.partings:
        return f"{identity.pairs} of {count(identity.pairs, 'pair')} of runs are equal"
    first = first_parting(identity.partings)
    return f"{equal} of {count(identity.pairs, 'pair')} of runs are equal; {parting_words(first)}"


def first_parting(partings: tuple[Parting, ...]) -> Parting:
    """The earliest step; those without one last."""
    return min(partings, key=lambda each: (each.step is None, each.step or 0))


def parting_words(parting: Parting) -> str:
    place = "only the last weights differ"
    if parting.step is not None:
        layer = f", layer {parting.layer}" if parting.layer is not None else ""
        place = f"first difference in step {parting.step}{layer}"
    return f"{place} ({parting.other} against {parting.arm}, seed {parting.seed})"


def shown_by(test: Contrast, estimate: Estimate) -> str:
    """What units of this spread can show."""
    power = power_at(test.expect, test.margin, estimate.error, estimate.df)
    return power_words(test, power)


def power_words(test: Contrast, power: float) -> str:
    unit = unit_of(test.measure)
    if test.expect == "within":
        return f"equality with a chance of {100 * power:.0f} %, if there is no difference"
    text = number(abs(power) if test.expect == "beyond" else power, unit)
    match test.expect:
        case "above":
            return f"{text} or more in 80 % of the cases"
        case "below":
            return f"{number(-power, unit)} or less in 80 % of the cases"
    return f"±{text} or more in 80 % of the cases"


def ease_words(test: Ease, draws: int, share: float = ASSUMED_SHARE) -> str:
    """What so many random draws of each method show, at a share of the other's settings that are good."""
    equal = chance(test.expect, test.margin, draws, share, share)
    given = f"if {100 * share:.0f} % of the settings of {test.against} are good"
    if test.expect == "within":
        return f"equality with a chance of {100 * equal:.0f} %, if there is no difference, {given}"
    shown = difference_shown(test.expect, test.margin, draws, share)
    if shown is None:
        return f"no difference in 80 % of the cases, {given}"
    side = "more" if test.expect == "above" else "less"
    return (
        f"{number(shown, '%', True)} points or {side} in 80 % of the cases, no difference with a chance of "
        f"{100 * equal:.0f} %, {given}"
    )


def order_shown(test: Order, finding: OrderFinding) -> str:
    """What these units can show of a shape, where that is hardest."""
    if not finding.steps:
        return ""
    samples, last = finding.samples, len(finding.samples) - 1
    from_end_to_end = step(samples, 0, last)
    to_the_ends = [step(samples, end, n) for n in range(1, last) for end in (0, last)]
    hardest = max(finding.steps if test.shape != "peaked" else to_the_ends, key=lambda each: each.error)
    return order_words(
        test, (hardest.error, hardest.df), (from_end_to_end.error, from_end_to_end.df), len(samples)
    )


def order_words(test: Order, of_step: Spread, of_ends: Spread, arms: int) -> str:
    """The true steps that are shown in 80 % of the cases.

    of_step: of a peak, from an end to an arm between them. of_ends: from end to end.
    """
    unit = unit_of(test.measure)
    if test.shape == "peaked":
        power = number(power_at("above", test.margin, *of_step, level=level_of_a_peak(arms)), unit)
        return f"a peak that is {power} above both ends, each in 80 % of the cases"
    steps, whole = power_at("above", -test.margin, *of_step), power_at("above", test.margin, *of_ends)
    along = f"{number(steps, unit)} or more" if steps >= 0 else f"at most {number(-steps, unit)} against it"
    return f"steps of {along}, and {number(whole, unit)} from end to end, each in 80 % of the cases"


def n_words(finding: object, unit: str) -> str:
    """The units of each arm: `10 runs`, or `8 to 10 runs` where they differ."""
    match finding:
        case ContrastFinding(samples=samples) | OrderFinding(samples=samples):
            return counted([each.n for each in samples], unit)
        case Identity(pairs=pairs):
            return counted([pairs], "pair of runs" if unit else "")
        case EaseFinding(estimate=estimate):
            return counted([estimate.one.draws, estimate.other.draws], "draw" if unit else "")
    return ""


def counted(numbers: list[int], unit: str) -> str:
    low, high = min(numbers), max(numbers)
    words = f"{low} to {high}" if low < high else f"{low}"
    first, _, rest = unit.partition(" ")
    return f"{words} {' '.join(filter(None, [plural(high, first), rest]))}" if unit else words


def needed_words(verdict: TestVerdict) -> list[str]:
    """How many units would decide, of a contrast that its units leave open."""
    if verdict.outcome != "undecided" or verdict.reason or not isinstance(verdict.finding, ContrastFinding):
        return []
    if verdict.finding.needed is not None:
        return [
            f"{count(verdict.finding.needed, verdict.unit)} of each arm would decide, if the estimate stays"
        ]
    why = why_never(verdict.finding)
    return [
        f"{MOST_UNITS:,} {plural(2, verdict.unit)} of each arm would not decide, if the estimate stays: {why}"
    ]


def why_never(finding: ContrastFinding) -> str:
    """Why no number of units would decide: their own error shrinks with them, that of the images does not."""
    assert finding.estimate is not None
    many = finding.estimate.with_units(MOST_UNITS)
    if many.images_error > many.units_error:
        return "the test images are too few"
    return "it is too near to the margin"

"""The figures of tests that order arms: lines along a hyperparameter, or a row for each arm."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import pandas as pd

from report.analysis.claims.arms import Sample
from report.analysis.claims.verdict import OrderFinding, TestVerdict
from report.analysis.intervals import Interval, t_interval
from report.analysis.numbers import hyper
from report.draw.along import Along, along
from report.draw.claims import Level, in_order
from report.draw.drawing import Drawing
from report.page.claims.rows import TestRow, measure_words, number
from report.page.claims.settings import Axis, axis_of
from report.read.records import Records
from suite.records.claim import Order, unit_of

Shown = tuple[TestVerdict, TestRow]
TABLE = "claims.csv"
LONGEST = 24  # letters of the name of a line


@dataclass(frozen=True)
class Ordered:
    """A test of an order with its arms. axis: None where the arms differ in more than one number."""

    test: Order
    group: tuple[str, ...]
    row: TestRow
    samples: tuple[Sample, ...]
    axis: Axis | None

    @property
    def outcome(self) -> str:
        return f"{self.row.says}: {self.row.mark.symbol} {self.row.mark.word}"

    @property
    def title(self) -> str:
        less = f" less {measure_words(self.test.minus)}" if self.test.minus else ""
        unit = ", %" if unit_of(self.test.measure) == "%" else ""
        return f"{measure_words(self.test.measure)}{less}{unit}"

    @property
    def levels(self) -> list[Level]:
        """The arms by the value of what differs between them, else by their names."""
        unit = unit_of(self.test.measure)
        names = [sample.arm for sample in self.samples]
        if self.axis is not None:
            names = [f"{self.axis.setting} {hyper(value)}" for value in self.axis.values]
        return [
            Level(name, sample.mean, interval_of(sample), mean_words(sample, unit))
            for name, sample in zip(names, self.samples, strict=True)
        ]


Line = tuple[Ordered, Axis]


def orders(name: str, records: Records, shown: Sequence[Shown]) -> Iterator[Drawing]:
    """Tests of the same shape and measure along the same hyperparameter are lines of one figure."""
    found = [each for pair in shown if (each := ordered(records, *pair)) is not None]
    figures: dict[object, list[Ordered]] = {}
    for position, each in enumerate(found):
        test, alike = each.test, each.axis
        key = alike and (each.group, test.measure, test.minus, test.shape, test.control, alike.setting)
        figures.setdefault(key or position, []).append(each)
    keys = (f"{name}-order-{number}" for number in itertools.count(1))
    for tests in figures.values():
        lines = [(each, each.axis) for each in tests if each.axis is not None]
        if names := line_names([axis for _, axis in lines]):
            yield lines_drawing(next(keys), lines, names)
        else:
            yield from (rows_drawing(next(keys), each) for each in tests)


def ordered(records: Records, verdict: TestVerdict, row: TestRow) -> Ordered | None:
    """None for a test of another kind, or one without a finding."""
    if not isinstance(verdict.test, Order) or not isinstance(verdict.finding, OrderFinding):
        return None
    samples = verdict.finding.samples
    cells = {cell.name: cell for cell in records.cells}
    # The arms of a matched test are picked from pools by their flips: nothing is set along an axis.
    axis = None if verdict.test.match else axis_of(records, [cells[each.cell] for each in samples])
    return Ordered(verdict.test, verdict.group, row, samples, axis)


def line_names(axes: Sequence[Axis]) -> list[str]:
    """What tells lines apart, such as `threshold 1e-08`.

    Nothing for one line, and where no short name does: arms of two methods differ in more than a number.
    """
    if len(axes) < 2 or any(axis.fixed.keys() != axes[0].fixed.keys() for axis in axes):
        return []
    differ = [name for name in axes[0].fixed if len({axis.fixed[name] for axis in axes}) > 1]
    names = [" ".join(f"{name} {axis.fixed[name]}" for name in differ) for axis in axes]
    short = all(0 < len(name) <= LONGEST for name in names)
    return names if short and len(set(names)) == len(names) else []


def lines_drawing(name: str, tests: Sequence[Line], labels: Sequence[str]) -> Drawing:
    """A line for each test."""
    first, along_one = tests[0]
    unit, named = unit_of(first.test.measure), list(zip(tests, labels, strict=True))
    lines = [
        Along(
            label,
            axis.values,
            tuple(sample.mean for sample in each.samples),
            tuple(interval_of(sample) for sample in each.samples),
        )
        for (each, axis), label in named
    ]
    outcomes = f"All {len(tests)} tests ({first.row.must}): {first.row.mark.symbol} {first.row.mark.word}"
    if len({each.row.mark for each, _ in tests}) > 1:
        outcomes = "; ".join(each.outcome for each, _ in tests)
    caption = f"A line for each test. {outcomes}. Means with 95 % t-intervals."
    words = "; ".join(
        f"{label}: {', '.join(mean_words(sample, unit) for sample in each.samples)}"
        for (each, _), label in named
    )
    numbers = pd.concat(
        [levels_table(each.levels).assign(line=label) for (each, _), label in named], ignore_index=True
    )
    picture = along(name, lines, along_one.setting, first.title)
    return Drawing(name, picture, f"{first.title}. {caption} {words}.", caption, TABLE, numbers)


def rows_drawing(name: str, each: Ordered) -> Drawing:
    """A row for each arm, in the order of the test."""
    caption = f"{each.outcome}. Means with 95 % t-intervals, the arms in order."
    return levels_drawing(name, each.levels, each.title, True, caption)


def interval_of(each: Sample) -> Interval | None:
    return t_interval(each.values) if each.n > 1 else None


def mean_words(each: Sample, unit: str) -> str:
    return number(each.mean, unit) if each.n else "no value"


def levels_drawing(name: str, rows: Sequence[Level], axis: str, joined: bool, caption: str) -> Drawing:
    """Arms as rows."""
    label = f"{axis}. {caption} {'; '.join(f'{row.label} {row.words}' for row in rows)}."
    return Drawing(name, in_order(name, rows, axis, joined), label, caption, TABLE, levels_table(rows))


def levels_table(rows: Sequence[Level]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "arm": [row.label for row in rows],
            "value": [row.value for row in rows],
            "low": [row.interval.low if row.interval else math.nan for row in rows],
            "high": [row.interval.high if row.interval else math.nan for row in rows],
        }
    )

"""The figures of tests that order arms: lines along a hyperparameter, or a row for each arm."""

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


def orders(name: str, records: Records, shown: Sequence[Shown]) -> Iterator[Drawing]:
    """Tests with the same measure and shape along the same hyperparameter are lines of one figure."""
    found = [each for pair in shown if (each := ordered(records, *pair)) is not None]
    figures: dict[object, list[Ordered]] = {}
    for position, each in enumerate(found):
        along_one = each.axis and (each.group, each.test.measure, each.test.shape, each.axis.setting)
        figures.setdefault(along_one or position, []).append(each)
    for position, tests in enumerate(figures.values(), 1):
        key = f"{name}-order-{position}"
        names = line_names([each.axis for each in tests if each.axis])
        if names:
            yield lines_drawing(key, tests, names)
        else:
            yield from (
                rows_drawing(f"{key}{f'-{n}' if n > 1 else ''}", each) for n, each in enumerate(tests, 1)
            )


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
    """What tells lines apart, such as `threshold 1e-08`; nothing for one line, or where no setting does."""
    if len(axes) < 2:
        return []
    fixed = list(dict.fromkeys(name for axis in axes for name in axis.fixed))
    differ = [name for name in fixed if len({axis.fixed.get(name) for axis in axes}) > 1]
    names = [" ".join(f"{name} {axis.fixed.get(name)}" for name in differ) for axis in axes]
    return names if all(names) and len(set(names)) == len(names) else []


def lines_drawing(name: str, tests: Sequence[Ordered], labels: Sequence[str]) -> Drawing:
    """A line for each test."""
    first = tests[0]
    unit, setting = unit_of(first.test.measure), axis_name(first)
    lines = [
        Along(
            label,
            values_of(each),
            tuple(sample.mean for sample in each.samples),
            tuple(interval_of(sample) for sample in each.samples),
        )
        for each, label in zip(tests, labels, strict=True)
    ]
    measure = measure_words(first.test.measure)
    title = f"{measure}, %" if unit == "%" else measure
    marks = {each.row.mark for each in tests}
    outcomes = f"All {len(tests)} tests: {first.row.mark.symbol} {first.row.mark.word}"
    if len(marks) > 1:
        outcomes = "; ".join(each.outcome for each in tests)
    caption = f"A line for each test. {outcomes}. Means with 95 % t-intervals."
    words = "; ".join(
        f"{label}: {', '.join(mean_words(sample, unit) for sample in each.samples)}"
        for each, label in zip(tests, labels, strict=True)
    )
    numbers = pd.concat(
        [levels_table(levels_of(each)).assign(line=label) for each, label in zip(tests, labels, strict=True)],
        ignore_index=True,
    )
    return Drawing(name, along(name, lines, setting, title), f"{caption} {words}.", caption, TABLE, numbers)


def rows_drawing(name: str, each: Ordered) -> Drawing:
    """A row for each arm, in the order of the test."""
    unit, measure = unit_of(each.test.measure), measure_words(each.test.measure)
    title = f"{measure}, %" if unit == "%" else measure
    caption = f"{each.outcome}. Means with 95 % t-intervals, the arms in order."
    return levels_drawing(name, levels_of(each), title, True, caption)


def levels_of(each: Ordered) -> list[Level]:
    """The arms by the value of what differs between them, else by their names."""
    unit = unit_of(each.test.measure)
    names = [sample.arm for sample in each.samples]
    if each.axis is not None:
        names = [f"{axis_name(each)} {hyper(value)}" for value in values_of(each)]
    return [
        Level(name, sample.mean, interval_of(sample), mean_words(sample, unit))
        for name, sample in zip(names, each.samples, strict=True)
    ]


def axis_name(each: Ordered) -> str:
    assert each.axis is not None
    return each.axis.setting


def values_of(each: Ordered) -> tuple[float, ...]:
    assert each.axis is not None
    return each.axis.values


def interval_of(each: Sample) -> Interval | None:
    return t_interval(each.values) if each.n > 1 else None


def mean_words(each: Sample, unit: str) -> str:
    return number(each.mean, unit) if each.n else "no value"


def levels_drawing(name: str, rows: Sequence[Level], axis: str, joined: bool, caption: str) -> Drawing:
    """Arms as rows."""
    label = f"{caption} {'; '.join(f'{row.label} {row.words}' for row in rows)}."
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

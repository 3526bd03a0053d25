"""What a plan can show, for `flipbench plan`: the smallest difference of two methods, and its claim."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from report.analysis.judgement import ENOUGH_UNITS
from report.analysis.planning import detectable_difference
from report.analysis.units import studies_of
from suite.machine.words import count, plural
from suite.records.claim import Contrast, Ease, Exact, Identical, Test, cells_of_arm
from suite.records.schema import PlannedCell, PlanRecord

ASSUMED_SD = 0.3  # points, of a unit: small networks on Fashion-MNIST vary so, those on the digits by 0.8


@dataclass(frozen=True)
class Units:
    """How many units a method has, at least; or_more: some have more, by studies of their own."""

    fewest: int
    unit: str
    or_more: bool = False

    def __str__(self) -> str:
        more = " or more" if self.or_more else ""
        return f"{self.fewest}{more} {plural(2 if more else self.fewest, self.unit)}"


@dataclass(frozen=True)
class Detectable:
    """The smallest true difference that so many methods' comparison shows in 80 % of the cases.

    track: none where nothing is tuned. sds: in standard deviations of a unit, without the noise of the test
    images; NaN where there will be no verdict.
    """

    tasks: int
    track: str | None
    methods: int  # that compete, a method of two tracks twice
    units: Units  # of each
    studies: int

    @property
    def sds(self) -> float:
        enough = self.units.fewest >= ENOUGH_UNITS
        return detectable_difference(self.methods, self.units.fewest) if enough else math.nan

    @property
    def points(self) -> float:
        """At the assumed standard deviation."""
        return self.sds * ASSUMED_SD

    def as_json(self) -> dict[str, Any]:
        numbers = {"sds": self.sds, "points": self.points, "assumed_sd": ASSUMED_SD}
        values = asdict(self) | {"units": self.units.fewest, "unit": self.units.unit}
        return values | {name: None if math.isnan(value) else value for name, value in numbers.items()}

    def __str__(self) -> str:
        unit = self.units.unit
        track = f" of {self.track}" if self.track and unit == "study" else ""
        what = f"{count(self.tasks, 'task')}, {count(self.methods, 'method')}, {self.units}{track} each"
        if self.methods < 2:
            return f"{what}: nothing to compare"
        if math.isnan(self.sds):
            return f"{what}: no verdict, which takes {ENOUGH_UNITS} {plural(2, unit)}"
        given = ", given one draw of the tuning" if self.studies == 1 else ""
        return (
            f"{what}: shows a difference of {self.sds:.1f} sds of a {unit} in 80 % of the cases: "
            f"{self.points:.2f} points if the sd is {ASSUMED_SD}, without the noise of the test images{given}"
        )


def detectable(plan: PlanRecord) -> list[Detectable]:
    """One for each track, and for each number of methods if tasks differ in it."""
    cells: dict[str, list[PlannedCell]] = {}
    for cell in plan.cells:
        cells.setdefault(cell.task, []).append(cell)
    found = Counter(row for of_task in cells.values() for row in rows(plan, of_task))
    return [Detectable(tasks, *row) for row, tasks in found.items()]


def rows(plan: PlanRecord, cells: Sequence[PlannedCell]) -> Iterator[tuple[str | None, int, Units, int]]:
    """Of one task, for each track: its name, the methods of all tracks, the units of each, studies."""
    tracks, studies = plan.tuning.tracks, studies_of(plan, cells)
    methods = sum(not plan.methods[cell.method].control for cell in cells) * max(1, len(tracks))
    if not tracks:
        yield None, methods, Units(plan.seeds, "run"), 0
    for number, track in enumerate(tracks):
        yield track.name, methods, units_of(plan, cells, number), studies


def units_of(plan: PlanRecord, cells: Sequence[PlannedCell], track: int = 0) -> Units:
    """The units that each of these cells has of a track."""
    of_cells = [each.tracks[track].studies for cell in cells if (each := plan.tuning_of(cell)).tracks]
    fewest, most = min(of_cells, default=1), max(of_cells, default=1)
    if studies_of(plan, cells) > 1:
        return Units(fewest, "study", most > fewest)
    return Units(fewest * plan.seeds, "run", most > fewest)


@dataclass(frozen=True)
class PlannedTest:
    """A test of the plan's claim before anything runs. shows: what the planned units can show, in words."""

    says: str
    must: str
    units: Units
    shows: str

    def __str__(self) -> str:
        return f"  {self.says}: supported if {self.must}; {self.units} of each arm: {self.shows}"


def planned_tests(plan: PlanRecord) -> list[PlannedTest]:
    """The tests of the plan's claim; none without one."""
    from report.page.claims.rows import must  # only here, because a claim's words import all of its analysis

    if plan.claim is None:
        return []
    found = []
    for test in plan.claim.tests:
        pools = [pool for arm in test.arms for pool in cells_of_arm(arm, plan.cells).values()]
        cells = [cell for pool in pools for cell in pool]
        units = draws_of(plan, cells) if isinstance(test, Ease) else units_of(plan, cells)
        found.append(PlannedTest(test.says, must(test), units, shown_by(test, units.fewest)))
    return found


def draws_of(plan: PlanRecord, cells: Sequence[PlannedCell]) -> Units:
    """The random draws that each of these cells has."""
    draws = [plan.tuning_of(cell).random_draws for cell in cells]
    return Units(min(draws), "draw", max(draws) > min(draws))


def shown_by(test: Test, units: int) -> str:
    """What so many units of each arm show, at the assumed standard deviation of an accuracy."""
    from report.analysis.claims.decide import power_at
    from report.page.claims.rows import ease_words, order_words, power_words

    if isinstance(test, Identical | Exact):
        return "exact"
    if isinstance(test, Ease):
        return ease_words(test, units)
    if not test.measure.endswith("_top1") or test.minus is not None:
        return "what they show depends on the spread, which nobody knows yet"
    if units < ENOUGH_UNITS:
        return f"no verdict, which takes {ENOUGH_UNITS}"
    weights = list(test.of.values()) if isinstance(test, Contrast) else [1.0, -1.0]
    squares = sum(each**2 for each in weights)
    df = (units - 1) * squares**2 / sum(each**4 for each in weights)
    error = ASSUMED_SD * math.sqrt(squares / units)
    if isinstance(test, Contrast):
        words = power_words(test, power_at(test.expect, test.margin, error, df))
    else:
        words = order_words(test, (error, df), (error, df), len(test.arms))
    return f"{words}, if the sd is {ASSUMED_SD}"

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
class Detectable:
    """The smallest true difference that so many methods' comparison shows in 80 % of the cases.

    track: none where nothing is tuned. sds: in standard deviations of a unit, without the noise of the test
    images; NaN where there will be no verdict.
    """

    tasks: int
    track: str | None
    methods: int  # that compete, a method of two tracks twice
    having: int  # of these, the ones that have so many units
    units: int
    unit: str
    studies: int

    @property
    def sds(self) -> float:
        enough = self.units >= ENOUGH_UNITS
        return detectable_difference(self.methods, self.units) if enough else math.nan

    @property
    def points(self) -> float:
        """At the assumed standard deviation."""
        return self.sds * ASSUMED_SD

    def as_json(self) -> dict[str, Any]:
        numbers = {"sds": self.sds, "points": self.points, "assumed_sd": ASSUMED_SD}
        return asdict(self) | {name: None if math.isnan(value) else value for name, value in numbers.items()}

    def __str__(self) -> str:
        track = f" of {self.track}" if self.track and self.unit == "study" else ""
        some = f"{self.having} of them with " if self.having < self.methods else ""
        what = (
            f"{count(self.tasks, 'task')}, {count(self.methods, 'method')}, {some}"
            f"{count(self.units, self.unit)}{track} each"
        )
        if self.methods < 2:
            return f"{what}: nothing to compare"
        if math.isnan(self.sds):
            return f"{what}: no verdict, which takes {ENOUGH_UNITS} {plural(2, self.unit)}"
        given = ", given one draw of the tuning" if self.studies == 1 else ""
        return (
            f"{what}: shows a difference of {self.sds:.1f} sds of a {self.unit} in 80 % of the cases: "
            f"{self.points:.2f} points if the sd is {ASSUMED_SD}, without the noise of the test images{given}"
        )


def detectable(plan: PlanRecord) -> list[Detectable]:
    """One for each track, and for each number of methods if tasks differ in it."""
    cells: dict[str, list[PlannedCell]] = {}
    for cell in plan.cells:
        cells.setdefault(cell.task, []).append(cell)
    found = Counter(row for of_task in cells.values() for row in rows(plan, of_task))
    return [Detectable(tasks, *row) for row, tasks in found.items()]


Row = tuple[str | None, int, int, int, str, int]


def rows(plan: PlanRecord, cells: Sequence[PlannedCell]) -> Iterator[Row]:
    """Of one task, for each track: its name, all methods, how many of them have so many units, unit, studies.

    One more for methods with more studies than the others.
    """
    studies, tracks = studies_of(plan, cells), plan.tuning.tracks
    competing = [cell for cell in cells if not plan.methods[cell.method].control]
    methods = len(competing) * max(1, len(tracks))
    if not tracks:
        yield None, methods, methods, *units_of(plan, 0, 1), 0
    for number, track in enumerate(tracks):
        having = Counter(plan.tuning_of(cell).tracks[number].studies for cell in competing)
        for of_row in sorted(having):
            rest = methods if len(having) == 1 else having[of_row]
            yield track.name, methods, rest, *units_of(plan, studies, of_row), studies


def units_of(plan: PlanRecord, studies: int, of_row: int) -> tuple[int, str]:
    """How many units a row of so many studies has, and what one is."""
    return (of_row, "study") if studies > 1 else (of_row * plan.seeds, "run")


@dataclass(frozen=True)
class PlannedTest:
    """A test of the plan's claim before anything runs. shows: what the planned units can show, in words."""

    says: str
    must: str
    units: int
    unit: str
    shows: str

    def __str__(self) -> str:
        units = f"{count(self.units, self.unit)} of each arm"
        return f"  {self.says}: supported if {self.must}; {units}: {self.shows}"


def planned_tests(plan: PlanRecord) -> list[PlannedTest]:
    """The tests of the plan's claim; none without one."""
    from report.page.claims.rows import must  # only here, because a claim's words import all of its analysis

    if plan.claim is None:
        return []
    found = []
    for test in plan.claim.tests:
        pools = [pool for arm in test.arms for pool in cells_of_arm(arm, plan.cells).values()]
        cells = [cell for pool in pools for cell in pool]
        units, unit = units_of_arms(plan, cells)
        if isinstance(test, Ease):
            units, unit = min(plan.tuning_of(cell).random_draws for cell in cells), "draw"
        found.append(PlannedTest(test.says, must(test), units, unit, shown_by(test, units)))
    return found


def units_of_arms(plan: PlanRecord, cells: Sequence[PlannedCell]) -> tuple[int, str]:
    """The fewest units that an arm has of the first track, and what one is."""
    of_rows = [track.studies for cell in cells for track in plan.tuning_of(cell).tracks[:1]]
    return units_of(plan, studies_of(plan, cells), min(of_rows, default=1))


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

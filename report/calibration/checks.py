"""What is asked of the comparison, each a share of simulated tasks with its bound."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np

from report.analysis.judgement import Judgement, judge
from report.analysis.planning import detectable_difference
from report.analysis.readings import Kind
from report.calibration.simulate import LEVEL, Population, Shape, simulate, simulate_test_set

SD = 0.003
POINT = 0.01
SPREAD = 0.6  # of the logarithm of methods' standard deviations, where these differ
MONTE_CARLO = 2.0  # standard errors by which a share may miss its bound

ALONE = "sd 0.3"  # of all methods of a task
FALSE_WORSE = "false “worse” in a task"
FALSE_PAIR = "any pair shown different"
LOST_BEST = "true best not in the set"
TEST_SET = "false “worse”, test set drawn again"
FALSE_EQUAL = "false “equal”"
PROCEDURE, SETTING = "procedure's interval covers", "setting's interval covers"
POWER, POWER_AHEAD = "one behind is read “worse”", "one ahead: others read “worse”"
FOUND_EQUAL, DETECTABLE = "equal ones read “equal”", "detectable difference is shown"


@dataclass(frozen=True)
class Check:
    """A share of cases, and what it should be."""

    what: str
    case: str
    methods: int
    units: int
    hits: int
    cases: int
    bound: float | None = None  # nominal; none where the share is only shown
    side: Literal["at most", "at least"] = "at most"
    gap: float = math.nan  # true difference in points, where there is one

    @property
    def share(self) -> float:
        return self.hits / self.cases

    @property
    def tolerance(self) -> float:
        """The Monte-Carlo error that a share at its bound may have."""
        return MONTE_CARLO * math.sqrt(self.bound * (1 - self.bound) / self.cases) if self.bound else 0.0

    @property
    def holds(self) -> bool:
        if self.bound is None:
            return True
        if self.side == "at most":
            return self.share <= self.bound + self.tolerance
        return self.share >= self.bound - self.tolerance


@dataclass(frozen=True)
class Effort:
    """How much to simulate."""

    tasks: int = 500
    methods: tuple[int, ...] = (2, 3, 10, 40)
    units: tuple[int, ...] = (3, 5, 10)


Case = Callable[[], Iterator[Check]]


def cases(effort: Effort) -> list[Case]:
    """All that is to be simulated; each case can run by itself, in a process of its own."""
    tasks, units = effort.tasks, effort.units
    some = math.ceil(0.4 * tasks)  # where a case has many shares, or no bound
    shapes: tuple[Shape, ...] = ("normal", "skewed")
    many = (4, *(methods for methods in effort.methods if methods > 10))
    return [
        *(partial(equal_methods, tasks, k, n, 0.0, "normal") for k in effort.methods for n in units),
        *(partial(equal_methods, tasks, k, n, SPREAD, "normal") for k in effort.methods for n in units),
        *(partial(equal_methods, tasks, k, 5, 0.0, "skewed") for k in effort.methods if k <= 10),
        *(partial(uneven, tasks, k, 3, more) for k in effort.methods if k > 3 for more in (2, 3, 9)),
        *(partial(new_test_set, tasks, k) for k in effort.methods if k <= 10),
        *(partial(coverage, some, n, shape) for shape in shapes for n in units),
        *(partial(one_differs, tasks, k, 5, 1.0) for k in many),
        *(partial(one_differs, some, k, 5, points) for k in many for points in (0.25, 0.5, 0.75)),
        *(partial(beside_erratic, tasks, k, n) for k in effort.methods if k >= 10 for n in (3, 5)),
        *(partial(equality, some, n, sd) for sd in (SD, SD / 2) for n in (5, 10, 20)),
        *(partial(detectable, some, k, n) for k in (2, 4, 10) for n in (3, 5, 10, 20)),
    ]


def random_of(*key: int) -> np.random.Generator:
    """A stream for each case, whatever runs before it or at the same time."""
    return np.random.default_rng(key)


def worse(judgement: Judgement) -> int:
    return sum(each.reading.kind == Kind.WORSE for each in judgement.methods)


def equal_methods(tasks: int, methods: int, units: int, spread: float, shape: Shape) -> Iterator[Check]:
    """One method under k names."""
    random = random_of(1, methods, units, round(10 * spread), shape == "skewed")
    alarms = pairs = lost = 0
    for _ in range(tasks):
        sds = SD * np.exp(spread * random.standard_normal(methods))
        judgement = judge(simulate(random, [Population(sd=sd) for sd in sds], units, shape=shape).task)
        alarms += worse(judgement) > 0
        pairs += any(pair.interval.excludes_zero for pair in judgement.pairs)
        lost += not judgement.methods[0].may_be_best  # all are best: any one of them stands for it
    case = f"{shape}, {'unequal' if spread else 'equal'} sds"
    bound = None if shape == "skewed" else 0.08 if spread else 0.05
    yield Check(FALSE_WORSE, case, methods, units, alarms, tasks, bound)
    yield Check(FALSE_PAIR, case, methods, units, pairs, tasks)
    yield Check(LOST_BEST, case, methods, units, lost, tasks, bound)


def uneven(tasks: int, methods: int, units: int, more: int) -> Iterator[Check]:
    """Equal methods, of which a quarter have more units, as rows with more studies than the others do.

    Of each kind of row any one stands for all.
    """
    random = random_of(8, methods, units, more)
    alarms = with_more = with_less = 0
    for _ in range(tasks):
        sds = SD * np.exp(SPREAD * random.standard_normal(methods))
        truth = [Population(sd=sd, more_units=more * (n % 4 == 0)) for n, sd in enumerate(sds)]
        judgement = judge(simulate(random, truth, units).task)
        alarms += worse(judgement) > 0
        with_more += not judgement.methods[0].may_be_best
        with_less += not judgement.methods[1].may_be_best
    case = f"normal, unequal sds, a quarter with {units + more} units"
    bound = 0.08 if more <= units else None
    yield Check(FALSE_WORSE, case, methods, units, alarms, tasks, bound)
    yield Check(LOST_BEST, f"{case}, one of them", methods, units, with_more, tasks, bound)
    yield Check(LOST_BEST, f"{case}, another one", methods, units, with_less, tasks, bound)


def new_test_set(tasks: int, methods: int) -> Iterator[Check]:
    """Equal methods that differ in what they find difficult, on a random test set."""
    random = random_of(2, methods)
    judged = (judge(simulate_test_set(random, methods, 5, 1000, own=1.0)) for _ in range(tasks))
    alarms = sum(worse(each) > 0 for each in judged)
    yield Check(TEST_SET, "1,000 images", methods, 5, alarms, tasks, 0.05)


def coverage(tasks: int, units: int, shape: Shape) -> Iterator[Check]:
    """Each interval for its own target: the mean over all studies, or of the settings that were found."""
    random = random_of(3, units, shape == "skewed")
    truth = [Population(sd=0.002, seed_sd=0.0015)] * 4
    procedure = setting = single = 0
    for _ in range(tasks):
        simulated = simulate(random, truth, units, seeds=2, shape=shape)
        for each, target in zip(judge(simulated.task).methods, simulated.settings, strict=True):
            assert each.procedure is not None and each.setting is not None
            procedure += each.procedure.low <= LEVEL <= each.procedure.high
            setting += each.setting.low <= target <= each.setting.high
        for each in judge(simulate(random, truth, units, shape=shape).task).methods:
            assert each.setting is not None
            single += each.setting.low <= LEVEL <= each.setting.high
    for what, case, hits in (
        (PROCEDURE, "studies of 2 seeds", procedure),
        (SETTING, "studies of 2 seeds", setting),
        (SETTING, "single runs", single),
    ):
        yield Check(what, f"{shape}, {case}", 4, units, hits, 4 * tasks, 0.93, "at least")


def one_differs(tasks: int, methods: int, units: int, points: float) -> Iterator[Check]:
    """One method behind equal ones, found against the observed best; and one ahead of all others."""
    random = random_of(4, methods, units, round(100 * points))
    low, high = Population(LEVEL - points * POINT, SD), Population(LEVEL, SD)
    behind = ahead = 0
    few = math.ceil(tasks / 5)  # each has many cases
    for number in range(tasks):
        judged = judge(simulate(random, [low, *[high] * (methods - 1)], units).task)
        behind += judged.methods[0].reading.kind == Kind.WORSE
        if number < few:
            ahead += worse(judge(simulate(random, [high, *[low] * (methods - 1)], units).task))
    asked = 0.95 if points == 1 and units == 5 else None
    yield Check(POWER, ALONE, methods, units, behind, tasks, asked, "at least", points)
    yield Check(POWER_AHEAD, ALONE, methods, units, ahead, few * (methods - 1), gap=points)


def beside_erratic(tasks: int, methods: int, units: int) -> Iterator[Check]:
    """Equal methods, and one a point behind, beside two that are far behind and vary seven times as much."""
    random = random_of(7, methods, units)
    low, high = Population(LEVEL - POINT, SD), Population(LEVEL, SD)
    two = [Population(LEVEL - 0.025, 0.02)] * 2
    alarms = behind = 0
    for _ in range(tasks):
        judged = judge(simulate(random, [*[high] * (methods - 2), *two], units).task).methods
        alarms += any(each.reading.kind == Kind.WORSE for each in judged[:-2])
        judged = judge(simulate(random, [low, *[high] * (methods - 3), *two], units).task).methods
        behind += judged[0].reading.kind == Kind.WORSE
    case = "two erratic methods behind"
    yield Check(FALSE_WORSE, case, methods, units, alarms, tasks, 0.05)
    asked = 0.9 if units == 5 else None
    yield Check(POWER, f"{ALONE}, {case}", methods, units, behind, tasks, asked, "at least", 1.0)


def equality(tasks: int, units: int, sd: float) -> Iterator[Check]:
    """Two methods as far apart as the margin of 0.3 points, and two equal ones."""
    random = random_of(5, units, round(1e5 * sd))
    margin = 0.003
    high, low = Population(LEVEL, sd), Population(LEVEL - margin, sd)
    wrong = right = 0
    for _ in range(tasks):
        wrong += any_equal(judge(simulate(random, [high, low], units, margin=margin).task))
        right += any_equal(judge(simulate(random, [high, high], units, margin=margin).task))
    case = f"margin 0.3, sd {100 * sd:.2g}"
    yield Check(FALSE_EQUAL, case, 2, units, wrong, tasks, 0.05, gap=0.3)
    yield Check(FOUND_EQUAL, case, 2, units, right, tasks, gap=0.0)


def any_equal(judgement: Judgement) -> bool:
    return any(each.reading.kind == Kind.EQUAL for each in judgement.methods)


def detectable(tasks: int, methods: int, units: int) -> Iterator[Check]:
    """Two methods as far apart as a plan promises to show with a power of 80 %."""
    gap = detectable_difference(methods, units) * SD
    random = random_of(6, methods, units)
    truth = [Population(LEVEL, SD), *[Population(LEVEL - gap, SD)] * (methods - 1)]
    names = {"method-00", "method-01"}
    shown = 0
    for _ in range(tasks):
        pairs = judge(simulate(random, truth, units).task).pairs
        pair = next(each for each in pairs if {each.first, each.second} == names)
        shown += pair.interval.excludes_zero
    yield Check(DETECTABLE, "sd 0.3", methods, units, shown, tasks, 0.8, "at least", 100 * gap)


def failing(found: Iterable[Check]) -> list[Check]:
    return [each for each in found if not each.holds]

"""A claim against its experiment: does each test name arms, measures and probes that the experiment has?"""

from collections.abc import Iterator, Sequence

from suite.experiment.cell import Cell
from suite.experiment.spec import Experiment, Problem
from suite.experiment.strict_yaml import Location
from suite.machine.errors import one_of, shown
from suite.probes import PROBES
from suite.records.claim import (
    MEASURES,
    POOL,
    PROBE,
    Claim,
    Contrast,
    Ease,
    Group,
    Test,
    cells_of_arm,
    groups_of,
    probe_of,
)
from suite.records.schema import PlannedCell
from suite.records.trial import Choice

EASE_DRAWS = 20  # with fewer an interval of a share says nothing


def claim_problems(claim: Claim, experiment: Experiment, cells: Sequence[Cell]) -> list[Problem]:
    """Everything in the claim that its experiment cannot answer."""
    planned = [cell.planned for cell in cells]
    return [
        problem
        for number, test in enumerate(claim.tests)
        for problem in _test_problems(test, experiment, planned, ("claim", "tests", number))
    ]


def _test_problems(
    test: Test, experiment: Experiment, cells: Sequence[PlannedCell], at: Location
) -> Iterator[Problem]:
    yield from _arm_problems(test, cells, at)
    match = getattr(test, "match", None)
    probes = cells[0].trial.probes  # the same for all cells
    for key in ("measure", "minus"):
        measure = getattr(test, key, None)
        if measure is not None:
            yield from _measure_problems(measure, probes, (*at, key))
    if match is not None:
        yield from _measure_problems(match.measure, probes, (*at, "match", "measure"))
    elif pools := [arm for arm in test.arms if arm.endswith(POOL)]:
        yield Problem(at, f"{shown(pools[0])} names a pool: say with `match` which of its settings counts")
    match test:
        case Contrast() if abs(sum(test.of.values())) > 1e-9 and test.minus is None:
            message = (
                "the weights must add up to 0, or `minus` must name a second measure of the same network"
            )
            yield Problem((*at, "of"), message)
        case Contrast() if test.expect in ("within", "beyond") and test.margin <= 0:
            yield Problem((*at, "margin"), f"{test.expect} needs a margin above 0")
        case Ease():
            draws = _fewest_draws(test, experiment, cells)
            if draws < EASE_DRAWS:
                message = (
                    f"ease needs {EASE_DRAWS} random draws of each method, not {draws}: raise tuning.trials"
                )
                yield Problem(at, message)
            if test.expect == "within" and test.margin <= 0:
                yield Problem((*at, "margin"), "within needs a margin above 0")
        case _ if test.kind == "identical" and not any(each.name == "signs" for each in probes):
            yield Problem(at, "identical needs `probes: [signs]` in the experiment")


def _fewest_draws(test: Ease, experiment: Experiment, cells: Sequence[PlannedCell]) -> int:
    """The random draws of the arm that has the fewest; a method may have more studies than all have."""
    arms = [cell for arm in test.arms for pool in cells_of_arm(arm, cells).values() for cell in pool]
    budgets = [experiment.budget.with_studies(cell.studies) for cell in arms] or [experiment.budget]
    return min(budget.random_draws for budget in budgets)


def _arm_problems(test: Test, cells: Sequence[PlannedCell], at: Location) -> Iterator[Problem]:
    known = _arms(cells)
    unknown = [arm for arm in test.arms if not cells_of_arm(arm, cells)]
    for arm in unknown:
        yield Problem(at, f"no cell is called {shown(arm)}{one_of(arm, known)}")
    if len(set(test.arms)) < len(test.arms):
        yield Problem(at, "an arm is named twice")
    elif len({arm.count(".") for arm in test.arms}) > 1:
        yield Problem(at, "name all arms alike: METHOD, MODEL.METHOD or DATA.MODEL.METHOD")
    elif not unknown:
        groups = list(groups_of(test.arms, cells))
        if not groups:
            yield Problem(at, "these arms have no task in common")
        elif several := _of_several(test, cells, groups[0]):
            yield Problem(at, several)


def _of_several(test: Test, cells: Sequence[PlannedCell], group: Group) -> str:
    """Why these arms cannot be compared, although each is in the group; or nothing.

    Test images enter a contrast, and what is a good setting is decided on one task.
    """
    arms = [cell for arm in test.arms for cell in cells_of_arm(arm, cells)[group]]
    if len({cell.data for cell in arms}) > 1:
        return "its arms are on different data sets, whose images cannot be compared"
    if isinstance(test, Ease) and len({cell.model for cell in arms}) > 1:
        return "its arms are on different models, which have no best setting in common"
    return ""


def _arms(cells: Sequence[PlannedCell]) -> list[str]:
    """Every name that an arm may have."""
    names = [(cell.data, cell.model, cell.method) for cell in cells]
    return list(dict.fromkeys(".".join(labels[first:]) for first in (2, 1, 0) for labels in names))


def _measure_problems(measure: str, probes: Sequence[Choice], at: Location) -> Iterator[Problem]:
    name = probe_of(measure)
    if name is None:
        if measure not in MEASURES:
            choices = [*MEASURES, *(f"{PROBE}{each.name}.KEY" for each in probes)]
            yield Problem(at, f"there is no measure {shown(measure)}{one_of(measure, choices)}")
        return
    probe = next((each for each in probes if each.name == name), None)
    if probe is None:
        message = f"this experiment has no probe {shown(name)}{one_of(name, [each.name for each in probes])}"
        yield Problem(at, message)
        return
    key = measure.removeprefix(f"{PROBE}{name}.")
    numbers = PROBES[name].numbers
    if key not in numbers:
        yield Problem(at, f"the probe {shown(name)} leaves no number {shown(key)}{one_of(key, numbers)}")

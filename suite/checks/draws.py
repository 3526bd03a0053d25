"""Are the draws of random search those that the plan's seed gives? Then nobody has picked a setting."""

import math
from collections.abc import Iterator

from suite.checks.run import Finding
from suite.experiment.ranges import distribution_of
from suite.machine.errors import shown
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord
from suite.records.schedules import as_json
from suite.records.schema import PlannedCell, PlanRecord, StudyEntry
from suite.records.trial import HyperSetting
from suite.sweep.draws import random_draw

SAME = 1e-12  # relative: the last digit of a logarithm may differ between processors


def redraw(folder: ExperimentFolder, plan: PlanRecord) -> Iterator[Finding | None]:
    """For each trial of random search what is wrong with its setting, or None.

    The first trial is the published default, the others are the draws of their places. A draw of TPE depends
    on the scores before it, and in its last digits on the processor: it is not made again. A ledger that is
    missing or damaged is a finding of `Verification`.
    """
    for planned in plan.cells:
        try:
            ledger = folder.ledger(planned, plan)
        except (FileNotFoundError, DamagedRecord):
            continue
        file = folder.ledger_path(planned.cell).relative_to(folder.path).as_posix()
        for study in ledger.studies:
            if study.track == "random":
                for problem in _problems(study, planned, plan):
                    yield Finding("contradictory", file, f"{study}: {problem}") if problem else None


def _problems(study: StudyEntry, planned: PlannedCell, plan: PlanRecord) -> Iterator[str]:
    """What is wrong with each trial of a study; an empty text for one that is right."""
    hypers = plan.methods[planned.method].hypers
    space = {name: distribution_of(each.range) for name, each in hypers.items() if each.range is not None}
    published = {name: hypers[name].default for name in space}
    place = (plan.tuning.seed, planned.cell, study.track, study.number)
    for entry in study.tuning:
        source = "the plan's seed draws" if entry.number else "the published default is"
        right = random_draw(place, entry.number, space) if entry.number else published
        wrong = [name for name, value in right.items() if not _same(entry.hypers[name], value)]
        yield "; ".join(
            f"{name} of trial {entry.number} is {shown(as_json(entry.hypers[name]))}, {source} "
            f"{shown(as_json(right[name]))}"
            for name in wrong
        )


def _same(found: HyperSetting, drawn: HyperSetting) -> bool:
    if isinstance(found, float) and isinstance(drawn, float):
        return math.isclose(found, drawn, rel_tol=SAME)
    return found == drawn

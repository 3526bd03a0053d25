"""Do the records of an experiment belong together? Every reader takes them through this door.

The plan fixes the cells, the ledger of a cell names its runs, and each run holds its trial. Files that are
each intact may still come from different experiments. Nothing here imports torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite.machine.errors import shown
from suite.records.claim import cells_of_arm, groups_of
from suite.records.codec import encode
from suite.records.files import DamagedRecord
from suite.records.run import RunFolder
from suite.records.schedules import SCHEDULES, as_json, same_shape
from suite.records.schema import (
    DataRecord,
    DataSizes,
    Ledger,
    Place,
    PlannedCell,
    PlanRecord,
    Scores,
    StudyEntry,
    TransferEntry,
)
from suite.records.seeds import final_seed, tuning_seed
from suite.records.trial import HyperSetting, Settings, Trial
from suite.records.winner import winner

NAMED = 3  # differences in a message, of however many
ABSENT = "absent"
Difference = tuple[str, Any, Any]  # a key, its value in the file, and the value that belongs there


class Contradiction(DamagedRecord):
    """A file is intact, and does not belong to the records around it."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(path, problem)
        self.args = (f"{path} contradicts the other records: {problem}",)

    def __reduce__(self) -> tuple[Any, ...]:
        return Contradiction, (self.path, self.problem)


@dataclass(frozen=True)
class NamedRun:
    """A run that a ledger names, and its place in the plan.

    hypers: as drawn or set, before any decay. expected: the planned trial, apart from its hyperparameters.
    """

    place: Place
    run: str
    hypers: Settings
    expected: Trial

    def check(self, folder: RunFolder) -> None:
        """Contradiction if the trial in a run's folder is another one than the plan and the ledger name.

        FileNotFoundError if the folder holds no trial, DamagedRecord for one that cannot be decoded.
        """
        path, trial = folder.path / "trial.json", folder.trial()
        if trial.run_id != folder.path.name:
            raise Contradiction(path, f"is the trial of run {trial.run_id}, not of this one")
        if problem := self.problem(trial):
            raise Contradiction(path, problem)

    def problem(self, trial: Trial) -> str:
        """The keys in which a trial is not the one that was planned, each with both values; or nothing."""
        expected, made = (self._beside_hypers(each).as_json() for each in (self.expected, trial))
        plan = differences(expected, made)
        found = [
            text_of(each, "the plan") for each in plan if each[0].split(".")[0] not in ("hypers", "real")
        ]
        found += [text_of(each, "the ledger") for each in self._other_hypers(trial)]
        more = len(found) - NAMED
        return "; ".join(found[:NAMED]) + (f"; and {more} more" if more > 0 else "")

    def _beside_hypers(self, trial: Trial) -> Trial:
        """A trial without what follows from its draw: that a value gave other numbers at first."""
        return replace(trial, revised=tuple(name for name in trial.revised if name not in self.hypers))

    def _other_hypers(self, trial: Trial) -> Iterator[Difference]:
        """The hyperparameters that are not the drawn ones, or decay in another way than planned."""
        planned = self.expected.setting
        used = trial.setting
        for name in sorted(self.hypers.keys() | used.keys()):
            drawn, found = self.hypers.get(name, ABSENT), used.get(name, ABSENT)
            if not _is_drawn(found, drawn, planned.get(name)):
                yield name if name == "real.lr" else f"hypers.{name}", as_json(found), as_json(drawn)


def _is_drawn(found: HyperSetting, drawn: HyperSetting, planned: HyperSetting) -> bool:
    """Whether a trial uses the drawn value. Where the plan has a decay, it starts from the drawn value."""
    if isinstance(planned, SCHEDULES) and not isinstance(drawn, SCHEDULES):
        return isinstance(found, SCHEDULES) and found.start == drawn and same_shape(found, planned)
    return found == drawn


def named_runs(ledger: Ledger, planned: PlannedCell, plan: PlanRecord) -> Iterator[NamedRun]:
    """The runs that the ledger of a planned cell names, in the order of the plan."""
    first, key = planned.trial, plan.tuning.seed
    for study in ledger.studies:
        seed = tuning_seed(key, planned.cell, study.track, study.number)
        tuning = replace(first, stage="tune", seed=seed, probes=())
        for entry in study.tuning:
            place = Place("tuning", study.track, study.number, entry.number)
            yield NamedRun(place, entry.run, entry.hypers, tuning)
        if study.winner is None:
            continue
        for final in study.final:
            seed = final_seed(key, study.number, final.number)
            place = Place("final", study.track, study.number, final.number)
            yield NamedRun(place, final.run, study.winner.hypers, replace(first, seed=seed))
    published = first.setting
    for each in ledger.default:
        seed = final_seed(key, each.study, each.number)
        place = Place("default", None, each.study, each.number)
        yield NamedRun(place, each.run, published, replace(first, seed=seed))
    for entry in ledger.transfer:
        for final in entry.final:
            seed = final_seed(key, entry.study, final.number)
            place = Place("transfer", entry.track, entry.study, final.number, entry.source)
            yield NamedRun(place, final.run, entry.hypers, replace(first, seed=seed))


def check_plan(plan: PlanRecord, path: Path) -> None:
    """DamagedRecord if the parts of a plan do not fit each other: every reader goes from part to part."""
    if problem := next(_plan_problems(plan), ""):
        raise DamagedRecord(path, problem)


def _plan_problems(plan: PlanRecord) -> Iterator[str]:
    if not plan.cells:
        yield "cells: there are none"
    parts = {"data": plan.data, "method": plan.methods}
    if plan.layers:
        parts["model"] = plan.layers
    for planned in plan.cells:
        for key, described in parts.items():
            if (name := getattr(planned, key)) not in described:
                yield f"cells: {planned.cell}: the plan describes no {key} {shown(name)}"
        if planned.trial.stage != "final":
            yield f"cells: {planned.cell}: its trial is of a {planned.trial.stage} run"
    for key, names in (
        ("cells", [planned.cell for planned in plan.cells]),
        ("tuning.tracks", [track.name for track in plan.tuning.tracks]),
        ("tuning.transfer", plan.tuning.transfer),
    ):
        if len(set(names)) < len(names):
            yield f"{key} names {next(name for name in names if names.count(name) > 1)} twice"
    tasks = {planned.task for planned in plan.cells}
    yield from (
        f"tuning.transfer: there is no task {shown(t)}" for t in plan.tuning.transfer if t not in tasks
    )
    for test in plan.claim.tests if plan.claim else ():
        if unknown := [arm for arm in test.arms if not cells_of_arm(arm, plan.cells)]:
            yield f"claim: no cell is called {shown(unknown[0])}"
        elif next(groups_of(test.arms, plan.cells), None) is None:
            yield f"claim: the arms {', '.join(test.arms)} have no task in common"


def check_ledger(ledger: Ledger, planned: PlannedCell, plan: PlanRecord, path: Path) -> None:
    """Contradiction if a ledger cannot be one of this cell in this plan."""
    if problem := _ledger_problem(ledger, planned, plan):
        raise Contradiction(path, problem)


def _ledger_problem(ledger: Ledger, planned: PlannedCell, plan: PlanRecord) -> str:
    if ledger.cell != planned.cell:
        return f"cell is {ledger.cell}, not {planned.cell} as its name"
    for study in ledger.studies:
        if problem := _study_problem(study, planned):
            return f"{study}: {problem}"
    for entry in ledger.transfer:
        if problem := _hypers_problem(entry.hypers, planned):
            return f"{entry}: {problem}"
    places = [named.place for named in named_runs(ledger, planned, plan)]
    known = set(plan.tuning_of(planned).places(plan.seeds, planned.task))
    if unplanned := [place for place in places if place not in known]:
        return f"names {unplanned[0]}, which is not planned"
    if len(set(places)) < len(places):
        return f"names {next(place for place in places if places.count(place) > 1)} twice"
    # Two trials may draw the same setting, and a winner may be the default: they share runs. The final runs
    # of two seeds are never the same.
    finals = {
        (named.run, named.expected.seed)
        for named in named_runs(ledger, planned, plan)
        if named.place.phase != "tuning"
    }
    if len({run for run, _ in finals}) < len(finals):
        return "names one run as the final runs of two seeds"
    return ""


def _study_problem(study: StudyEntry, planned: PlannedCell) -> str:
    numbers = [entry.number for entry in study.tuning]
    if numbers != list(range(len(numbers))):
        return f"tuning names the trials {shown(numbers)}, which are counted from 0"
    for entry in study.tuning:
        if problem := _hypers_problem(entry.hypers, planned):
            return f"tuning.{entry.number}.{problem}"
    if study.winner is None:
        return "it names final runs, but no winner" if study.final else ""
    if study.winner.number not in numbers:
        return f"its winner is trial {study.winner.number}, which it does not name"
    if study.winner.hypers != study.tuning[study.winner.number].hypers:
        return "the winner's hyperparameters are not those of its trial"
    return ""


def _hypers_problem(hypers: Settings, planned: PlannedCell) -> str:
    """Which hyperparameter a setting lacks or has too many, or nothing."""
    known = set(planned.trial.setting)
    if other := sorted(known ^ hypers.keys()):
        return f"hypers: {'the plan' if other[0] in hypers else 'the ledger'} has no {other[0]}"
    return ""


def wrong_winner(ledger: Ledger, scores: Mapping[Place, Scores]) -> str:
    """What is wrong with a winner that a ledger names, or nothing.

    scores: of the tuning trials whose runs are intact, by place.
    """
    for study in ledger.studies:
        of_study = {
            entry.number: scores[place]
            for entry in study.tuning
            if (place := Place("tuning", study.track, study.number, entry.number)) in scores
        }
        if problem := _wrong_winner_of(study, of_study):
            return f"{study}: {problem}"
    return ""


def _wrong_winner_of(study: StudyEntry, scores: Mapping[int, Scores]) -> str:
    named = study.winner
    if named is None or named.number not in scores:  # its run is missing or damaged: a finding of its own
        return ""
    if (best := winner(scores)) != named.number:
        return f"the winner is trial {named.number}, but trial {best} is better on validation"
    if scores[named.number].val_top1 != named.value:
        return (
            f"winner.value is {named.value}, the validation score of its run {scores[named.number].val_top1}"
        )
    return ""


def wrong_transfers(ledger: Ledger, sources: Mapping[str, Ledger]) -> list[tuple[TransferEntry, str]]:
    """The other tasks' winners that a ledger names and that are none, each with what is wrong.

    sources: the ledgers of the same method on the other tasks, by task, as far as they can be read.
    """
    winners = {
        (task, study.track, study.number): study.winner.hypers
        for task, source in sources.items()
        for study in source.studies
        if study.winner is not None  # else it is chosen again, and the next sweep names its runs
    }
    wrong = []
    for entry in ledger.transfer:
        hypers = winners.get((entry.source, entry.track, entry.study), entry.hypers)
        if found := differences(encode(hypers), encode(entry.hypers)):
            wrong.append((entry, f"{entry}: {text_of(found[0], 'the ledger there')}"))
    return wrong


SIZES = ("classes", "shape", "train", "val", "test")  # what a data set's record repeats of the plan


def check_data(record: DataRecord, sizes: DataSizes, path: Path) -> None:
    """Contradiction if the record of a data set is not of the data set that was planned."""
    for name in SIZES:
        found, planned = getattr(record, name), getattr(sizes, name)
        if found != planned:
            raise Contradiction(path, text_of((name, found, planned), "the plan"))


def same_images(before: DataRecord, now: DataRecord) -> bool:
    """Whether a data set still holds the images of its record: the same options give the same hash."""
    return before.options != now.options or before.sha256 == now.sha256


def changed_images(path: Path) -> str:
    """What to say where `same_images` does not hold; path: of the record."""
    return (
        f"{path}: the images of this data set have changed since the runs of this folder were made; "
        "move the folder away, or choose another place with --results"
    )


def text_of(difference: Difference, where: str) -> str:
    """A difference in words."""
    key, found, expected = difference
    return f"{key} is {shown(found)}, in {where} it is {shown(expected)}"


def differences(expected: Mapping[str, Any], found: Mapping[str, Any], at: str = "") -> list[Difference]:
    """Every key in which two JSON objects differ, with both values."""
    differ: list[Difference] = []
    for key in sorted(expected.keys() | found.keys()):
        one, other = expected.get(key, ABSENT), found.get(key, ABSENT)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            differ += differences(one, other, f"{at}{key}.")
        elif one != other:
            differ.append((f"{at}{key}", other, one))
    return differ

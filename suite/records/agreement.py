"""Do the records of an experiment belong together? Every reader takes them through this door.

The plan fixes the cells, the ledger of a cell names its runs, and each run holds its trial. Files that are
each intact may still come from different experiments. Nothing here imports torch.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from suite.machine.errors import shown
from suite.records.files import DamagedRecord
from suite.records.run import RunFolder
from suite.records.schedules import SCHEDULES, as_json, same_shape
from suite.records.schema import DataRecord, DataSizes, Ledger, PlannedCell, PlanRecord, Scores
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
    """A run that a ledger names: `number` of the tuning trial, or `seed` of the final run.

    hypers: as drawn or set, before any decay. expected: the planned trial, apart from its hyperparameters.
    """

    number: int | None
    seed: int | None
    run: str
    hypers: Settings
    expected: Trial

    @property
    def which(self) -> str:
        """What a person calls it: `trial 3` or `seed 1001`."""
        return f"trial {self.number}" if self.seed is None else f"seed {self.seed}"

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
        plan = differences(self.expected.as_json(), trial.as_json())
        found = [
            text_of(each, "the plan") for each in plan if each[0].split(".")[0] not in ("hypers", "real")
        ]
        found += [text_of(each, "the ledger") for each in self._other_hypers(trial)]
        more = len(found) - NAMED
        return "; ".join(found[:NAMED]) + (f"; and {more} more" if more > 0 else "")

    def _other_hypers(self, trial: Trial) -> Iterator[Difference]:
        """The hyperparameters that are not the drawn ones, or decay in another way than planned."""
        planned = {**self.expected.method.options, "real.lr": self.expected.real_lr}
        used = {**trial.method.options, "real.lr": trial.real_lr}
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
    """The runs that the ledger of a planned cell names, tuning first."""
    for entry in ledger.tuning:
        expected = replace(planned.trial, stage="tune", seed=plan.tuning.seed)
        yield NamedRun(entry.number, None, entry.run, entry.hypers, expected)
    published = {**planned.trial.method.options, "real.lr": planned.trial.real_lr}
    hypers = published if ledger.winner is None else ledger.winner.hypers
    for final in ledger.final:
        yield NamedRun(None, final.seed, final.run, hypers, replace(planned.trial, seed=final.seed))


def check_ledger(ledger: Ledger, planned: PlannedCell, plan: PlanRecord, path: Path) -> None:
    """Contradiction if a ledger cannot be one of this cell in this plan."""
    if problem := _ledger_problem(ledger, planned, plan):
        raise Contradiction(path, problem)


def _ledger_problem(ledger: Ledger, planned: PlannedCell, plan: PlanRecord) -> str:
    if ledger.cell != planned.cell:
        return f"cell is {ledger.cell}, not {planned.cell} as its name"
    numbers = [entry.number for entry in ledger.tuning]
    seeds = [entry.seed for entry in ledger.final]
    runs = [entry.run for entry in ledger.final]
    if numbers != list(range(len(numbers))) or len(numbers) > plan.tuning.trials:
        return f"tuning names the trials {shown(numbers)}, planned are {plan.tuning.trials}, counted from 0"
    if not set(seeds) <= set(plan.seeds):
        return f"final names the seeds {shown(seeds)}, planned are {shown(plan.seeds)}"
    # Two trials may draw the same setting and so share a run; the runs of two seeds are never the same.
    if any(len(set(each)) < len(each) for each in (seeds, runs)):
        return "final names the same seed or run twice"
    known = {*planned.trial.method.options, "real.lr"}
    for entry in ledger.tuning:
        if other := sorted(known ^ entry.hypers.keys()):
            where = "the plan" if other[0] in entry.hypers else "the ledger"
            return f"tuning.{entry.number}.hypers: {where} has no {other[0]}"
    if ledger.winner is None:
        return (
            "it names final runs, but no winner of the tuning" if ledger.final and plan.tuning.trials else ""
        )
    if ledger.winner.number not in numbers:
        return f"its winner is trial {ledger.winner.number}, which it does not name"
    if ledger.winner.hypers != ledger.tuning[ledger.winner.number].hypers:
        return "the winner's hyperparameters are not those of its trial"
    return ""


def wrong_winner(ledger: Ledger, scores: Mapping[int, Scores]) -> str:
    """What is wrong with the winner that a ledger names, or nothing.

    scores: of the tuning trials whose runs are intact, by number.
    """
    named = ledger.winner
    if named is None or named.number not in scores:  # its run is missing or damaged: a finding of its own
        return ""
    if (best := winner(scores)) != named.number:
        return f"the winner is trial {named.number}, but trial {best} is better on validation"
    if scores[named.number].val_top1 != named.value:
        return (
            f"winner.value is {named.value}, the validation score of its run {scores[named.number].val_top1}"
        )
    return ""


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

"""How far one cell has come: its studies, the final runs of the published default, the ledger on disk."""

from typing import NamedTuple

from suite.experiment.cell import Cell
from suite.experiment.plan import Plan
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, set_aside, write_json
from suite.records.schema import (
    DefaultEntry,
    FinalEntry,
    Ledger,
    Place,
    Scores,
    StudyEntry,
    TransferEntry,
)
from suite.records.seeds import final_seed
from suite.records.trial import Trial
from suite.sweep.draws import Draw
from suite.sweep.study import StudyProgress


class Entry(NamedTuple):
    """One planned run of a cell: its place, the key of its study, and the draw that it trains."""

    place: Place
    study: str
    drawn: Draw


class CellProgress:
    """How far one cell has come; its ledger on disk holds the same."""

    def __init__(self, plan: Plan, cell: Cell, folder: ExperimentFolder, *, tuning_only: bool) -> None:
        self.plan, self.cell, self.folder, self.tuning_only = plan, cell, folder, tuning_only
        self.tuning = plan.tuning_of(cell)
        self.notes: list[str] = []  # about damaged files and what became of them
        ledger = self._remembered()
        remembered: dict[tuple[str, int], list[StudyEntry]] = {}
        for study in ledger.studies:
            remembered.setdefault((study.track, study.number), []).append(study)
        self.studies = [
            StudyProgress(cell, track, number, plan.seeds, remembered.get((track.name, number), ()))
            for track in self.tuning.tracks
            for number in range(track.studies)
        ]
        self.scores: dict[str, Scores | None] = {}  # by run_id; None if it failed
        self._open = list(self.studies)  # those whose final runs are not asked for
        self._tuning: dict[str, StudyProgress] = {}  # by the run_ids of its trials
        self._finals: dict[str, list[Entry]] = {}  # by run_id: the winner may be the default
        self._default = self._defaults()
        self.others: list[CellProgress] = []  # the method on other tasks, whose winners run here too
        self._named_before = ledger.transfer  # it stands until the cell of its task is opened
        self._transfer: dict[tuple[CellProgress, StudyProgress], dict[int, Trial]] = {}  # by number
        self._begun = self._changed = False

    def _remembered(self) -> Ledger:
        """The ledger, which is written before any of the draws in it is run."""
        path = self.folder.ledger_path(self.cell.name)
        try:
            return self.folder.ledger(self.cell.planned, self.plan.record)
        except FileNotFoundError:
            return Ledger.empty(self.cell.name)
        except DamagedRecord as error:  # or the ledger of another plan
            set_aside(path)
            self.notes.append(f"{error}; set aside, and written again from the draws and the results")
            return Ledger.empty(self.cell.name)

    def _defaults(self) -> dict[tuple[int, int], Trial]:
        """The final runs of the published default, by study and number."""
        return {
            (study, number): self.cell.trial(
                self.cell.published, final_seed(self.cell.seed, study, number), "final"
            )
            for study in range(self.tuning.studies)
            for number in range(self.plan.seeds)
        }

    def ready(self) -> list[Trial]:
        """The trials that can run now and were not returned before.

        One that is in two places is returned for each of them.
        """
        new: list[Trial] = []
        for study in self._open:
            drawn = study.draw()
            self._tuning |= dict.fromkeys((trial.run_id for trial in drawn), study)
            new += drawn
        if not self._begun:
            self._begun = True
            key = f"{self.cell.name}.default-{self.cell.first.run_id[:8]}"
            for (study, number), trial in self._default.items():
                place = Place("default", None, study, number)
                new += self._final(trial, Entry(place, key, dict(self.cell.published)))
        for study in [study for study in self._open if study.ended]:
            self._open.remove(study)
            self._changed = True  # there is a winner
            for number, trial in study.final.items():
                assert study.winner is not None
                place = Place("final", study.track.name, study.number, number)
                new += self._final(trial, Entry(place, study.key, study.drawn(study.winner.number)))
        for other in self.others:
            new += self._from_other_task(other)
        self._changed |= bool(new)
        return new

    def _from_other_task(self, other: "CellProgress") -> list[Trial]:
        """The final runs here of another task's new winners, with the seeds of this task's own.

        They wait for the same study of this task: it is what they are compared with.
        """
        new: list[Trial] = []
        for here, study in zip(self.studies, other.studies, strict=True):
            if not here.ended or study.winner is None or (other, study) in self._transfer:
                continue
            source, drawn = other.cell.task, study.drawn(study.winner.number)
            key = f"{self.cell.name}.{study.track.name}-of-{source}-{self.cell.first.run_id[:8]}"
            self._transfer[other, study] = trials = {
                number: self.cell.trial(drawn, final_seed(self.cell.seed, study.number, number), "final")
                for number in range(self.plan.seeds)
            }
            for number, trial in trials.items():
                place = Place("transfer", study.track.name, study.number, number, source)
                new += self._final(trial, Entry(place, key, drawn))
        return new

    def _final(self, trial: Trial, entry: Entry) -> list[Trial]:
        """A final run that is to be made; with `tuning_only` none, and what is there of it stays named."""
        if self.tuning_only and not self.folder.run(trial.run_id).path.exists():
            return []
        self._finals.setdefault(trial.run_id, []).append(entry)
        return [] if self.tuning_only else [trial]

    def learn(self, trial: Trial, scores: Scores | None) -> None:
        """Take in how one of the cell's runs ended: its scores, None if it failed."""
        self.scores[trial.run_id] = scores
        if study := self._tuning.get(trial.run_id):
            study.learn(trial, scores)

    def entries(self, trial: Trial) -> list[Entry]:
        """The planned runs of this cell with this trial: two draws can be the same."""
        if trial.stage == "final":
            return self._finals.get(trial.run_id, [])
        study = self._tuning[trial.run_id]
        return [
            Entry(Place("tuning", study.track.name, study.number, number), study.key, study.drawn(number))
            for number in study.numbers(trial)
        ]

    def complete(self) -> bool:
        """Whether every planned run has a result."""
        runs = [trial for study in self.studies for trial in study.tuning]
        if not self.tuning_only:
            runs += [trial for study in self.studies for trial in study.final.values()]
            runs += self._default.values()
            runs += [trial for trials in self._transfer.values() for trial in trials.values()]
        ended = all(study.ended and study.winner for study in self.studies)
        return ended and all(self.scores.get(trial.run_id) for trial in runs)

    def write_ledger(self) -> None:
        """Write down which runs the cell consists of, if that has changed."""
        if not self._changed:
            return
        self._changed = False
        ledger = self._ledger()
        try:
            before = self.folder.ledger(self.cell.planned, self.plan.record)
        except (FileNotFoundError, DamagedRecord):
            before = None
        if before != ledger:
            write_json(self.folder.ledger_path(self.cell.name), encode(ledger))

    def _ledger(self) -> Ledger:
        return Ledger(
            cell=self.cell.name,
            studies=[study.entry(self._finals) for study in self.studies],
            default=[
                DefaultEntry(study=study, number=number, run=trial.run_id)
                for (study, number), trial in self._default.items()
                if trial.run_id in self._finals
            ],
            transfer=self._transfer_entries(),
        )

    def _transfer_entries(self) -> list[TransferEntry]:
        """Those of the tasks that are open, in the order of the plan, then what was named of the others."""
        entries = []
        for other in self.others:
            for study in other.studies:
                if study.winner is not None and (other, study) in self._transfer:
                    entries.append(
                        TransferEntry(
                            source=other.cell.task,
                            track=study.track.name,
                            study=study.number,
                            hypers=study.winner.hypers,
                            final=[
                                FinalEntry(number=number, run=trial.run_id)
                                for number, trial in self._transfer[other, study].items()
                                if trial.run_id in self._finals
                            ],
                        )
                    )
        opened = {other.cell.task for other in self.others}
        return entries + [entry for entry in self._named_before if entry.source not in opened]

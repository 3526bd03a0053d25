"""How far one cell has come: its tuning trials, its winner, its final runs, and the ledger on disk."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from suite.experiment.cell import Cell
from suite.experiment.plan import Plan
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, set_aside, write_json
from suite.records.schema import FinalEntry, Ledger, Scores, TuningEntry, Winner
from suite.records.trial import Settings, Trial
from suite.records.winner import winner
from suite.sweep.study import CellStudy, Draw, study_key


class Entry(NamedTuple):
    """One planned run of a cell: `number` of the tuning trial, or the seed of the final run."""

    phase: Literal["tuning", "final"]
    number: int
    drawn: Draw


class CellProgress:
    """How far one cell has come; its ledger on disk holds the same.

    The cost of a finished run here does not grow with the number of trials.
    """

    def __init__(self, plan: Plan, cell: Cell, folder: ExperimentFolder, *, tuning_only: bool) -> None:
        self.plan, self.cell, self.folder, self.tuning_only = plan, cell, folder, tuning_only
        self.key = study_key(cell, plan.experiment.tuning)  # the definition that the draws belong to
        self.notes: list[str] = []  # about damaged files and what became of them
        self.study = CellStudy(cell, plan.experiment.tuning, self._remembered())
        self.tuning: list[Trial] = []  # as drawn so far
        self.final: dict[int, Trial] = {}  # by seed, once there is a setting to run
        self.winner: int | None = None  # its number, once every trial is in; None also if all failed
        self.scores: dict[str, Scores | None] = {}  # by run_id; None if it failed
        self._numbers: dict[str, list[int]] = {}  # of the tuning trials, by run_id
        self._waiting: set[str] = set()  # tuning runs whose outcome is not known
        self._chosen = self._changed = False

    def _remembered(self) -> list[Draw]:
        """The draws in the ledger: it is written before any of them is run."""
        path = self.folder.ledger_path(self.cell.name)
        try:
            ledger = self.folder.ledger(self.cell.planned, self.plan.record)
        except FileNotFoundError:
            return []
        except DamagedRecord as error:  # or the ledger of another plan
            set_aside(path)
            self.notes.append(f"{error}; set aside, and written again from the draws and the results")
            return []
        if ledger.study != self.key:
            return []  # the cell was defined in another way then
        return [{name: entry.hypers[name] for name in self.cell.space} for entry in ledger.tuning]

    def ready(self) -> list[Trial]:
        """The trials that can run now and were not returned before."""
        new = [*self._drawn(), *self._finals()]
        self._changed |= bool(new)
        return new

    def _drawn(self) -> Iterator[Trial]:
        if len(self.tuning) == len(self.study.drawn()):  # else the results of these draws come first
            self.study.draw()
        for number, drawn in enumerate(self.study.drawn(len(self.tuning)), len(self.tuning)):
            trial = self.cell.trial(drawn, self.plan.experiment.tuning.seed, "tune")
            self.tuning.append(trial)
            self._numbers.setdefault(trial.run_id, []).append(number)
            self._waiting.add(trial.run_id)
            yield trial

    def _finals(self) -> Iterator[Trial]:
        """The final runs, as soon as there is a setting to run; with `tuning_only` those that exist."""
        trials = self.plan.experiment.tuning.trials
        if self._chosen or self._waiting or len(self.tuning) < trials:
            return
        self._chosen = self._changed = True
        scores = {number: self.scores[trial.run_id] for number, trial in enumerate(self.tuning)}
        self.winner = winner({number: known for number, known in scores.items() if known})
        if trials and self.winner is None:
            return
        for seed in self.plan.seeds:
            trial = self.cell.trial(self._best(), seed, "final")
            if not self.tuning_only or (self.folder.run(trial.run_id).path / "result.json").exists():
                self.final[seed] = trial
                yield trial

    def _best(self) -> Draw:
        return dict(self.cell.published) if self.winner is None else self.study.drawn()[self.winner]

    def learn(self, trial: Trial, scores: Scores | None) -> None:
        """Take in how one of the cell's runs ended: its scores, None if it failed."""
        self.scores[trial.run_id] = scores
        self._waiting.discard(trial.run_id)
        for number in self._numbers.get(trial.run_id, []):
            self.study.tell(number, scores.val_top1 if scores else None)

    def entries(self, trial: Trial) -> list[Entry]:
        """The planned runs of this cell with this trial: two draws can be the same."""
        if trial.stage == "final":
            return [Entry("final", trial.seed, self._best())]
        drawn = self.study.drawn()
        return [Entry("tuning", n, drawn[n]) for n in self._numbers.get(trial.run_id, [])]

    def complete(self) -> bool:
        """Whether every planned run has a result."""
        tuned = len(self.tuning) == self.plan.experiment.tuning.trials
        finals = self.tuning_only or bool(self.final)
        runs = [*self.tuning, *self.final.values()]
        return tuned and finals and all(self.scores.get(trial.run_id) for trial in runs)

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
        drawn = self.study.drawn()
        chosen = None
        if self.winner is not None:
            scores = self.scores[self.tuning[self.winner].run_id]
            assert scores is not None
            chosen = Winner(
                number=self.winner, value=scores.val_top1, hypers=self._hypers(drawn[self.winner])
            )
        return Ledger(
            cell=self.cell.name,
            study=self.key,
            tuning=[
                TuningEntry(
                    number=n, run=trial.run_id, published_default=n == 0, hypers=self._hypers(drawn[n])
                )
                for n, trial in enumerate(self.tuning)
            ],
            winner=chosen,
            final=[FinalEntry(seed=seed, run=trial.run_id) for seed, trial in self.final.items()],
        )

    def _hypers(self, drawn: Draw) -> Settings:
        return {**self.cell.fixed, **drawn}

"""How far one cell has come: its tuning trials, its winner, its final runs, and the ledger on disk."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from suite.experiment.plan import Cell, Plan
from suite.experiment.trial import Trial
from suite.records.files import DamagedRecord, read_json, set_aside, write_json
from suite.sweep.study import CellStudy, study_name, winner

Scores = dict[str, float]


class CellProgress:
    """How far one cell has come; its ledger on disk says the same.

    What a finished run costs here does not grow with the number of trials.
    """

    def __init__(self, plan: Plan, cell: Cell, folder: Path, *, tuning_only: bool) -> None:
        self.plan, self.cell, self.tuning_only = plan, cell, tuning_only
        self.runs = folder / "runs"
        self.ledger = folder / "cells" / f"{cell.name}.json"
        self.notes: list[str] = []  # what was damaged, and what was done about it
        remembered = self._remembered()
        self.study = CellStudy(
            cell, plan.experiment.tuning, folder / "studies", remembered, self.notes.append
        )
        self.tuning: list[Trial] = []  # as drawn so far
        self.final: dict[int, Trial] = {}  # by seed, once there is a setting to run
        self.winner: int | None = None  # its number, once every trial is in; None also if all failed
        self.scores: dict[str, Scores | None] = {}  # by run_id; None if it failed
        self._numbers: dict[str, list[int]] = {}  # of the tuning trials, by run_id
        self._waiting: set[str] = set()  # tuning runs whose outcome is not known
        self._chosen = self._changed = False

    def _remembered(self) -> list[dict[str, Any]]:
        """The draws that the ledger knows: it is written before any of them is given out."""
        try:
            ledger = read_json(self.ledger)
            if ledger["cell"] != self.cell.name:
                raise DamagedRecord(self.ledger, f"it is that of {ledger['cell']}")
        except FileNotFoundError:
            return []
        except DamagedRecord as error:
            set_aside(self.ledger)
            self.notes.append(f"{error}; set aside, and written anew from the study and the results")
            return []
        if ledger.get("study") != study_name(self.cell, self.plan.experiment.tuning):
            return []  # the cell was defined otherwise then
        return [{name: entry["hypers"][name] for name in self.cell.space} for entry in ledger["tuning"]]

    def ready(self) -> list[Trial]:
        """The trials that can run now and were not given out yet."""
        new = [*self._drawn(), *self._finals()]
        self._changed |= bool(new)
        return new

    def _drawn(self) -> Iterator[Trial]:
        if len(self.tuning) == len(self.study.drawn()):  # else the results of what is drawn come first
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
        scores = {n: self.scores[trial.run_id] for n, trial in enumerate(self.tuning)}
        self.winner = winner({n: known for n, known in scores.items() if known})
        best = self.study.drawn()[self.winner] if self.winner is not None else self.cell.published
        if trials and self.winner is None:
            return
        for seed in self.plan.seeds:
            trial = self.cell.trial(best, seed, "final")
            if not self.tuning_only or (self.runs / trial.run_id / "result.json").exists():
                self.final[seed] = trial
                yield trial

    def learn(self, trial: Trial, scores: Scores | None) -> None:
        """Take in how one of the cell's runs ended: its scores, None if it failed."""
        self.scores[trial.run_id] = scores
        self._waiting.discard(trial.run_id)
        for number in self._numbers.get(trial.run_id, []):
            self.study.tell(number, scores["val_top1"] if scores else None)

    def complete(self) -> bool:
        """Whether every planned run has a result."""
        tuned = len(self.tuning) == self.plan.experiment.tuning.trials
        finals = self.tuning_only or bool(self.final)
        runs = [*self.tuning, *self.final.values()]
        return tuned and finals and all(self.scores.get(trial.run_id) for trial in runs)

    def write_ledger(self) -> None:
        """Say on disk which runs the cell consists of, if that has changed."""
        if not self._changed:
            return
        self._changed = False
        drawn = self.study.drawn()
        chosen: dict[str, Any] | None = None
        if self.winner is not None:
            scores = self.scores[self.tuning[self.winner].run_id]
            assert scores is not None
            hypers = {**self.cell.fixed, **drawn[self.winner]}
            chosen = {"number": self.winner, "value": scores["val_top1"], "hypers": hypers}
        ledger = {
            "cell": self.cell.name,
            "study": self.study.path.stem,
            "tuning": [
                {
                    "number": n,
                    "run": trial.run_id,
                    "published_default": n == 0,
                    "hypers": {**self.cell.fixed, **drawn[n]},
                }
                for n, trial in enumerate(self.tuning)
            ],
            "winner": chosen,
            "final": [{"seed": seed, "run": trial.run_id} for seed, trial in self.final.items()],
        }
        if not self.ledger.exists() or read_json(self.ledger) != ledger:
            write_json(self.ledger, ledger)

"""How far one cell has come: its tuning trials, its winner, its final runs, and the ledger on disk."""

from pathlib import Path
from typing import Any

from suite.plan import Cell, Plan
from suite.records import DamagedRecord, read_json, write_json
from suite.trial import Trial
from suite.tune import CellStudy, winner


class CellProgress:
    """How far one cell has come; its ledger on disk says the same."""

    def __init__(self, plan: Plan, cell: Cell, folder: Path, *, tuning_only: bool) -> None:
        self.plan, self.cell, self.tuning_only = plan, cell, tuning_only
        self.runs = folder / "runs"
        self.ledger = folder / "cells" / f"{cell.name}.json"
        self.study = CellStudy(cell, plan.experiment.tuning, folder / "studies")
        self.outcome: dict[str, dict[str, Any] | None] = {}  # run_id -> result, or None if it failed
        self.asked: set[str] = set()

    def tuning(self) -> dict[int, Trial]:
        """The tuning trials drawn so far."""
        seed = self.plan.experiment.tuning.seed
        return {n: self.cell.trial(drawn, seed, "tune") for n, drawn in enumerate(self.study.drawn())}

    def winner(self) -> int | None:
        """The number of the winning trial, once every trial is in; None before, and if all failed."""
        trials = self.tuning()
        if len(trials) < self.plan.experiment.tuning.trials:
            return None
        if any(trial.run_id not in self.outcome for trial in trials.values()):
            return None
        results = {number: self.outcome[trial.run_id] for number, trial in trials.items()}
        return winner({number: result["scores"] for number, result in results.items() if result})

    def best(self) -> dict[str, Any] | None:
        """The setting of the final runs: the winner's, or the published one where nothing is tuned."""
        if self.plan.experiment.tuning.trials == 0:
            return dict(self.cell.published)
        number = self.winner()
        return None if number is None else self.study.drawn()[number]

    def final(self) -> dict[int, Trial]:
        """The final runs by seed, once there is a setting to run; with `tuning_only` those that exist."""
        best = self.best()
        if best is None:
            return {}
        trials = {seed: self.cell.trial(best, seed, "final") for seed in self.plan.seeds}
        if not self.tuning_only:
            return trials
        return {
            seed: trial
            for seed, trial in trials.items()
            if (self.runs / trial.run_id / "result.json").exists()
        }

    def ready(self) -> list[Trial]:
        """The trials that can run now and were not given out yet."""
        self.study.draw()
        while self._tell_known():
            self.study.draw()
        trials = [*self.tuning().values(), *self.final().values()]
        new = [trial for trial in trials if trial.run_id not in self.asked]
        self.asked |= {trial.run_id for trial in new}
        return new

    def _tell_known(self) -> bool:
        """Tell the study every outcome that it does not know; True if there was one."""
        told = False
        for number, trial in self.tuning().items():
            if trial.run_id in self.outcome:
                result = self.outcome[trial.run_id]
                told |= self.study.tell(number, result["scores"]["val_top1"] if result else None)
        return told

    def complete(self) -> bool:
        """Whether every planned run has a result."""
        tuned = len(self.tuning()) == self.plan.experiment.tuning.trials
        finals = self.tuning_only or bool(self.final())
        return tuned and finals and all(self.outcome.get(run_id) for run_id in self.asked)

    def write_ledger(self) -> None:
        """Say on disk which runs the cell consists of."""
        number = self.winner()
        drawn = self.study.drawn()
        chosen: dict[str, Any] | None = None
        if number is not None:
            result = self.outcome[self.tuning()[number].run_id]
            assert result is not None
            hypers = {**self.cell.fixed, **drawn[number]}
            chosen = {"number": number, "value": result["scores"]["val_top1"], "hypers": hypers}
        ledger = {
            "cell": self.cell.name,
            "tuning": [
                {
                    "number": n,
                    "run": trial.run_id,
                    "published_default": n == 0,
                    "hypers": {**self.cell.fixed, **drawn[n]},
                }
                for n, trial in self.tuning().items()
            ],
            "winner": chosen,
            "final": [{"seed": seed, "run": trial.run_id} for seed, trial in self.final().items()],
        }
        try:
            if read_json(self.ledger) == ledger:
                return
        except (FileNotFoundError, DamagedRecord):
            pass
        write_json(self.ledger, ledger)

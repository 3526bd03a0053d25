"""Tuning one cell: an Optuna study that one coordinator owns, and the cell's ledger.

A random draw is a pure function of (study seed, trial number, hyperparameter name), a draw of TPE one of
(study seed, trial number, results so far): stopping and going on repeats nothing. Trial n of a random search
tries the same real learning rate in every cell. The first trial is the published default.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from suite.plan import Cell
from suite.random_keys import random_key
from suite.records import digest
from suite.spec import Tuning

optuna.logging.set_verbosity(optuna.logging.WARNING)


class KeyedRandomSampler(BaseSampler):
    """Independent random search whose draws are keyed by seed, trial number and name."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        key = random_key(self.seed, trial.number, param_name) % 2**32
        return RandomSampler(key).sample_independent(study, trial, param_name, param_distribution)


class CellStudy:
    """The trials of one cell: draws them, learns their values, remembers them in an Optuna journal."""

    def __init__(self, cell: Cell, tuning: Tuning, folder: Path) -> None:
        self.cell, self.tuning = cell, tuning
        # Another definition of the cell is another study: draws of one must not pass for draws of the other.
        definition = {**vars(cell), "space": {name: repr(d) for name, d in cell.space.items()}}
        key = digest([definition, tuning.model_dump(exclude={"trials"})])[:8]
        # Absolute, because the lock of a relative journal path hangs for ever once it is stale (optuna 5.0).
        self.path = (folder / f"{cell.name}-{key}.log").resolve()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # One coordinator owns the folder, so a lock that is there is a dead one's: optuna would wait for it.
        self.path.with_name(self.path.name + ".lock").unlink(missing_ok=True)
        cut_torn_tail(self.path)
        try:
            self.study = self._open()
            whole = self._is_whole()
        except (ValueError, KeyError):  # not a journal any more
            whole = False
        if not whole:
            # Killed between two values of a draw, or damaged. Drawn anew, the trials are the same.
            os.replace(self.path, self.path.with_name(self.path.name + ".damaged"))
            self.study = self._open()
        trials = self.study.get_trials(deepcopy=False)  # from here on they are counted, not asked for again
        self._drawn = [dict(trial.params) for trial in trials if trial.state != TrialState.WAITING]
        self._running = {trial.number for trial in trials if trial.state == TrialState.RUNNING}

    def _open(self) -> Study:
        storage = JournalStorage(JournalFileBackend(str(self.path)))
        study = optuna.create_study(
            storage=storage, study_name=self.cell.name, direction="maximize", load_if_exists=True
        )
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(dict(self.cell.published))
        return study

    def _is_whole(self) -> bool:
        """Whether every trial that was drawn has all its values."""
        names = self.cell.space.keys()
        trials = self.study.get_trials(deepcopy=False)
        return all(trial.params.keys() == names for trial in trials if trial.state != TrialState.WAITING)

    def drawn(self, start: int = 0) -> list[dict[str, Any]]:
        """What has been drawn so far, by trial number, from number `start` on."""
        return self._drawn[start : self.tuning.trials]

    def draw(self) -> None:
        """Draw every trial that may be drawn now.

        Random search needs no results: all at once. TPE draws `at_once` trials, then waits for theirs, so
        that its history, and with it every draw, is the same however many workers there are.
        """
        while (number := len(self._drawn)) < self.tuning.trials:
            if self.tuning.sampler == "random":
                self.study.sampler = KeyedRandomSampler(self.tuning.seed)
            else:
                if number % self.tuning.at_once == 0 and self._running:
                    return
                seed = random_key(self.tuning.seed, number) % 2**32
                self.study.sampler = TPESampler(seed=seed, n_startup_trials=self.tuning.at_once)
            trial = self.study.ask(dict(self.cell.space))
            self._drawn.append(dict(trial.params))
            self._running.add(trial.number)

    def tell(self, number: int, value: float | None) -> bool:
        """A trial's score on validation, chance if it diverged, None if it failed; False if not taken."""
        if number not in self._running:
            return False
        at_once = 1 if self.tuning.sampler == "random" else self.tuning.at_once
        if min(len(self._drawn), self.tuning.trials) < (number // at_once + 1) * at_once:
            return False  # the budget ends within a batch: a larger one must find it as it was drawn
        state = TrialState.FAIL if value is None else TrialState.COMPLETE
        self.study.tell(number, value, state=state)
        self._running.discard(number)
        return True


def cut_torn_tail(journal: Path) -> None:
    """Drop a last line that was not written to its end: Optuna would refuse the whole journal for ever."""
    if not journal.exists():
        return
    content = journal.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with open(journal, "r+b") as file:
            file.truncate(whole)
            os.fsync(file.fileno())


def winner(values: Mapping[int, Mapping[str, float]]) -> int | None:
    """The trial with the best validation top-1; of equals the one with the lower loss, then the earlier."""
    if not values:
        return None
    return min(values, key=lambda number: (-values[number]["val_top1"], values[number]["val_loss"], number))

"""Tuning one cell: an Optuna study that one coordinator owns, and the cell's ledger.

A random draw is a pure function of (study seed, trial number, hyperparameter name), a draw of TPE one of
(study seed, trial number, results so far): stopping and going on repeats nothing. Trial n of a random search
tries the same real learning rate in every cell. The first trial is the published default.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from suite.experiment.plan import Cell
from suite.experiment.spec import Tuning
from suite.machine.random_keys import random_key
from suite.records.files import DamagedRecord, digest, make_folder, set_aside
from suite.sweep.journal import Journal

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


def study_name(cell: Cell, tuning: Tuning) -> str:
    """The name of a cell's study: another definition of the cell gives another one.

    Draws of one definition must not pass for draws of the other; only a larger budget goes on with the same.
    """
    definition = {**vars(cell), "space": {name: repr(d) for name, d in cell.space.items()}}
    return f"{cell.name}-{digest([definition, tuning.model_dump(exclude={'trials'})])[:8]}"


class CellStudy:
    """The trials of one cell: draws them, learns their values, remembers them in an Optuna journal.

    What was drawn is what the cell's ledger says, given as `remembered`; what came of it is what the results
    say. A journal that cannot be read or contradicts them is set aside, which `say` tells, and built anew.
    """

    def __init__(
        self,
        cell: Cell,
        tuning: Tuning,
        folder: Path,
        remembered: Sequence[dict[str, Any]] = (),
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.cell, self.tuning, self.say = cell, tuning, say
        make_folder(folder)
        self.path = folder / f"{study_name(cell, tuning)}.log"
        try:
            trials, problem = self._open(Journal(self.path)), ""
        except DamagedRecord as error:
            trials, problem = self._open(Journal(self.path, anew=True)), error.problem
        # The last one has not all its values if the process was killed, or the disk full, as it was written.
        drawn = [dict(trial.params) for trial in trials if trial.params.keys() == cell.space.keys()]
        self._told = {trial.number: trial.value for trial in trials if trial.state == TrialState.COMPLETE}
        if drawn[: len(remembered)] != list(remembered):
            problem = problem or "its draws are not those of the cell's ledger"
        if problem:
            self._set_aside(problem)
            drawn, self._told = [], {}
        self._drawn = [*remembered, *drawn[len(remembered) :]]
        self._running = set(range(len(self._drawn))) - self._told.keys()
        self._contradicted = False
        if self._drawn != [trial.params for trial in trials]:
            self._build_anew()

    def _open(self, journal: Journal) -> list[FrozenTrial]:
        self.journal, storage = journal, JournalStorage(journal)
        if journal.read_logs(0):
            self.study = optuna.load_study(study_name=self.cell.name, storage=storage)
        else:
            self.study = optuna.create_study(storage=storage, study_name=self.cell.name, direction="maximize")
        return self.study.get_trials(deepcopy=False)

    def _build_anew(self) -> None:
        """A journal with the same draws and values, in one piece."""
        self._open(Journal(self.path, anew=True))
        for number, drawn in enumerate(self._drawn):
            self._add(drawn, self._told.get(number))
        self.journal.flush()

    def _add(self, drawn: Mapping[str, Any], value: float | None = None) -> None:
        """A trial that was not drawn here, and its value if it has one."""
        state = TrialState.RUNNING if value is None else TrialState.COMPLETE
        space = dict(self.cell.space)
        self.study.add_trial(create_trial(state=state, value=value, params=dict(drawn), distributions=space))

    def _set_aside(self, problem: str) -> None:
        done = "built anew from the cell's ledger and the results"
        if self.path.exists():
            set_aside(self.path)
            done = f"set aside, and {done}"
        self.say(f"{DamagedRecord(self.path, problem)}; {done}")

    def drawn(self, start: int = 0) -> list[dict[str, Any]]:
        """What has been drawn so far, by trial number, from number `start` on."""
        return self._drawn[start : self.tuning.trials]

    def draw(self) -> None:
        """Draw every trial that may be drawn now. The first is the published default.

        Random search needs no results: all at once. TPE draws `at_once` trials, then waits for theirs, so
        that its history, and with it every draw, is the same however many workers there are.
        """
        if self._contradicted:
            self._contradicted = False
            self._set_aside("the value of a trial is not that of its result")
            self._build_anew()
        tpe, at_once = self.tuning.sampler == "tpe", self.tuning.at_once
        while (number := len(self._drawn)) < self.tuning.trials:
            if tpe and number % at_once == 0 and self._running:
                break
            if number == 0:
                drawn = dict(self.cell.published)
                self._add(drawn)
            else:
                self.study.sampler = self._sampler(number)
                drawn = dict(self.study.ask(dict(self.cell.space)).params)
            self._drawn.append(drawn)
            self._running.add(number)
        self.journal.flush()

    def _sampler(self, number: int) -> BaseSampler:
        if self.tuning.sampler == "random":
            return KeyedRandomSampler(self.tuning.seed)
        seed = random_key(self.tuning.seed, number) % 2**32
        return TPESampler(seed=seed, n_startup_trials=self.tuning.at_once)

    def tell(self, number: int, value: float | None) -> bool:
        """A trial's score on validation, chance if it diverged; False if it is not taken.

        None for a trial that failed: that is not written down, since the next sweep tries it again.
        """
        if value is None:
            self._running.discard(number)
            return False
        if number in self._told:
            self._contradicted |= self._told[number] != value
            self._told[number] = value
            return False
        at_once = 1 if self.tuning.sampler == "random" else self.tuning.at_once
        if min(len(self._drawn), self.tuning.trials) < (number // at_once + 1) * at_once:
            return False  # the budget ends within a batch: a larger one must find it as it was drawn
        self.study.tell(number, value)
        self.journal.flush()
        self._told[number] = value
        self._running.discard(number)
        return True


def winner(values: Mapping[int, Mapping[str, float]]) -> int | None:
    """The trial with the best validation top-1; of equals the one with the lower loss, then the earlier."""
    if not values:
        return None
    return min(values, key=lambda number: (-values[number]["val_top1"], values[number]["val_loss"], number))

"""The draws of one study: which trials it consists of, given the scores of the earlier ones.

Draws are kept in the cell's ledger and scores in the results; nothing else is stored. A random draw is a pure
function of (experiment seed, cell, track, study, trial, hyperparameter name), so the draws of all studies of
random search are one sample of independent draws. A draw of TPE is a function of (experiment seed, cell,
track, study, trial) and of the earlier draws and scores of its own study, and its Optuna study is rebuilt in
memory for each batch. So a resumed study draws the same trials as an unbroken one. The first trial is the
published default.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from suite.experiment.cell import Cell
from suite.machine.random_keys import random_key
from suite.records.codec import encode
from suite.records.files import digest
from suite.records.schema import Track
from suite.records.trial import HyperSetting

optuna.logging.set_verbosity(optuna.logging.WARNING)

Draw = dict[str, HyperSetting]


class KeyedRandomSampler(BaseSampler):
    """Independent random search whose draws are keyed by the place of the trial and by name."""

    def __init__(self, *place: str | int) -> None:
        self.place = place

    def infer_relative_search_space(self, study: Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return {}

    def sample_independent(
        self, study: Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        key = random_key(*self.place, param_name) % 2**32
        return RandomSampler(key).sample_independent(study, trial, param_name, param_distribution)


def study_key(cell: Cell, track: Track, study: int) -> str:
    """A name for the definition of a study; another definition gives another name.

    Draws of one definition must not be taken for draws of another. A larger budget continues the same study.
    """
    definition = {
        "data": cell.data,
        "model": cell.model,
        "method": cell.method,
        "fixed": cell.fixed,
        "decay": cell.decay,
        "space": {name: repr(distribution) for name, distribution in cell.space.items()},
        "published": cell.published,
        "train": cell.train,
        "sizes": cell.sizes,
        "seed": cell.seed,
        "at_once": track.at_once,
    }
    return f"{cell.name}.{track.name}.{study}-{digest(encode(definition))[:8]}"


def random_draw(place: Sequence[str | int], number: int, space: Mapping[str, BaseDistribution]) -> Draw:
    """The draw of trial `number` by random search; place: experiment seed, cell, track, study."""
    study = optuna.create_study(sampler=KeyedRandomSampler(*place, number))
    return dict(study.ask(dict(space)).params)


def batch_begin(number: int, at_once: int) -> int:
    """The first trial of the batch of a trial of TPE."""
    return number // at_once * at_once


class Draws:
    """The draws of one study of a cell. `remembered` are those that its ledger holds."""

    def __init__(self, cell: Cell, track: Track, study: int, remembered: Sequence[Draw] = ()) -> None:
        self.cell, self.track = cell, track
        self._place = (cell.seed, cell.name, track.name, study)
        self._drawn = list(remembered)
        self._scores: dict[int, float] = {}
        self._waiting = set(range(len(self._drawn)))  # trials whose outcome is not known yet

    def __getitem__(self, number: int) -> Draw:
        """The draw of a trial that is drawn."""
        return self._drawn[number]

    def drawn(self, start: int = 0) -> list[Draw]:
        """The draws so far, by trial number, from number `start` on."""
        return self._drawn[start : self.track.trials]

    def draw(self) -> None:
        """Draw every trial that may be drawn now. The first is the published default.

        Random search needs no scores: all are drawn at once. TPE draws a batch of `at_once` trials once the
        batches before it have their scores, so that its history, and with it every draw, is the same for any
        number of workers, and after any interruption.
        """
        while (number := len(self._drawn)) < self.track.trials:
            if number == 0:
                draws: Iterator[Draw] = iter([dict(self.cell.published)])
            elif self.track.at_once is None:
                draws = iter([random_draw(self._place, number, self.cell.space)])
            elif min(self._waiting, default=number) < batch_begin(number, self.track.at_once):
                return
            else:
                draws = self._tpe_batch(number, self.track.at_once)
            for drawn in draws:
                self._waiting.add(len(self._drawn))
                self._drawn.append(drawn)

    def tell(self, number: int, value: float | None) -> None:
        """Take in the validation score of a trial, chance if it diverged, None if it failed."""
        self._waiting.discard(number)
        if value is not None:
            self._scores[number] = value

    def _tpe_batch(self, first: int, at_once: int) -> Iterator[Draw]:
        """The draws from number `first` to the end of its batch, from the scores of the batches before."""
        begin = batch_begin(first, at_once)
        end = min(self.track.trials, begin + at_once)
        study = self._rebuilt(begin)
        for number in range(first, end):
            seed = random_key(*self._place, number) % 2**32
            study.sampler = TPESampler(seed=seed, n_startup_trials=at_once)
            yield dict(study.ask(dict(self.cell.space)).params)

    def _rebuilt(self, scored: int) -> Study:
        """An Optuna study in memory that holds all draws, and the scores of those below number `scored`."""
        study = optuna.create_study(direction="maximize")
        space = dict(self.cell.space)
        for number, drawn in enumerate(self._drawn):
            value = self._scores.get(number) if number < scored else None
            state = TrialState.RUNNING if value is None else TrialState.COMPLETE
            study.add_trial(create_trial(state=state, value=value, params=dict(drawn), distributions=space))
        return study

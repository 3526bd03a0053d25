"""An experiment's studies in Optuna's own journal format, for people who look at them with Optuna's tools.

It is derived from what the sweep knows and kept up to date while that runs; the sweep never takes a draw or a
score from it. An absent or damaged log is made again from the ledgers and the results.
"""

import os
from typing import Any

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.study import StudyDirection
from optuna.trial import TrialState, create_trial

from suite.records.experiment import ExperimentFolder
from suite.records.files import set_aside, writing
from suite.records.schema import Phase, Result
from suite.sweep.cell import CellProgress, Entry

Key = tuple[str, Phase, int, int]  # of a run: the key of its study, its phase, study and number


class _NoLock(JournalFileOpenLock):
    """The sweep that owns the folder is the only writer."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


class OptunaLog:
    """An Optuna study for each study of a cell, and one for the final runs of its published default.

    Run, phase, study, number and seconds of a trial are user attributes.
    """

    def __init__(self, folder: ExperimentFolder) -> None:
        self.path = folder.optuna_log_path.absolute()
        self._studies: dict[str, int] = {}  # Optuna's ids, by study key
        self._trials: dict[Key, tuple[int, TrialState]] = {}
        with writing(self.path):
            # Optuna opens it by its name: a link would be followed, and a pipe would make it wait.
            if os.path.lexists(self.path) and (self.path.is_symlink() or not self.path.is_file()):
                set_aside(self.path)
            try:
                self._storage = self._open()
                self._read()
            except Exception:  # Optuna's reader raises many types for a damaged line
                self.path.unlink()
                self._studies.clear()
                self._trials.clear()
                self._storage = self._open()

    def _open(self) -> JournalStorage:
        path = str(self.path)
        return JournalStorage(JournalFileBackend(path, lock_obj=_NoLock(path)))

    def _read(self) -> None:
        """Find the trials that the log already holds."""
        content = self.path.read_bytes()
        if content and not content.endswith(b"\n"):
            raise ValueError("the last line is not whole")
        for study in self._storage.get_all_studies():
            study_id = self._storage.get_study_id_from_name(study.study_name)
            self._studies[study.study_name] = study_id
            for trial in self._storage.get_all_trials(study_id, deepcopy=False):
                attributes = [trial.user_attrs[name] for name in ("phase", "study", "number")]
                trial_id = self._storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
                self._trials[(study.study_name, *attributes)] = (trial_id, trial.state)

    def started(self, cell: CellProgress, entry: Entry, run_id: str) -> None:
        """A run of this cell is being trained."""
        if _key(entry) not in self._trials:
            self._add(cell, entry, run_id, TrialState.RUNNING)

    def finished(self, cell: CellProgress, entry: Entry, run_id: str, result: Result | None) -> None:
        """A run of this cell has a result, or has failed if that is None."""
        trial_id, state = self._trials.get(_key(entry), (None, TrialState.WAITING))
        ended = TrialState.FAIL if result is None else TrialState.COMPLETE
        if state in (TrialState.COMPLETE, ended):
            return
        if trial_id is None or state == TrialState.FAIL:
            self._add(cell, entry, run_id, ended, result)
            return
        with writing(self.path):
            if result is not None:
                self._storage.set_trial_user_attr(trial_id, "seconds", result.seconds)
            values = None if result is None else [result.scores.val_top1]
            self._storage.set_trial_state_values(trial_id, ended, values)
        self._trials[_key(entry)] = (trial_id, ended)

    def _add(
        self, cell: CellProgress, entry: Entry, run_id: str, state: TrialState, result: Result | None = None
    ) -> None:
        place, study = entry.place, entry.study
        attributes: dict[str, Any] = {"run": run_id, "phase": place.phase}
        attributes |= {"study": place.study, "number": place.number}
        trial = create_trial(
            state=state,
            value=None if result is None else result.scores.val_top1,
            params=dict(entry.drawn),
            distributions=dict(cell.cell.space),
            user_attrs=attributes if result is None else {**attributes, "seconds": result.seconds},
        )
        with writing(self.path):
            if study not in self._studies:
                self._studies[study] = self._storage.create_new_study([StudyDirection.MAXIMIZE], study)
            trial_id = self._storage.create_new_trial(self._studies[study], trial)
        self._trials[_key(entry)] = (trial_id, state)


def _key(entry: Entry) -> Key:
    return entry.study, entry.place.phase, entry.place.study, entry.place.number

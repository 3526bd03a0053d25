"""How far one study of a cell has come: its tuning trials, its winner, and the final runs of that."""

from collections.abc import Collection, Sequence

from suite.experiment.cell import Cell
from suite.records.schema import FinalEntry, Scores, StudyEntry, Track, TuningEntry, Winner
from suite.records.seeds import final_seed, tuning_seed
from suite.records.trial import Settings, Trial
from suite.records.winner import winner
from suite.sweep.draws import Draw, Draws, study_key


class StudyProgress:
    """How far one study has come. The cost of a finished run here does not grow with the number of trials.

    seeds: the final runs of the winner. remembered: the studies of the cell's ledger.
    """

    def __init__(
        self, cell: Cell, track: Track, number: int, seeds: int, remembered: Sequence[StudyEntry]
    ) -> None:
        self.cell, self.track, self.number, self.seeds = cell, track, number, seeds
        self.key = study_key(cell, track, number)  # the definition that the draws belong to
        known = [  # draws of another definition are not used
            {name: entry.hypers[name] for name in cell.space}
            for study in remembered
            if study.key == self.key
            for entry in study.tuning
        ]
        self._seed = tuning_seed(cell.seed, cell.name, track.name, number)
        self._draws = Draws(cell, track, number, known)
        self.tuning: list[Trial] = []  # as drawn so far
        self.final: dict[int, Trial] = {}  # by number, once there is a winner
        self.winner: Winner | None = None
        self.ended = False  # whether every trial is in; then there is a winner, unless all failed
        self._scores: dict[int, Scores | None] = {}  # of the tuning trials that are in; None if one failed
        self._numbers: dict[str, list[int]] = {}  # of the tuning trials, by run_id

    def draw(self) -> list[Trial]:
        """The tuning trials that can run now and were not returned before."""
        known = len(self.tuning)
        if known == self.track.trials:
            return []
        if not self._draws.drawn(known):  # else the results of these draws come first
            self._draws.draw()
        for number, drawn in enumerate(self._draws.drawn(known), known):
            trial = self.cell.trial(drawn, self._seed, "tune")
            self.tuning.append(trial)
            self._numbers.setdefault(trial.run_id, []).append(number)
        return self.tuning[known:]

    def learn(self, trial: Trial, scores: Scores | None) -> None:
        """Take in how a tuning trial ended: its scores, None if it failed."""
        for number in self.numbers(trial):
            self._scores[number] = scores
            self._draws.tell(number, scores.val_top1 if scores else None)
        if not self.ended and len(self._scores) == self.track.trials:
            self.ended = True
            self._choose()

    def _choose(self) -> None:
        known = {number: scores for number, scores in self._scores.items() if scores}
        best = winner(known)
        if best is None:
            return
        drawn = self._draws[best]
        self.winner = Winner(number=best, value=known[best].val_top1, hypers=self._hypers(drawn))
        for number in range(self.seeds):
            seed = final_seed(self.cell.seed, self.number, number)
            self.final[number] = self.cell.trial(drawn, seed, "final")

    def numbers(self, trial: Trial) -> list[int]:
        """The numbers of the tuning trials with this trial: two draws can be the same."""
        return self._numbers.get(trial.run_id, [])

    def drawn(self, number: int) -> Draw:
        """The draw of a tuning trial."""
        return self._draws[number]

    def entry(self, finals: Collection[str]) -> StudyEntry:
        """The study as the ledger holds it, with those of its final runs that are among `finals`."""
        return StudyEntry(
            track=self.track.name,
            number=self.number,
            key=self.key,
            tuning=[
                TuningEntry(number=number, run=trial.run_id, hypers=self._hypers(drawn))
                for number, (trial, drawn) in enumerate(zip(self.tuning, self._draws.drawn(), strict=True))
            ],
            winner=self.winner,
            final=[
                FinalEntry(number=number, run=trial.run_id)
                for number, trial in self.final.items()
                if trial.run_id in finals
            ],
        )

    def _hypers(self, drawn: Draw) -> Settings:
        return {**self.cell.fixed, **drawn}

"""Are the records of an experiment all there, intact and free of contradiction? Needs no torch.

The plan fixes which runs there must be; the ledgers name them; every run folder is hashed and checked
(`suite.checks.run`). Work and time grow with the number of runs, memory only with their names.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from suite.checks.ledger import differing, not_drawn, wrong_winner
from suite.checks.run import OTHER_PROTOCOL, SEVERITY, Checked, Finding, check_run, protocol_problem
from suite.records.experiment import ExperimentFolder, ledger_problem
from suite.records.files import DamagedRecord
from suite.records.schema import DataSizes, Ledger, PlannedCell, Scores
from suite.records.trial import Trial

STATUSES = ("done", "diverged", "failed", "unfinished", "missing", "damaged")
SIZES = ("classes", "shape", "train", "val", "test")  # what a data set's record repeats of the plan
SEARCHED = ("hypers", "real")  # the keys of trial.json that a tuner sets


@dataclass
class Verified:
    """Counts of planned runs by (phase, status), and every finding once, in the order of the checks."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: dict[Finding, None] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)  # intact runs with a result
    folders: int = 0
    files: int = 0
    bytes: int = 0

    def add(self, kind: str, file: str, text: str) -> None:
        """Add a finding about a file, unless it is known."""
        self.findings[Finding(kind, file, text)] = None

    @property
    def exit_code(self) -> int:
        """0 all there and intact, 1 something planned is missing or failed, 2 damaged or contradictory."""
        return max((SEVERITY[finding.kind] for finding in self.findings), default=0)


class Verification:
    """One walk over the records of an experiment; `on_run` is called for every run folder.

    Raises FileNotFoundError without a plan, DamagedRecord for a plan that cannot be read.
    """

    def __init__(self, folder: Path, on_run: Callable[[], None] = lambda: None) -> None:
        self.folder, self.on_run = ExperimentFolder(folder), on_run
        self.plan = self.folder.plan()
        self.found = Verified()
        self._seen: set[str] = set()
        self._absent: defaultdict[str, list[str]] = defaultdict(list)  # of one cell, by phase

    def run(self) -> Verified:
        """Check everything."""
        self._set_aside()
        for label, sizes in self.plan.data.items():
            self._data(label, sizes)
        for planned in self.plan.cells:
            self._cell(planned)
        self._strays()
        return self.found

    def _file(self, path: Path) -> str:
        """A path as the findings name it."""
        return path.relative_to(self.folder.path).as_posix()

    def _set_aside(self) -> None:
        for part in (".", "cells", "data"):
            for path in sorted((self.folder.path / part).glob("*.damaged")):
                self.found.add("note", self._file(path), "was damaged and set aside")

    def _data(self, label: str, sizes: DataSizes) -> None:
        file = self._file(self.folder.data_path(label))
        try:
            record = self.folder.data(label)
        except FileNotFoundError:
            self.found.add(
                "missing", file, "the record of the data that the runs were measured on is missing"
            )
            return
        except DamagedRecord as error:
            self.found.add("damaged", file, error.problem)
            return
        index = str(record.validation_index).encode()
        if hashlib.sha256(index).hexdigest() != record.validation_index_sha256:
            self.found.add("contradictory", file, "the validation index does not match its hash")
        if differ := [name for name in SIZES if getattr(sizes, name) != getattr(record, name)]:
            self.found.add("contradictory", file, f"not as planned: {', '.join(differ)}")

    # ---- a cell

    def _cell(self, planned: PlannedCell) -> None:
        trials, seeds = self.plan.tuning.trials, len(self.plan.seeds)
        ledger, unnamed_are = self._ledger(planned.cell)
        self._absent.clear()
        scores = self._tuning(planned, ledger)
        for problem in wrong_winner(ledger, scores, trials):
            self.found.add("contradictory", self._file(self.folder.ledger_path(planned.cell)), problem)
        self._finals(planned, ledger, scores)
        self._count_absent(planned.cell, "tuning", trials, trials - len(ledger.tuning), unnamed_are)
        self._count_absent(planned.cell, "final", seeds, seeds - len(ledger.final), unnamed_are)

    def _ledger(self, cell: str) -> tuple[Ledger, str]:
        """The ledger of a cell, empty if it is useless, and the status of the runs that it does not name."""
        file = self._file(self.folder.ledger_path(cell))
        try:
            ledger = self.folder.ledger(cell)
        except FileNotFoundError:
            return Ledger.empty(cell), "missing"
        except DamagedRecord as error:
            self.found.add("damaged", file, error.problem)
            return Ledger.empty(cell), "damaged"
        if problem := ledger_problem(ledger, self.plan):
            self.found.add("contradictory", file, problem)
            return Ledger.empty(cell), "damaged"
        return ledger, "missing"

    def _count_absent(self, cell: str, phase: str, planned: int, unnamed: int, status: str) -> None:
        """Count the runs that the ledger does not name; one finding for all runs that are not there."""
        self.found.counts[phase, status] += unnamed
        absent = self._absent[phase]
        if status == "missing" and unnamed + len(absent):
            which = f": {', '.join(absent[:3])}{', …' * (len(absent) > 3)}" if absent else ""
            problem = f"{unnamed + len(absent)} of {planned} {phase} runs are not there{which}"
            self.found.add("missing", self._file(self.folder.ledger_path(cell)), problem)

    def _tuning(self, planned: PlannedCell, ledger: Ledger) -> dict[int, Scores]:
        """Check the tuning runs; the scores of the intact ones, by number."""
        scores: dict[int, Scores] = {}
        expected = replace(planned.trial, stage="tune", seed=self.plan.tuning.seed)
        for entry in ledger.tuning:
            checked = self._run("tuning", entry.run, planned)
            if checked.trial is not None and checked.result is not None and checked.sound:
                scores[entry.number] = checked.result.scores
                wrong = [key for key in differing(expected, checked.trial) if key not in SEARCHED]
                wrong += not_drawn(entry.hypers, checked.trial)
                self._add_differing(entry.run, wrong, "the plan and the ledger")
        return scores

    def _finals(self, planned: PlannedCell, ledger: Ledger, scores: Mapping[int, Scores]) -> None:
        """The final runs must be the winner's trial, or without tuning the plan's, on the planned seeds."""
        like = self._tuned_trial(planned, ledger, scores)
        for entry in ledger.final:
            checked = self._run("final", entry.run, planned)
            if checked.trial is not None and checked.result is not None and checked.sound and like:
                wrong = differing(replace(like, stage="final", seed=entry.seed), checked.trial)
                self._add_differing(entry.run, wrong, "the winner's trial and the ledger's seed")

    def _tuned_trial(
        self, planned: PlannedCell, ledger: Ledger, scores: Mapping[int, Scores]
    ) -> Trial | None:
        """The trial that the final runs repeat; None if the winner's run is missing or damaged."""
        if ledger.winner is None:
            return planned.trial
        if ledger.winner.number not in scores:
            return None
        (run,) = (entry.run for entry in ledger.tuning if entry.number == ledger.winner.number)
        return self.folder.run(run).trial()

    def _add_differing(self, run: str, wrong: list[str], than: str) -> None:
        if wrong:
            self.found.add("contradictory", f"runs/{run}/trial.json", f"{', '.join(wrong)}: not as in {than}")

    # ---- a run

    def _run(self, phase: str, run: str, planned: PlannedCell) -> Checked:
        """Check and count one planned run."""
        checked = self._check(run, self.plan.data[planned.data].test)
        status = checked.status
        if status == OTHER_PROTOCOL:  # and so not the planned trial, whose protocol this code has
            self._add_differing(run, ["protocol"], "the plan")
            status = "damaged"
        self.found.counts[phase, status] += 1
        self.found.findings |= dict.fromkeys(checked.findings)
        if status == "missing":
            self._absent[phase].append(run)
        if status == "unfinished":
            self.found.add("missing", f"runs/{run}", f"begun, not finished ({phase} of {planned.cell})")
        return checked

    def _check(self, run: str, test_images: int | None) -> Checked:
        checked = check_run(self.folder.run(run).path, test_images)
        if run in self._seen or checked.status == "missing":  # two trials can be the same, and share a run
            return checked
        self._seen.add(run)
        self.on_run()
        self.found.folders += 1
        self.found.files += checked.files
        self.found.bytes += checked.bytes
        if problem := protocol_problem(checked.protocol):
            self.found.add("note", f"runs/{run}/trial.json", problem)
        if checked.result is not None and checked.sound:
            self.found.finished.append(run)
        return checked

    def _strays(self) -> None:
        """Run folders that no ledger names, as `flipbench train` leaves them, are no error."""
        for run in self.folder.run_names():
            if run not in self._seen:
                checked = self._check(run, None)
                problem = f"not part of the plan: no intact ledger names this run ({checked.status})"
                self.found.add("note", f"runs/{run}", problem)
                damage = [finding for finding in checked.findings if SEVERITY[finding.kind] == 2]
                self.found.findings |= dict.fromkeys(damage)

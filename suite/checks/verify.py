"""Are the records of an experiment all there, intact and free of contradiction? Needs no torch.

The plan fixes which runs there must be; the ledgers name them; every run folder is hashed and checked
(`suite.checks.run`). Work and time grow with the number of runs, memory only with their names.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from suite.checks.run import OTHER_PROTOCOL, SEVERITY, Checked, Finding, check_run, protocol_problem
from suite.machine.errors import UserError
from suite.records.agreement import Contradiction, NamedRun, named_runs, wrong_winner
from suite.records.experiment import SET_ASIDE, ExperimentFolder
from suite.records.files import DamagedRecord
from suite.records.schema import PHASES, DataSizes, Ledger, Phase, Place, PlannedCell, Scores

STATUSES = ("done", "diverged", "failed", "unfinished", "missing", "damaged")


@dataclass
class Verified:
    """Counts of planned runs by (phase, status), and every finding once, in the order of the checks."""

    counts: Counter[tuple[Phase, str]] = field(default_factory=Counter)
    findings: dict[Finding, None] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)  # intact runs with a result
    folders: int = 0
    files: int = 0
    bytes: int = 0
    networks: int = 0  # that are kept, their bytes, and those of the same networks of floats
    network_bytes: int = 0
    float_bytes: int = 0

    def add(self, kind: str, file: str, text: str) -> None:
        """Add a finding about a file, unless it is known."""
        self.findings[Finding(kind, file, text)] = None

    @property
    def exit_code(self) -> int:
        """0 all there and intact, 1 something planned is missing or failed, 2 damaged or contradictory."""
        return max((SEVERITY[finding.kind] for finding in self.findings), default=0)


def require_intact(folder: Path, named: Path | None = None) -> Verified:
    """What `Verification` finds; UserError if a record is damaged or contradicts another one.

    named: how the message names the folder, if that is no place for a person.
    """
    found = Verification(folder).run()
    wrong = [each for each in found.findings if SEVERITY[each.kind] == 2]
    if wrong:
        first = f"{wrong[0].kind}: {wrong[0].file}: {wrong[0].text}"
        raise UserError(
            f"{named or folder}: {first}{f'; and {len(wrong) - 1} more' if len(wrong) > 1 else ''}"
        )
    return found


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
        for label in self.plan.data:
            self._data(label)
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
        for pattern in ("*/*.json", "*/*/*"):
            for path in sorted(self.folder.path.glob(f"{SET_ASIDE}/{pattern}")):
                problem = "is damaged, or contradicts the record in its place: `merge` has set it aside"
                self.found.add("note", self._file(path), problem)

    def _data(self, label: str) -> None:
        file = self._file(self.folder.data_path(label))
        try:
            record = self.folder.planned_data(label, self.plan)
        except FileNotFoundError:
            self.found.add(
                "missing", file, "the record of the data that the runs were measured on is missing"
            )
            return
        except DamagedRecord as error:
            self._add(error)
            return
        index = str(record.validation_index).encode()
        if hashlib.sha256(index).hexdigest() != record.validation_index_sha256:
            self.found.add("contradictory", file, "the validation index does not match its hash")

    def _add(self, error: DamagedRecord) -> None:
        kind = "contradictory" if isinstance(error, Contradiction) else "damaged"
        self.found.add(kind, self._file(error.path), error.problem)

    # ---- a cell

    def _cell(self, planned: PlannedCell) -> None:
        ledger, unnamed_are = self._ledger(planned)
        self._absent.clear()
        scores: dict[Place, Scores] = {}  # of the intact tuning runs
        unnamed: Counter[Phase] = Counter()
        for phase in PHASES:
            unnamed[phase] = self.plan.tuning_of(planned).count(phase, self.plan.seeds)
        for named in named_runs(ledger, planned, self.plan):
            checked = self._run(named, planned)
            unnamed[named.place.phase] -= 1
            if checked.result is not None and checked.sound and named.place.phase == "tuning":
                scores[named.place] = checked.result.scores
        if problem := wrong_winner(ledger, scores):
            self.found.add("contradictory", self._file(self.folder.ledger_path(planned.cell)), problem)
        for _, problem in self.folder.wrong_transfers(ledger, planned, self.plan):
            self.found.add("contradictory", self._file(self.folder.ledger_path(planned.cell)), problem)
        for phase in PHASES:
            self._count_absent(planned, phase, unnamed[phase], unnamed_are)

    def _ledger(self, planned: PlannedCell) -> tuple[Ledger, str]:
        """The ledger of a cell, empty if it is useless, and the status of the runs that it does not name."""
        try:
            return self.folder.ledger(planned, self.plan), "missing"
        except FileNotFoundError:
            return Ledger.empty(planned.cell), "missing"
        except DamagedRecord as error:
            self._add(error)
            return Ledger.empty(planned.cell), "damaged"

    def _count_absent(self, cell: PlannedCell, phase: Phase, unnamed: int, status: str) -> None:
        """Count the runs that the ledger does not name; one finding for all runs that are not there."""
        planned = self.plan.tuning_of(cell).count(phase, self.plan.seeds)
        self.found.counts[phase, status] += unnamed
        absent = self._absent[phase]
        if status == "missing" and unnamed + len(absent):
            which = f": {', '.join(absent[:3])}{', …' * (len(absent) > 3)}" if absent else ""
            problem = f"{unnamed + len(absent)} of {planned} {phase} runs are not there{which}"
            self.found.add("missing", self._file(self.folder.ledger_path(cell.cell)), problem)

    # ---- a run

    def _run(self, named: NamedRun, planned: PlannedCell) -> Checked:
        """Check and count one planned run, which must have the trial that the plan and the ledger name."""
        phase = named.place.phase
        checked = self._check(named.run, self.plan.data[planned.data])
        trial_file = self.folder.run(named.run).path / "trial.json"
        if checked.status == OTHER_PROTOCOL:  # and so not the planned trial, whose protocol this code has
            problem = f"protocol is {checked.protocol}, in the plan it is {self.plan.protocol}"
            self._add(Contradiction(trial_file, problem))
            checked.status = "damaged"
        elif checked.trial and (problem := named.problem(checked.trial)):
            self._add(Contradiction(trial_file, problem))
            checked.status, checked.result = "damaged", None
        self.found.counts[phase, checked.status] += 1
        self.found.findings |= dict.fromkeys(checked.findings)
        if checked.status == "missing":
            self._absent[phase].append(named.run)
        if checked.status == "unfinished":
            self.found.add("missing", f"runs/{named.run}", f"begun, not finished ({phase} of {planned.cell})")
        return checked

    def _check(self, run: str, sizes: DataSizes | None) -> Checked:
        checked = check_run(self.folder.run(run).path, sizes)
        if run in self._seen or checked.status == "missing":  # two trials can be the same, and share a run
            return checked
        self._seen.add(run)
        self.on_run()
        self.found.folders += 1
        self.found.files += checked.files
        self.found.bytes += checked.bytes
        if checked.network is not None:
            self.found.networks += 1
            self.found.network_bytes += checked.network.bytes
            self.found.float_bytes += checked.network.float_bytes
        if problem := protocol_problem(checked.protocol):
            self.found.add("note", f"runs/{run}/trial.json", problem)
        if checked.result is not None and checked.sound:
            self.found.finished.append(run)
        return checked

    def _strays(self) -> None:
        """What is recorded beyond the plan, by `flipbench train` or for an earlier plan, is no error."""
        beyond = self.folder.unplanned(self.plan, self._seen)
        paths = [self.folder.ledger_path(cell) for cell in beyond.cells]
        for path in paths + [self.folder.data_path(label) for label in beyond.data]:
            self.found.add("note", self._file(path), "not part of the plan")
        for run in beyond.runs:
            checked = self._check(run, None)
            problem = f"not part of the plan: no intact ledger names this run ({checked.status})"
            self.found.add("note", f"runs/{run}", problem)
            damage = [finding for finding in checked.findings if SEVERITY[finding.kind] == 2]
            self.found.findings |= dict.fromkeys(damage)

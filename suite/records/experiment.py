"""The folder of one experiment: its plan, its data records and the ledgers of its cells.

The layout is described in docs/records.md. Nothing here imports torch.
"""

from pathlib import Path

from suite.machine.errors import UserError
from suite.records.codec import decode
from suite.records.files import DamagedRecord, read_json
from suite.records.run import RunFolder
from suite.records.schema import FORMAT, DataRecord, Ledger, PlanRecord


class OtherFormat(DamagedRecord):
    """The folder was written by an older flipbench."""


class ExperimentFolder:
    """The records of one experiment."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def plan_path(self) -> Path:
        return self.path / "plan.json"

    def ledger_path(self, cell: str) -> Path:
        return self.path / "cells" / f"{cell}.json"

    def data_path(self, label: str) -> Path:
        return self.path / "data" / f"{label}.json"

    @property
    def optuna_log_path(self) -> Path:
        """The studies in Optuna's format: derived, for people, and never read by flipbench."""
        return self.path / "optuna.log"

    def run(self, run_id: str) -> RunFolder:
        """The folder of a run, whether it exists or not."""
        return RunFolder(self.path / "runs" / run_id)

    def run_names(self) -> list[str]:
        """The names of all run folders, sorted."""
        runs = self.path / "runs"
        return sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []

    def plan(self) -> PlanRecord:
        """FileNotFoundError if no sweep was started here, DamagedRecord also for a plan of an older
        format; UserError for one of a newer flipbench."""
        path = self.plan_path
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist: no sweep was started there")
        try:
            value = read_json(path)
        except DamagedRecord as error:
            problem = f"{error.problem}; the next sweep sets it aside and writes it again"
            raise DamagedRecord(path, problem) from None
        found = value.get("format")
        if isinstance(found, int) and found > FORMAT:
            raise UserError(
                f"{path}: written by a newer flipbench (format {found}); this one reads format {FORMAT}"
            )
        if found != FORMAT:
            raise OtherFormat(
                path,
                f"its format is {found!r}; this flipbench reads format {FORMAT}. The same sweep brings the "
                "folder up to date and runs nothing again that is finished",
            )
        return decode(PlanRecord, value, path)

    def data(self, label: str) -> DataRecord:
        """What a data set held when the runs were made; FileNotFoundError, DamagedRecord."""
        path = self.data_path(label)
        return decode(DataRecord, read_json(path), path)

    def ledger(self, cell: str) -> Ledger:
        """A cell's ledger; FileNotFoundError before its first trial, DamagedRecord."""
        path = self.ledger_path(cell)
        ledger = decode(Ledger, read_json(path), path)
        if ledger.cell != cell:
            raise DamagedRecord(path, f"it is that of {ledger.cell}")
        return ledger


def ledger_problem(ledger: Ledger, plan: PlanRecord) -> str:
    """Why a ledger cannot be one of this plan, or nothing: it names each trial and seed at most once."""
    numbers = [entry.number for entry in ledger.tuning]
    seeds = [entry.seed for entry in ledger.final]
    runs = [entry.run for entry in ledger.final]
    if not set(numbers) <= set(range(plan.tuning.trials)) or not set(seeds) <= set(plan.seeds):
        return "it names a trial or a seed that was not planned"
    # Two trials may draw the same setting and so share a run; the runs of two seeds are never the same.
    if any(len(set(each)) < len(each) for each in (numbers, seeds, runs)):
        return "it names the same trial, seed or final run twice"
    if ledger.winner is not None and ledger.winner.number not in numbers:
        return f"its winner is trial {ledger.winner.number}, which it does not name"
    return ""

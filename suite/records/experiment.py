"""The folder of one experiment: its plan, its data records and the ledgers of its cells.

The layout is described in docs/records.md. Nothing here imports torch.
"""

import contextlib
import os
from collections.abc import Set
from dataclasses import dataclass, replace
from pathlib import Path

from suite.machine.errors import UserError, shown
from suite.machine.words import count
from suite.records.agreement import check_data, check_ledger, check_plan, same_images, wrong_transfers
from suite.records.codec import decode
from suite.records.files import DamagedRecord, read_json
from suite.records.run import RunFolder
from suite.records.schema import FORMAT, DataRecord, Ledger, PlannedCell, PlanRecord, TransferEntry
from suite.records.trial import Trial

SET_ASIDE = "set-aside"  # the folder of records that contradict the others: set-aside/1/runs/<run id>


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

    def require_folders(self) -> None:
        """DamagedRecord if a file or a link stands in the place of a folder of records.

        What a sweep has written cannot be there: it writes through no link.
        """
        for place in (self.path / part for part in ("runs", "cells", "data")):
            if place.is_symlink() or (place.exists() and not place.is_dir()):
                raise DamagedRecord(place, "it is a link" if place.is_symlink() else "it is no folder")

    def has_records(self) -> bool:
        """Whether a sweep has worked here; a published folder holds none."""
        return any(os.path.lexists(self.path / part) for part in ("runs", "cells"))

    def plan(self) -> PlanRecord:
        """FileNotFoundError if no sweep was started here, DamagedRecord also for a plan of an older format
        and as in `require_folders`; UserError for one of a newer flipbench."""
        path = self.plan_path
        if path.exists() and not self.has_records():
            raise FileNotFoundError(
                f"{self.path} holds a plan and no records, as a published folder of tables does: there is no "
                "runs/ and no cells/ in it"
            )
        self.require_folders()
        try:
            value = read_json(path)
            found = value.get("format")
            if type(found) is not int or found == FORMAT:
                check_plan(plan := decode(PlanRecord, value, path), path)
                return plan
        except FileNotFoundError:
            raise FileNotFoundError(f"{path} does not exist: no sweep was started there") from None
        except DamagedRecord as error:
            problem = f"{error.problem}; the next sweep sets it aside and writes it again"
            raise DamagedRecord(path, problem) from None
        if found > FORMAT:
            raise UserError(
                f"{path}: written by a newer flipbench (format {shown(found)}); this one reads {FORMAT}"
            )
        aside = self.path.with_name(f"{self.path.name}-before")
        raise OtherFormat(
            path,
            f"its format is {found}; this flipbench reads format {FORMAT}. Runs of an older protocol have "
            f"other ids and are not used again: move the folder away (mv {self.path} {aside}), then the same "
            "sweep begins a new one",
        )

    def data(self, label: str) -> DataRecord:
        """What a data set held when the runs were made; FileNotFoundError, DamagedRecord."""
        path = self.data_path(label)
        return decode(DataRecord, read_json(path), path)

    def other_images(self, trial: Trial, now: DataRecord) -> Path | None:
        """The record of a trial's data set, if its runs here were made on other images than there are now.

        Those of an edited data set of one's own may be others.
        """
        with contextlib.suppress(FileNotFoundError, DamagedRecord):
            for planned in self.plan().cells:
                same = planned.trial.data == trial.data
                if same and planned.trial.plugins.get("data") == trial.plugins.get("data"):
                    path = self.data_path(planned.data)
                    return None if same_images(self.data(planned.data), now) else path
        return None

    def planned_data(self, label: str, plan: PlanRecord) -> DataRecord:
        """The same, compared with the plan: a Contradiction for the record of other data."""
        record = self.data(label)
        check_data(record, plan.data[label], self.data_path(label))
        return record

    def ledger(self, planned: PlannedCell, plan: PlanRecord) -> Ledger:
        """The ledger of a planned cell; FileNotFoundError before its first trial, DamagedRecord.

        A Contradiction for one that is intact, but cannot be of this cell in this plan. A study of which the
        plan has more trials by now has no winner yet, here and on the other tasks.
        """
        path = self.ledger_path(planned.cell)
        ledger = decode(Ledger, read_json(path), path)
        check_ledger(ledger, planned, plan, path)
        trials = {track.name: track.trials for track in plan.tuning.tracks}
        short = {
            (study.track, study.number)
            for study in ledger.studies
            if len(study.tuning) != trials.get(study.track)
        }
        return replace(
            ledger,
            studies=[
                replace(study, winner=None, final=[]) if (study.track, study.number) in short else study
                for study in ledger.studies
            ],
            transfer=[entry for entry in ledger.transfer if (entry.track, entry.study) not in short],
        )

    def wrong_transfers(
        self, ledger: Ledger, planned: PlannedCell, plan: PlanRecord
    ) -> list[tuple[TransferEntry, str]]:
        """The other tasks' winners that the ledger of a cell names and that are none there, and why."""
        sources = {entry.source for entry in ledger.transfer}
        ledgers = {}
        for other in plan.cells if sources else ():
            if other.method == planned.method and other.task in sources:
                with contextlib.suppress(FileNotFoundError, DamagedRecord):  # a finding of its own
                    ledgers[other.task] = self.ledger(other, plan)
        return wrong_transfers(ledger, ledgers)

    def unplanned(self, plan: PlanRecord, named: Set[str]) -> "Unplanned":
        """What is recorded here and is not part of the plan; `named` are the runs that its ledgers name."""
        cells = {planned.cell for planned in plan.cells}
        return Unplanned(
            cells=[name for name in _names(self.path / "cells") if name not in cells],
            data=[name for name in _names(self.path / "data") if name not in plan.data],
            runs=[name for name in self.run_names() if name not in named],
        )


@dataclass(frozen=True)
class Unplanned:
    """Cells with a ledger, data sets with a record, and runs that a folder holds beyond its plan."""

    cells: list[str]
    data: list[str]
    runs: list[str]

    def __str__(self) -> str:
        """One sentence, or nothing."""
        kinds = (("the cells", self.cells), ("the data sets", self.data))
        parts = [f"{kind} {', '.join(names)}" for kind, names in kinds if names]
        parts += [count(len(self.runs), "run")] if self.runs else []
        return f"Recorded here, but not part of the plan: {'; '.join(parts)}" if parts else ""


def _names(folder: Path) -> list[str]:
    """The names of the JSON files in a folder, without their suffix, sorted."""
    return sorted(path.stem for path in folder.glob("*.json") if not path.name.startswith("."))

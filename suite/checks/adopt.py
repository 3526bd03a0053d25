"""A sweep begins with the finished runs of its experiment that are published, and trains only the others.

An archive is unpacked inside the experiment's folder and checked as `verify` checks it. Then each run comes
into its place by one rename, so that a kill leaves whole runs, or none. Nothing here imports torch.
"""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from suite.checks.verify import require_intact
from suite.machine.errors import UserError, shown
from suite.machine.words import count
from suite.records.agreement import named_runs, same_images
from suite.records.archive import read_contents, unpack
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder, OtherFormat
from suite.records.files import DamagedRecord, flush_folder, make_part, read_json, write_json, writing
from suite.records.replan import changes, edited_data
from suite.records.schema import DataRecord, Ledger, PlanRecord, Tuning
from suite.records.trial import PROTOCOL

ASIDE = ".adopting"  # in the experiment's folder, as a rename needs the same disk


@dataclass(frozen=True)
class Adoption:
    """The runs that lie ready next to the folder they belong to, or the reason why there are none."""

    folder: Path
    archive: Path | None = None
    runs: Sequence[str] = ()
    cells: Sequence[str] = ()  # whose ledgers are of use, and not there
    refused: str = ""

    def carry_out(self) -> list[str]:
        """Put the runs in place, then the ledgers that are not there; notes about it.

        runs/ and cells/ must exist.
        """
        if self.refused:
            return [f"{self.archive}: its runs are not adopted: {self.refused}"]
        if not self.runs and not self.cells:
            return []
        os.sync()  # what gets its name is on disk
        put_in_place(self.folder, "runs", self.runs)
        put_in_place(self.folder, "cells", [f"{cell}.json" for cell in self.cells])
        cells = f"the draws of {count(len(self.cells), 'cell')}"
        what = count(len(self.runs), "finished run") if self.runs else cells
        return [f"adopted from {self.archive}: {what}"]


def put_in_place(folder: Path, part: str, names: Iterable[str]) -> None:
    """Give what lies ready in ASIDE its name, each by one rename; what has that name already stays."""
    for name in names:
        ready, place = folder / ASIDE / part / name, folder / part / name
        if ready.exists() and not os.path.lexists(place):
            with writing(place):
                os.rename(ready, place)
    with writing(folder / part):
        flush_folder(folder / part)


def clear_aside(folder: Path) -> None:
    """Remove what an adoption or a merge has left, also one that was killed."""
    with writing(aside := folder / ASIDE):
        if aside.is_dir() and not aside.is_symlink():
            shutil.rmtree(aside)


@contextlib.contextmanager
def adoption(
    archive: Path | None,
    folder: Path,
    plan: PlanRecord,
    data: Mapping[str, DataRecord],
    part: bool = False,
) -> Iterator[Adoption]:
    """Unpack and check an archive, if there is one, for a folder whose owner this process is.

    data: the records of the data sets as they are on this machine. part: the archive may hold more cells,
    studies and seeds than the plan; they are left out. UserError for a damaged archive.
    """
    clear_aside(folder)
    try:
        yield Adoption(folder) if archive is None else _prepared(archive, folder, plan, data, part)
    finally:
        clear_aside(folder)


def _prepared(
    archive: Path, folder: Path, plan: PlanRecord, data: Mapping[str, DataRecord], part: bool
) -> Adoption:
    runs, ledgers = (_names(folder / part) for part in ("runs", "cells"))
    try:
        contents = read_contents(archive)
        if runs.issuperset(contents.finished_runs) and ledgers.issuperset(contents.ledgers):
            return Adoption(folder)
        make_part(aside := folder / ASIDE)
        unpack(archive, aside)
        records = ExperimentFolder(aside)
        if problem := _other_plan(records, plan, part):
            return Adoption(folder, archive, refused=problem)
        finished = require_intact(aside, archive).finished
        if problem := _other_images(records, plan, data):
            return Adoption(folder, archive, refused=problem)
        if part:
            finished = _keep_part(records, plan).intersection(finished)
    except (DamagedRecord, UserError) as error:
        raise UserError(f"{error}\nTo train its runs here, move {archive} away, or add --no-adopt") from None
    before = {planned.cell: planned.trial for planned in records.plan().cells}
    same = [planned.cell for planned in plan.cells if before.get(planned.cell) == planned.trial]
    cells = [cell for cell in same if records.ledger_path(cell).exists() and f"{cell}.json" not in ledgers]
    return Adoption(folder, archive, sorted(set(finished) - runs), cells)


def _names(part: Path) -> set[str]:
    return set(os.listdir(part)) if part.is_dir() else set()


def other_protocol(records: ExperimentFolder) -> str:
    """Why runs of another protocol compare with none of today's, or nothing."""
    if (protocol := read_json(records.plan_path).get("protocol")) == PROTOCOL:
        return ""
    return f"they were made under protocol {shown(protocol)}, this flipbench has {PROTOCOL}"


def _other_plan(records: ExperimentFolder, plan: PlanRecord, part: bool) -> str:
    """Why the runs of an archive are not part of a plan, or nothing."""
    if problem := other_protocol(records):
        return problem
    try:
        before = records.plan()
    except OtherFormat as error:
        return error.problem
    changed = changes(part_of(before, plan) if part else before, plan)
    return f"they are of another plan: {changed}" if changed else ""


def part_of(before: PlanRecord, plan: PlanRecord) -> PlanRecord:
    """What a plan holds of another one: their common cells, and no more studies and seeds than it has."""
    wanted = {planned.cell: planned for planned in plan.cells}
    studies = {track.name: track.studies for track in plan.tuning.tracks}
    tracks = [
        replace(track, studies=min(track.studies, studies.get(track.name, track.studies)))
        for track in before.tuning.tracks
    ]
    transfer = [task for task in before.tuning.transfer if task in plan.tuning.transfer]
    return replace(
        before,
        cells=[
            replace(planned, studies=_common_studies(before.tuning_of(planned), plan.tuning_of(new)))
            for planned in before.cells
            if (new := wanted.get(planned.cell))
        ],
        tuning=replace(before.tuning, tracks=tracks, transfer=transfer),
        seeds=min(before.seeds, plan.seeds),
    )


def _common_studies(before: Tuning, after: Tuning) -> int | None:
    """So many studies of each track are in both budgets."""
    wanted = {track.name: track.studies for track in after.tracks}
    common = (min(each.studies, wanted.get(each.name, each.studies)) for each in before.tracks)
    return min(common, default=None)


def _keep_part(records: ExperimentFolder, plan: PlanRecord) -> set[str]:
    """Write the ledgers of the common cells again with what the plan holds of them; the runs they name."""
    before, runs = records.plan(), set[str]()
    after, whole = part_of(before, plan), {planned.cell: planned for planned in before.cells}
    for planned in after.cells:
        try:
            ledger = records.ledger(whole[planned.cell], before)
        except FileNotFoundError:
            continue
        ledger = _part_of_ledger(ledger, after.tuning_of(planned), after.seeds)
        write_json(records.ledger_path(planned.cell), encode(ledger))
        runs |= {named.run for named in named_runs(ledger, planned, after)}
    return runs


def _part_of_ledger(ledger: Ledger, tuning: Tuning, seeds: int) -> Ledger:
    studies = {track.name: track.studies for track in tuning.tracks}
    return replace(
        ledger,
        studies=[
            replace(study, final=[each for each in study.final if each.number < seeds])
            for study in ledger.studies
            if study.number < studies[study.track]
        ],
        default=[each for each in ledger.default if each.study < tuning.studies and each.number < seeds],
        transfer=[
            replace(entry, final=[each for each in entry.final if each.number < seeds])
            for entry in ledger.transfer
            if entry.source in tuning.transfer and entry.study < studies[entry.track]
        ],
    )


def _other_images(records: ExperimentFolder, plan: PlanRecord, data: Mapping[str, DataRecord]) -> str:
    """Why the runs of an archive do not belong to this machine's images, or nothing."""
    archived = records.plan()
    for label in archived.data.keys() - edited_data(archived, plan):
        try:
            before = records.data(label)
        except FileNotFoundError:
            return f"it does not hold the record of {label}, the images that they were trained on"
        if label in data and not same_images(before, data[label]):
            return f"the images of {label} have changed since they were made"
    return ""

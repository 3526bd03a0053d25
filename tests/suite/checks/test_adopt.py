"""A sweep adopts the finished runs of an archive that are of its plan, and nothing else."""

import errno
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.checks import adopt
from suite.checks.adopt import ASIDE, adoption, part_of
from suite.checks.verify import Verification
from suite.machine.errors import UserError
from suite.records import archive
from suite.records.archive import ARCHIVE, write_archive
from suite.records.experiment import ExperimentFolder
from suite.records.files import WriteError, read_json, write_json
from suite.records.replan import changes
from suite.records.run import RunFolder
from suite.records.schema import DataRecord, PlanRecord, Track, Tuning
from suite.records.trial import PROTOCOL
from tests.support.attempts import records_of, swept
from tests.support.fake_records import TASKS, damage, final_run, write_experiment, write_plan

BOP = "digits.mlp.bop"
CHANGES = ("methods=[bop]", "train.epochs=1", "tuning={trials: 2}", "seeds=2")


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """A finished sweep of two trials and two seeds."""
    place = tmp_path_factory.mktemp("adopt")
    swept(place, *CHANGES)
    return ExperimentFolder(place / "results")


@pytest.fixture
def copy(tmp_path: Path, records: ExperimentFolder, monkeypatch: pytest.MonkeyPatch) -> ExperimentFolder:
    """A copy of it, to be changed before it becomes the archive."""
    monkeypatch.setattr(os, "sync", lambda: None)  # it waits for the disk of other processes
    shutil.copytree(records.path, tmp_path / "copy")
    return ExperimentFolder(tmp_path / "copy")


def adopted(
    archived: Path,
    folder: Path,
    plan: PlanRecord | None = None,
    data: DataRecord | None = None,
    part: bool = False,
) -> list[str]:
    """The notes of an adoption by a folder with this plan and these images; nothing is left of it."""
    records = ExperimentFolder(archived)
    archive = archived.parent / ARCHIVE
    if not archive.exists():
        write_archive(archived, archive)
    for name in ("runs", "cells"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    images = {"digits": data or records.data("digits")}
    with adoption(archive, folder, plan or records.plan(), images, part) as found:
        notes = found.carry_out()
    assert not (folder / ASIDE).exists()
    return notes


def names(folder: Path) -> dict[str, list[str]]:
    return {part: sorted(os.listdir(folder / part)) for part in ("runs", "cells")}


def content(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"}


def test_the_finished_runs_and_the_ledgers_come_into_place(tmp_path: Path, copy: ExperimentFolder):
    unfinished = final_run(copy.path, BOP, 1)
    (unfinished / "result.json").unlink()
    notes = adopted(copy.path, new := tmp_path / "new")
    assert notes == [f"adopted from {tmp_path / ARCHIVE}: 3 finished runs"]
    runs = sorted(set(os.listdir(copy.path / "runs")) - {unfinished.name})
    assert names(new) == {"runs": runs, "cells": [f"{BOP}.json"]}
    for path in new.rglob("*.*"):
        assert path.read_bytes() == (copy.path / path.relative_to(new)).read_bytes()
    for part in ("plan.json", "data"):
        assert not (new / part).exists()  # the sweep writes them


def test_what_is_there_stays(tmp_path: Path, copy: ExperimentFolder, monkeypatch: pytest.MonkeyPatch):
    """A run that has begun here, perhaps with a checkpoint, resumes here; a ledger here is newer."""
    mine = tmp_path / "mine"
    begun = mine / "runs" / final_run(copy.path, BOP, 1).name
    begun.mkdir(parents=True)
    (begun / "checkpoint.pt").write_text("mine")
    (mine / "cells").mkdir()
    (mine / "cells" / f"{BOP}.json").write_text("mine")
    assert adopted(copy.path, mine)[0].endswith(": 3 finished runs")
    assert os.listdir(begun) == ["checkpoint.pt"]
    assert (mine / "cells" / f"{BOP}.json").read_text() == "mine"
    assert names(mine)["runs"] == names(copy.path)["runs"]
    monkeypatch.setattr(adopt, "unpack", None)  # nothing is missing: nothing is unpacked
    assert adopted(copy.path, mine) == []


def test_an_adoption_that_was_killed_after_the_runs_takes_the_ledgers(
    tmp_path: Path, copy: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
):
    """Draws that are made again here may differ in their last digit, and with them the names of the runs."""
    adopted(copy.path, mine := tmp_path / "mine")
    for ledger in (mine / "cells").iterdir():
        ledger.unlink()
    assert adopted(copy.path, mine) == [f"adopted from {tmp_path / ARCHIVE}: the draws of 1 cell"]
    assert names(mine) == names(copy.path)
    monkeypatch.setattr(adopt, "unpack", None)
    assert adopted(copy.path, mine) == []


def test_what_a_killed_adoption_has_left_is_removed(tmp_path: Path, copy: ExperimentFolder):
    half = tmp_path / "new" / ASIDE / "runs"
    half.mkdir(parents=True)
    (half / "half").write_text("half")
    with adoption(None, tmp_path / "new", copy.plan(), {}) as nothing:
        assert os.listdir(tmp_path / "new") == [] and nothing.carry_out() == []
    half.parent.parent.joinpath("mine").mkdir()
    half.parent.symlink_to("mine")  # no link is followed
    with pytest.raises(OSError, match="it is a link"):
        adopted(copy.path, tmp_path / "new")


def test_a_plan_that_only_adds_adopts(tmp_path: Path, copy: ExperimentFolder):
    plan = copy.plan()
    (track,) = plan.tuning.tracks
    longer = replace(
        plan, tuning=replace(plan.tuning, tracks=[replace(track, trials=9)]), seeds=plan.seeds + 1
    )
    assert adopted(copy.path, tmp_path / "new", longer)[0].endswith(": 4 finished runs")


def test_of_more_studies_only_those_that_a_plan_has_are_adopted(tmp_path: Path):
    """As where a newcomer is placed with less than the baselines have."""
    tracks = [Track(name="random", trials=2, studies=2)]
    folder = write_experiment(
        tmp_path / "x", tasks=TASKS[:1], methods=("bop",), seeds=2, tracks=tracks, studies={"bop": 4}
    )
    plan = ExperimentFolder(folder).plan()
    (planned,) = plan.cells
    all_have = replace(plan, tuning=Tuning(tracks=[replace(tracks[0], studies=5)]))
    (cell,) = part_of(plan, replace(all_have, cells=[replace(planned, studies=None)])).cells
    assert cell.studies == 4
    for wanted, has in ((None, 2), (3, 3), (4, 4), (9, 4)):
        here = replace(plan, cells=[replace(planned, studies=wanted)])
        part = part_of(plan, here)
        (cell,) = part.cells
        assert part.tuning_of(cell).studies == has and changes(part, here) == ""
        assert bool(changes(plan, here)) == (has < 4)


def test_the_ledger_of_another_trial_is_not_adopted(
    tmp_path: Path, copy: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
):
    """As of a plugin that was edited, if such a plan counts as the same one: its draws are made again."""
    monkeypatch.setattr(adopt, "changes", lambda before, after: "")
    plan = copy.plan()
    (planned,) = plan.cells
    edited = replace(plan, cells=[replace(planned, trial=replace(planned.trial, plugin="edited"))])
    assert adopted(copy.path, tmp_path / "new", edited)[0].endswith(": 4 finished runs")
    assert names(tmp_path / "new")["cells"] == []


def other_protocol(plan: PlanRecord) -> PlanRecord:
    return replace(plan, protocol=PROTOCOL - 1)


def other_seed(plan: PlanRecord) -> PlanRecord:
    return replace(plan, tuning=replace(plan.tuning, seed=5))


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (other_protocol, None, f"made under protocol {PROTOCOL - 1}, this flipbench has {PROTOCOL}"),
        (None, other_seed, "they are of another plan: tuning.seed is 0, in the new plan it is 5"),
        (lambda plan: replace(plan, format=2), None, "its format is 2; this flipbench reads format"),
    ],
)
def test_runs_of_another_plan_are_not_adopted(
    tmp_path: Path,
    copy: ExperimentFolder,
    before: Callable[[PlanRecord], PlanRecord] | None,
    after: Callable[[PlanRecord], PlanRecord] | None,
    problem: str,
):
    plan = copy.plan()
    if before:
        value = read_json(copy.plan_path)
        changed = before(plan)
        write_json(copy.plan_path, {**value, "protocol": changed.protocol, "format": changed.format})
    (note,) = adopted(copy.path, tmp_path / "new", after(plan) if after else plan)
    assert note.startswith(f"{tmp_path / ARCHIVE}: its runs are not adopted: ") and problem in note
    assert names(tmp_path / "new") == {"runs": [], "cells": []}


def test_runs_on_other_images_are_not_adopted(tmp_path: Path, copy: ExperimentFolder):
    changed = replace(copy.data("digits"), sha256="another")
    (note,) = adopted(copy.path, tmp_path / "new", data=changed)
    assert "not adopted: the images of digits have changed since they were made" in note
    now, plan = copy.data("digits"), copy.plan()
    copy.data_path("digits").unlink()
    (tmp_path / ARCHIVE).unlink()
    (note,) = adopted(copy.path, tmp_path / "new", plan, now)
    assert "it does not hold the record of digits" in note
    assert names(tmp_path / "new") == {"runs": [], "cells": []}


def test_records_that_verify_refuses_are_an_error(tmp_path: Path, copy: ExperimentFolder):
    """Each file is whole, and they do not belong together."""
    run = RunFolder(final_run(copy.path, BOP, 1))
    trial = read_json(run.path / "trial.json")
    write_json(run.path / "trial.json", {**trial, "seed": 5})
    with pytest.raises(UserError) as raised:
        adopted(copy.path, tmp_path / "new")
    archive = tmp_path / ARCHIVE
    assert str(raised.value).startswith(f"{archive}: contradictory: runs/{run.path.name}/trial.json: ")
    assert f"\nTo train its runs here, move {archive} away, or add --no-adopt" in str(raised.value)
    assert names(tmp_path / "new") == {"runs": [], "cells": []} and len(os.listdir(tmp_path / "new")) == 2


def test_a_damaged_archive_is_an_error(tmp_path: Path, copy: ExperimentFolder):
    write_archive(copy.path, tmp_path / ARCHIVE)
    damage(tmp_path / ARCHIVE)
    with pytest.raises(UserError, match=rf"{ARCHIVE} is damaged: it ends too early\nTo train its runs here"):
        adopted(copy.path, tmp_path / "new")
    assert sorted(os.listdir(tmp_path / "new")) == ["cells", "runs"]


def test_a_disk_that_fills_while_adopting_leaves_whole_runs_only(
    tmp_path: Path, copy: ExperimentFolder, monkeypatch: pytest.MonkeyPatch
):
    """At each file that is unpacked, and at each name that a run or a ledger gets; then all are adopted."""
    left = 0
    copied, renamed = archive._Tar.copy, os.rename

    def take() -> None:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1

    def copy_to(tar: Any, each: Any, written: Any) -> None:
        take()
        copied(tar, each, written)

    def rename(ready: Path, place: Path) -> None:
        take()
        renamed(ready, place)

    monkeypatch.setattr(archive._Tar, "copy", copy_to)
    monkeypatch.setattr(os, "rename", rename)
    new = tmp_path / "new"
    write_archive(copy.path, tmp_path / ARCHIVE)
    files = len(archive.read_contents(tmp_path / ARCHIVE).files)
    room = 0
    while True:
        left = room
        try:
            adopted(copy.path, new)
        except WriteError as error:
            assert "No space left on device; free some space" in str(error)
            assert not (new / ASIDE).exists()
        else:
            break
        for run in (new / "runs").iterdir():
            assert content(run) == content(copy.path / "runs" / run.name)
        shutil.rmtree(new)
        room += 1
    everything = names(copy.path)
    assert names(new) == everything
    assert room == files + len(everything["runs"]) + len(everything["cells"])


def test_adopted_records_are_those_of_the_archive(tmp_path: Path, records: ExperimentFolder):
    """The sweep that adopts all of them trains nothing, and its records are the same."""
    write_archive(records.path, tmp_path / ARCHIVE)
    (tmp_path / "results").mkdir()
    for part in ("runs", "cells"):
        (tmp_path / "results" / part).mkdir()
    with adoption(tmp_path / ARCHIVE, tmp_path / "results", records.plan(), {}) as found:
        found.carry_out()
    swept(tmp_path, *CHANGES)
    assert records_of(tmp_path / "results") == records_of(records.path)
    assert Verification(tmp_path / "results").run().exit_code == 0
    for path in records.path.glob("runs/*/result.json"):  # which holds the seconds of its own training
        assert (tmp_path / "results" / path.relative_to(records.path)).read_bytes() == path.read_bytes()


def test_a_smaller_plan_adopts_its_part_and_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Fewer methods, studies and seeds: what is adopted are records of that plan, with nothing beyond it."""
    monkeypatch.setattr(os, "sync", lambda: None)
    swept(tmp_path, "methods=[bop, frozen]", "train.epochs=1", "tuning={trials: 2, studies: 2}", "seeds=2")
    whole = tmp_path / "results"
    before = ExperimentFolder(whole).plan()
    (track,) = before.tuning.tracks
    tuning = replace(before.tuning, tracks=[replace(track, studies=1)])
    bop = [cell for cell in before.cells if cell.cell == BOP]
    smaller = replace(before, cells=bop, tuning=tuning, seeds=1)
    new = tmp_path / "new"
    assert "is not in the new plan" in adopted(whole, new, smaller)[0]
    (note,) = adopted(whole, new, smaller, part=True)
    write_plan(new, smaller)
    shutil.copytree(whole / "data", new / "data")
    found = Verification(new).run()
    assert (found.exit_code, list(found.findings)) == (0, [])
    assert sorted(found.finished) == names(new)["runs"] and note.endswith(
        f": {len(found.finished)} finished runs"
    )
    assert names(new)["cells"] == [f"{BOP}.json"]
    fewer = replace(tuning, tracks=[replace(track, trials=1)])
    (refused,) = adopted(whole, tmp_path / "other", replace(smaller, tuning=fewer), part=True)
    assert "tuning.random.trials is 2, in the new plan it is 1" in refused

"""No name and no link leads a write out of its folder, and nothing that is opened waits."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from optimizers.core import Method, WeightRule
from report.build import build_report
from suite.records.codec import decode
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, owned, read_bytes, set_aside, write_atomically, written_whole
from suite.records.run import RunFolder
from suite.records.schema import FinalEntry, PlannedCell
from suite.sweep.coordinator import prepare_folder
from suite.sweep.optuna_log import OptunaLog
from tests.suite.records.test_records import ENVIRONMENT, FLIPS, LINES, RESULT, TRIAL
from tests.support.fake_records import data_record, planned_cell, write_experiment
from tests.support.tiny import tiny_plan


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file outside, to which links lead."""
    (tmp_path / "outside").mkdir()
    path = tmp_path / "outside" / "secret"
    path.write_text("mine")
    return path


def lock(folder: Path) -> None:
    with owned(folder):
        pass


def epoch(folder: Path) -> None:
    RunFolder(folder).append_epoch(LINES[0])


def run(folder: Path) -> None:
    run = RunFolder(folder)
    run.begin(TRIAL, ENVIRONMENT)
    run.finish(RESULT, LINES, FLIPS, np.zeros(1, np.uint8))


def log(folder: Path) -> None:
    OptunaLog(ExperimentFolder(folder))


TEMPORARY = f".x.json.{os.getpid()}.tmp"
WRITES: dict[str, Callable[[Path], None]] = {
    ".lock": lock,
    "epochs.jsonl": epoch,
    "trial.json": run,
    "result.json": run,
    "flips.npz": run,
    "optuna.log": log,
    TEMPORARY: lambda folder: write_atomically(folder / "x.json", b"{}"),
    "x.json": lambda folder: write_atomically(folder / "x.json", b"{}"),
}
IDS = ["temporary" if name == TEMPORARY else name for name in WRITES]  # alike in all processes of pytest


@pytest.mark.parametrize("name", WRITES, ids=IDS)
def test_a_link_in_a_files_place_is_never_written_through(tmp_path: Path, secret: Path, name: str) -> None:
    folder = tmp_path / "runs" / "id"
    folder.mkdir(parents=True)
    (folder / name).symlink_to(secret)
    try:
        WRITES[name](folder)
        assert not (folder / name).is_symlink()  # replaced, or set aside
    except OSError as error:
        assert str(error).startswith(f"cannot write {folder / name}: ") and "it is a link" in str(error)
    assert secret.read_text() == "mine" and os.listdir(secret.parent) == ["secret"]


@pytest.mark.parametrize("name", WRITES, ids=IDS)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_no_file_stops_a_write_with_its_name(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    folder = tmp_path / "runs" / "id"
    folder.mkdir(parents=True)
    make(folder / name)
    try:
        WRITES[name](folder)
    except OSError as error:
        words = str(error)
        assert words.startswith(f"cannot write {folder}/") and ("directory" in words or "not a file" in words)
        assert not [path for path in folder.glob("*.tmp") if path.is_file()]


@pytest.mark.parametrize("part", ["runs", "cells", "data", "report", "runs/0123456789abcdef"])
def test_a_link_in_a_folders_place_is_refused(tmp_path: Path, secret: Path, part: str) -> None:
    plan, folder = tiny_plan(tmp_path), tmp_path / "results"
    if part == "report":
        write_experiment(folder, tasks=(("digits", "mlp"),), methods=("bop",), seeds=1, trials=1)
    (folder / part).parent.mkdir(parents=True, exist_ok=True)
    (folder / part).symlink_to(secret.parent)
    with pytest.raises(OSError, match=f"cannot write {folder / part}: .*it is a link"):
        if part == "report":
            build_report(folder)
        elif "/" in part:
            with RunFolder(folder / part).owned():
                pass
        else:
            prepare_folder(plan, folder, {"digits": data_record("digits")})
    assert os.listdir(secret.parent) == ["secret"]


def test_the_folder_of_an_experiment_may_be_a_link(tmp_path: Path) -> None:
    """As one to a larger disk, made by the user."""
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    prepare_folder(tiny_plan(tmp_path), tmp_path / "results", {})
    with owned(tmp_path / "results") as mine:
        assert mine and (tmp_path / "disk" / "plan.json").exists()


def test_nothing_is_emptied_by_a_lock(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    os.link(tmp_path / "kept", tmp_path / ".lock")
    with owned(tmp_path) as mine:
        assert mine
    assert (tmp_path / "kept").read_text() == "mine"


def test_what_was_set_aside_stays(tmp_path: Path) -> None:
    for content in ("one", "two", "three"):
        (tmp_path / "x.json").write_text(content)
        set_aside(tmp_path / "x.json")
    assert sorted(os.listdir(tmp_path)) == ["x.json.2.damaged", "x.json.3.damaged", "x.json.damaged"]
    assert (tmp_path / "x.json.damaged").read_text() == "one"


def test_a_file_is_read_whole_and_never_waited_for(tmp_path: Path) -> None:
    with written_whole(tmp_path / "x") as file:
        file.write(b"a" * 1_000_000)
    assert read_bytes(tmp_path / "x") == b"a" * 1_000_000
    for path, words in (
        (tmp_path, "a folder"),
        (tmp_path / "x" / "y", "a file"),
        (Path("/dev/zero"), "a device"),
    ):
        with pytest.raises(DamagedRecord, match=words):
            read_bytes(path)
    with pytest.raises(FileNotFoundError):
        read_bytes(tmp_path / "absent")


@pytest.mark.parametrize("name", ["../../x", "a/b", "/etc/x", "..", ".x", "a\0b", "x" * 201, ""])
def test_no_name_in_a_record_or_of_a_method_leads_out(tmp_path: Path, name: str) -> None:
    cell = {"cell": name, "data": "d", "model": "m", "method": "b", "epochs": 1}
    trial = planned_cell("digits", "mlp", "bop").trial.as_json()
    with pytest.raises(DamagedRecord, match="cell: "):
        decode(PlannedCell, {**cell, "trial": trial}, tmp_path / "plan.json")
    with pytest.raises(DamagedRecord, match="run: "):
        decode(FinalEntry, {"number": 1, "run": name}, tmp_path / "x.json")

    def rule() -> WeightRule:
        raise NotImplementedError

    with pytest.raises(ValueError, match="needs a name of letters, digits"):
        Method(name, "", "", {}, rule)

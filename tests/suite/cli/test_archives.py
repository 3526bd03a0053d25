"""The archive of a published experiment: read as its folder is, and adopted by the sweep."""

import contextlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from suite.cli import console
from suite.experiment import files
from suite.experiment.files import published_archive
from suite.records.archive import ARCHIVE, write_archive
from tests.suite.cli.conftest import Flipbench
from tests.support.attempts import InlinePool, records_of
from tests.support.fake_records import damage

PUBLISHED = Path("results/published/tiny")


class HerePool(InlinePool, contextlib.AbstractContextManager[InlinePool]):
    """A pool that is opened and closed as the real one."""

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def archive(flipbench: Flipbench, tiny_records: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive of a finished sweep, published, and no other records. Sweeps run in this process."""

    def build(
        folder: Path,
        show: object = None,
        on_problem: Callable[[str], object] | None = None,
        target: Path | None = None,
    ) -> Path:
        page = (target or folder / "report") / "index.html"
        page.parent.mkdir(exist_ok=True)
        page.write_bytes((folder / "plan.json").read_bytes())
        return page

    report = ModuleType("report.build")  # the real one imports pandas, which takes seconds
    report.build_report = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "report.build", report)
    monkeypatch.setattr("suite.sweep.pool.LocalPool", lambda *_: HerePool())
    monkeypatch.setattr("os.sync", lambda: None)  # it waits for the disk of other processes
    PUBLISHED.mkdir(parents=True)
    shutil.copyfile(tiny_records / "plan.json", PUBLISHED / "plan.json")
    write_archive(tiny_records, PUBLISHED / ARCHIVE)
    return PUBLISHED / ARCHIVE


@pytest.mark.parametrize("command", ["status", "verify"])
def test_an_archive_is_read_as_its_folder_is(
    flipbench: Flipbench, tiny_records: Path, archive: Path, command: str
):
    of_folder = flipbench(command, str(tiny_records), "--json")
    assert of_folder.code == 0 and "records:" not in of_folder.err
    for name in ("tiny", "experiments/tiny.yaml", "published/tiny", str(PUBLISHED), str(archive)):
        assert flipbench(command, name, "--json") == (0, of_folder.out, f"records: {archive}\n")
    shutil.copytree(tiny_records, "results/tiny")
    shutil.rmtree("results/tiny/cells")  # the folder comes first, whatever it holds
    ended = flipbench(command, "tiny", "--json")
    assert ended.out != of_folder.out and ended.err == ""


def test_a_run_of_an_archive_can_be_trained_again(flipbench: Flipbench, archive: Path):
    ended = flipbench("verify", "tiny", "--replay", "1", "--draws")
    assert ended.code == 0 and "1 of 1 replayed runs gave the same bits" in ended.out
    drawn = re.search(
        r"^(\d+) settings of random search are drawn again as they were$", ended.out, re.MULTILINE
    )
    assert drawn and int(drawn[1]) > 0
    told = json.loads(flipbench("verify", "tiny", "--draws", "--json").out)
    assert told["drawn_again"] == int(drawn[1]) and told["exit_code"] == 0


@pytest.mark.parametrize("run", ["", "../.."])
def test_a_run_to_replay_must_exist(flipbench: Flipbench, archive: Path, run: str):
    """An empty name, as of an unset variable, is no wish to replay nothing."""
    ended = flipbench("verify", "tiny", "--replay", run)
    assert ended.code == 2 and "there is no such run" in ended.err


def test_the_report_of_an_archive_is_next_to_it(flipbench: Flipbench, archive: Path):
    page = PUBLISHED / "report" / "index.html"
    for _ in range(2):
        ended = flipbench("report", "tiny")
        assert ended.code == 0 and ended.out == f"report: {page}\n"
        assert page.read_bytes() == (PUBLISHED / "plan.json").read_bytes()
        shutil.rmtree(page.parent)
    damage(archive)
    ended = flipbench("report", "tiny")
    assert ended.code == 2 and f"error: {archive} is damaged: it ends too early" in ended.err
    assert not page.parent.exists()


def test_nobody_waits_for_an_archive_to_change(
    flipbench: Flipbench, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(console.out, "_force_terminal", True)
    ended = flipbench("status", "tiny", "--watch")
    assert ended.code == 2 and f"{archive}: an archive does not change" in ended.err


def test_a_sweep_adopts_the_archive(flipbench: Flipbench, tiny_records: Path, archive: Path):
    ended = flipbench("sweep", "tiny", "--device", "cpu", "--workers", "1")
    assert ended.code == 0 and f"adopted from {archive}: 12 finished runs" in ended.err
    folder = Path("results/tiny")
    assert records_of(folder) == records_of(tiny_records)
    for path in tiny_records.glob("runs/*/result.json"):  # it has the seconds of its own training
        assert (folder / path.relative_to(tiny_records)).read_bytes() == path.read_bytes()
    again = flipbench("sweep", "tiny", "--device", "cpu", "--workers", "1")
    assert again.code == 0 and "adopted" not in again.err


def test_a_plan_says_what_is_published(flipbench: Flipbench, archive: Path):
    ended = flipbench("plan", "tiny")
    assert ended.code == 0
    assert f"12 finished runs are in {archive}: a sweep begins with those of this plan" in ended.out
    archive.write_bytes(b"no archive")
    ended = flipbench("plan", "tiny")
    assert ended.code == 0 and f"{archive}: no run of it can be adopted: " in ended.out


def test_a_sweep_may_train_all_runs_itself(flipbench: Flipbench, tiny_records: Path, archive: Path):
    damage(archive)
    command = ("sweep", "tiny", "--device", "cpu", "--workers", "1")
    ended = flipbench(*command)
    assert ended.code == 2 and f"error: {archive} is damaged" in ended.err
    assert f"move {archive} away, or add --no-adopt" in ended.err and list(
        Path("results/tiny").iterdir()
    ) == [Path("results/tiny/.lock")]
    ended = flipbench("status", "tiny")  # the folder with nothing but a lock does not hide the archive
    assert ended.code == 2 and f"error: {archive} is damaged: it ends too early" in ended.err
    ended = flipbench(*command, "--no-adopt")
    assert ended.code == 0 and "adopted" not in ended.err
    assert records_of(Path("results/tiny")) == records_of(tiny_records)


@pytest.mark.parametrize("command", ["status", "verify", "report", "sweep"])
def test_what_is_no_file_is_no_archive(flipbench: Flipbench, archive: Path, command: str):
    archive.unlink()
    os.mkfifo(archive)
    ended = flipbench(command, "tiny")
    assert ended.code == 2 and f"error: {archive} is damaged: it is not a file" in ended.err


def test_where_the_archive_of_an_experiment_is(
    flipbench: Flipbench, archive: Path, monkeypatch: pytest.MonkeyPatch
):
    """In published/ of the folder of results, else in that of the project."""
    monkeypatch.setattr(files, "SHIPPED_RESULTS", shipped := Path("shipped"))
    assert published_archive("tiny", Path("results")) == archive
    assert published_archive("tiny", Path("elsewhere")) is None
    shutil.copytree("results", shipped)
    assert published_archive("tiny", Path("results")) == archive
    assert published_archive("tiny", Path("elsewhere")) == shipped / "published/tiny" / ARCHIVE
    assert flipbench("status", "tiny", "--results", "elsewhere").code == 0

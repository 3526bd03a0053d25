"""`publish` and `dashboard`: records for other people's eyes."""

import os
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from suite.cli import publish as publish_command
from suite.records.archive import ARCHIVE, unpacked
from suite.records.files import owned, read_json, write_json
from tests.suite.cli.conftest import Flipbench
from tests.support.attempts import records_of
from tests.support.fake_records import damage

TABLES = ["accuracy.csv", "plan.json", "report.md", "runs.csv", "tuning.csv"]
FILES = sorted([*TABLES, ARCHIVE])


def add_report(folder: Path, page: str) -> Path:
    """A report as `report` leaves it, each file with its name in it; `index.html` holds this page."""
    (folder / "report").mkdir(parents=True)
    for name in (*TABLES, "curves.csv", "accuracy.tex", "one.svg"):
        (folder / "report" / name).write_text(name)
    (folder / "report" / "index.html").write_text(page)
    return folder / "report" / "index.html"


@pytest.fixture
def reported(flipbench: Flipbench, tiny_records: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of results/tiny, which a report that does nothing would write; no browser."""
    shutil.copytree(tiny_records, "results/tiny")
    page = add_report(Path("results/tiny"), "<p>no drawing</p>")
    build = ModuleType("report.build")  # the real one imports pandas, which takes seconds
    build.build_report = lambda folder, show: folder / "report" / "index.html"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "report.build", build)
    monkeypatch.setattr(publish_command, "BROWSER", "no-such-browser")
    return page


def test_publish_copies_the_numbers_of_winners_on_other_tasks(flipbench: Flipbench, reported: Path):
    plan = read_json(Path("results/tiny/plan.json"))
    plan["tuning"]["transfer"] = ["digits.mlp"]
    write_json(Path("results/tiny/plan.json"), plan)
    (reported.parent / "transfer.csv").write_text("moved")
    assert flipbench("publish", "tiny").code == 0
    assert Path("results/published/tiny/transfer.csv").read_text() == "moved"


def test_publish_writes_the_records_and_copies_the_tables_but_not_the_page(
    flipbench: Flipbench, reported: Path
):
    target = Path("results/published/tiny")
    target.mkdir(parents=True)
    (target / "index.html").write_text("an older flipbench put it there")
    (target / "notes.md").write_text("mine")
    (target / "report.png").write_text("of other numbers")
    ended = flipbench("publish", "tiny")
    assert ended.code == 0 and f"published: {target} (12 finished runs in " in ended.out
    assert "no-such-browser is not installed: no picture" in ended.err
    assert sorted(path.name for path in target.iterdir()) == sorted([*FILES, "notes.md"])
    for name in TABLES:
        assert (target / name).read_bytes() == (
            reported.parent.parent / name if name == "plan.json" else reported.parent / name
        ).read_bytes()
    with unpacked(target / ARCHIVE) as folder:
        assert records_of(folder) == records_of(Path("results/tiny"))
    first = (target / ARCHIVE).read_bytes()
    assert flipbench("publish", "tiny").code == 0 and (target / ARCHIVE).read_bytes() == first


def test_only_whole_records_are_published(flipbench: Flipbench, reported: Path):
    (ledger,) = Path("results/tiny/cells").glob("*bop*")
    damage(ledger)
    ended = flipbench("publish", "tiny")
    assert ended.code == 2 and f"results/tiny: damaged: cells/{ledger.name}: " in ended.err
    assert not Path("results/published").exists()


def test_what_a_sweep_is_writing_is_not_published(flipbench: Flipbench, reported: Path):
    with owned(Path("results/tiny")):
        ended = flipbench("publish", "tiny")
    assert ended.code == 2 and "a sweep works in this folder" in ended.err
    assert not Path("results/published").exists()


def test_publish_takes_no_run_away_from_an_archive(flipbench: Flipbench, reported: Path):
    """It may hold the runs of another machine."""
    flipbench("publish", "tiny")
    archive = Path("results/published/tiny", ARCHIVE)
    before = archive.read_bytes()
    run = next(Path("results/tiny/runs").iterdir())
    (run / "result.json").unlink()
    ended = flipbench("publish", "tiny")
    assert (
        ended.code == 2
        and "it holds 1 finished runs that are not in results/tiny. A sweep adopts" in ended.err
    )
    assert archive.read_bytes() == before


@pytest.mark.parametrize("name", ["claims/tiny", "paper/tiny"])
def test_each_experiment_is_published_in_a_place_of_its_own(
    flipbench: Flipbench, reported: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    shutil.copytree("results/tiny", Path("results", name))
    assert flipbench("publish", name).code == 0
    assert sorted(os.listdir(Path("results/published", name))) == FILES
    monkeypatch.chdir(Path("results", name))  # `.` has no name, and is no reason to write elsewhere
    assert flipbench("publish", ".", "--results", "../..").code == 0
    assert os.listdir(flipbench.folder / "results" / "published") == [name.split("/")[0]]


def test_publish_writes_through_no_link(flipbench: Flipbench, reported: Path):
    target = Path("results/published/tiny")
    target.mkdir(parents=True)
    Path("mine").write_text("mine")
    (target / "runs.csv").symlink_to(Path("mine").resolve())
    assert flipbench("publish", "tiny").code == 0
    assert Path("mine").read_text() == "mine" and (target / "runs.csv").read_text() == "runs.csv"


def test_a_report_of_damaged_records_is_written_and_ends_with_2(
    flipbench: Flipbench, reported: Path, monkeypatch: pytest.MonkeyPatch
):
    def build(folder: Path, show: object, on_problem: Callable[[str], object], target: Path) -> Path:
        for number in range(20):
            on_problem(f"runs/{number}/result.json: seed is 1, in the plan it is 2")
        return reported

    monkeypatch.setattr(sys.modules["report.build"], "build_report", build)
    ended = flipbench("report", "tiny")
    assert ended.code == 2 and ended.out == f"report: {reported}\n" and "20 damaged" in ended.err
    assert "damaged: runs/9/result.json: seed is 1, in the plan it is 2\n" in ended.err


def test_results_in_the_place_of_an_older_flipbench_are_named(flipbench: Flipbench, reported: Path):
    for command in ("report", "status", "verify", "publish", "dashboard"):
        ended = flipbench(command, "paper/tiny")
        assert ended.code == 2 and "results/paper/tiny does not exist. results/tiny does" in ended.err


def test_publish_copies_no_drawing_also_if_the_page_refers_to_one(flipbench: Flipbench, reported: Path):
    reported.write_text('<img src="one.svg">')
    assert flipbench("publish", "tiny").code == 0
    assert {path.name for path in Path("results/published/tiny").iterdir()} == {*FILES}


@pytest.mark.parametrize(("end", "failed"), [("exit 0", False), ("exit 1", True), ("exec sleep 60", True)])
def test_publish_takes_a_picture_where_there_is_a_browser(
    flipbench: Flipbench, reported: Path, monkeypatch: pytest.MonkeyPatch, end: str, failed: bool
):
    browser = Path("browser")
    browser.write_text(f'#!/bin/sh\necho "$@" > arguments\n{end}\n')
    browser.chmod(0o755)
    monkeypatch.setattr(publish_command, "BROWSER", str(browser.resolve()))
    monkeypatch.setattr(publish_command, "SECONDS", 2)
    (old := Path("results/published/tiny/report.png")).parent.mkdir(parents=True)
    old.write_bytes(b"of other numbers")
    ended = flipbench("publish", "tiny")
    assert not old.exists()
    arguments = Path("arguments").read_text().split()
    assert "--screenshot=results/published/tiny/report.png" in arguments
    assert arguments[-1] == reported.resolve().as_uri()
    assert ended.code == 0 and ("took no picture" in ended.err) == failed


# ---- dashboard


def test_the_dashboard_serves_the_log_to_this_machine_and_changes_nothing(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    import optuna
    import optuna_dashboard
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    log = Path("results/tiny/optuna.log")
    log.parent.mkdir(parents=True)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    optuna.create_study(storage=JournalStorage(JournalFileBackend(str(log))), study_name="digits.mlp.bop")
    before, served = log.read_bytes(), []
    monkeypatch.setattr(
        optuna_dashboard, "run_server", lambda storage, **where: served.append((storage, where))
    )
    ended = flipbench("dashboard", "tiny", "--port", "8123")
    assert ended.code == 0 and "http://127.0.0.1:8123 shows results/tiny/optuna.log" in ended.err
    ((storage, where),) = served
    assert where == {"host": "127.0.0.1", "port": 8123}
    (study,) = storage.get_all_studies()
    assert study.study_name == "digits.mlp.bop"
    with pytest.raises(PermissionError, match="belongs to the sweep"):
        storage.delete_study(study._study_id)
    assert log.read_bytes() == before and flipbench.files()[-1] == str(log)


def test_a_port_that_is_taken_is_named(flipbench: Flipbench):
    log = Path("results/tiny/optuna.log")
    log.parent.mkdir(parents=True)
    log.touch()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = flipbench("dashboard", "tiny", "--port", port)
    assert ended.code == 2 and f"--port {port}: Address already in use; choose another one" in ended.err


def test_a_dashboard_that_is_not_installed(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch):
    log = Path("results/tiny/optuna.log")
    log.parent.mkdir(parents=True)
    log.touch()
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    ended = flipbench("dashboard", "tiny")
    assert ended.code == 2 and "optuna-dashboard is not installed; it is the extra `dashboard`" in ended.err

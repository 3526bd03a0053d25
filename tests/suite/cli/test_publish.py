"""`publish` and `dashboard`: records for other people's eyes."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from suite.cli import publish as publish_command
from tests.suite.cli.conftest import Flipbench

TABLES = ["accuracy.csv", "plan.json", "report.md", "runs.csv", "tuning.csv"]


def write_report(folder: Path, page: str) -> Path:
    """A folder as `report` leaves it, each file with its name in it; `index.html` holds this page."""
    (folder / "report").mkdir(parents=True)
    (folder / "plan.json").write_text("plan.json")
    for name in (*TABLES, "curves.csv", "accuracy.tex", "one.svg"):
        if name != "plan.json":
            (folder / "report" / name).write_text(name)
    (folder / "report" / "index.html").write_text(page)
    return folder / "report" / "index.html"


@pytest.fixture
def reported(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The page of results/tiny, which a report that does nothing would write; no browser."""
    page = write_report(Path("results/tiny"), "<p>no drawing</p>")
    build = ModuleType("report.build")  # the real one imports pandas, which takes seconds
    build.build_report = lambda folder, show: folder / "report" / "index.html"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "report.build", build)
    monkeypatch.setattr(publish_command, "BROWSER", "no-such-browser")
    return page


def test_publish_copies_the_tables_but_not_the_page(flipbench: Flipbench, reported: Path):
    ended = flipbench("publish", "tiny")
    target = Path("results/published/tiny")
    assert ended.code == 0 and f"published: {target}" in ended.out
    assert "no-such-browser is not installed: no picture" in ended.err
    assert sorted(path.name for path in target.iterdir()) == TABLES
    assert all(path.read_text() == path.name for path in target.iterdir())


@pytest.mark.parametrize("name", ["claims/tiny", "paper/tiny"])
def test_each_experiment_is_published_in_a_place_of_its_own(
    flipbench: Flipbench, reported: Path, name: str, monkeypatch: pytest.MonkeyPatch
):
    write_report(Path("results", name), "<p>no drawing</p>")
    assert flipbench("publish", name).code == 0
    assert sorted(os.listdir(Path("results/published", name))) == TABLES
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
    def build(folder: Path, show: object, on_problem: Callable[[str], object]) -> Path:
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


def test_publish_copies_the_drawings_that_the_page_refers_to(flipbench: Flipbench, reported: Path):
    reported.write_text('<img src="one.svg">')
    assert flipbench("publish", "tiny").code == 0
    target = Path("results/published/tiny")
    assert sorted(path.name for path in target.iterdir()) == sorted([*TABLES, "one.svg"])


@pytest.mark.parametrize(("end", "failed"), [("exit 0", False), ("exit 1", True), ("exec sleep 60", True)])
def test_publish_takes_a_picture_where_there_is_a_browser(
    flipbench: Flipbench, reported: Path, monkeypatch: pytest.MonkeyPatch, end: str, failed: bool
):
    browser = Path("browser")
    browser.write_text(f'#!/bin/sh\necho "$@" > arguments\n{end}\n')
    browser.chmod(0o755)
    monkeypatch.setattr(publish_command, "BROWSER", str(browser.resolve()))
    monkeypatch.setattr(publish_command, "SECONDS", 2)
    ended = flipbench("publish", "tiny")
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


def test_a_dashboard_that_is_not_installed(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch):
    log = Path("results/tiny/optuna.log")
    log.parent.mkdir(parents=True)
    log.touch()
    monkeypatch.setitem(sys.modules, "optuna_dashboard", None)
    ended = flipbench("dashboard", "tiny")
    assert ended.code == 2 and "optuna-dashboard is not installed; it is the extra `dashboard`" in ended.err

"""Costs grow with the number of runs and not with its square: operations are counted, nothing is timed.

Each experiment is measured at three sizes, every one twice the last. Of a linear cost the second step is
twice the first, whatever is fixed in it; of a quadratic one it is four times.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

from bench.untrained import InstantPool, sweep, write_spec
from report.build import build_report
from report.draw.axes import evenly
from report.draw.svg import Picture
from report.page.coverage import coverage_table
from report.read.experiment import read_records
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.sweep.coordinator import Sweep, prepare_folder
from tests.support import fake_records
from tests.support.fake_records import TASKS, fail, write_experiment
from tests.support.paths import ROOT

OURS = (f"{ROOT / 'suite'}/", f"{ROOT / 'report'}/")
METHODS = ("bop", "latent_sgd")


def operations(run: Callable[[], object]) -> int:
    """Bytecodes that `run` executes in the code of suite and report, libraries left out."""
    count = 0

    def local(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        count += event == "opcode"
        return local

    def called(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(OURS):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        return local

    before = sys.gettrace()
    sys.settrace(called)
    try:
        run()
    finally:
        sys.settrace(before)
    return count


def growth(costs: list[int]) -> float:
    """How many times the first step the second is, of costs at three sizes that double."""
    first, second, third = costs
    assert first < second
    return (third - second) / (second - first)


SIZES = (2, 4, 8)
LINEAR = 2.1  # 2 for a linear cost, 4 for a quadratic one


class Opened:
    """Counts the files that are opened in a folder. There is one: an audit hook cannot be removed."""

    def __init__(self) -> None:
        self.folder, self.count = "", 0
        sys.addaudithook(self.count_opened)

    def count_opened(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self.folder and str(arguments[0]).startswith(self.folder):
            self.count += 1

    def during(self, folder: Path, run: Callable[[], object]) -> int:
        self.folder, self.count = f"{folder}/", 0
        run()
        self.folder = ""
        return self.count


OPENED = Opened()


def without_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task has so many drawings, however many runs; matplotlib would take most of the test's time."""
    monkeypatch.setattr("report.draw.svg.rendered", lambda *_: b'<svg viewBox="0 0 4 3"></svg>')


@pytest.mark.parametrize("shape", ["more runs of a cell", "more tasks"])
def test_the_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shape: str) -> None:
    without_drawing(monkeypatch)
    counted, opened = [], []
    for size in SIZES:
        tasks = (
            TASKS[:1]
            if shape == "more runs of a cell"
            else tuple(("digits", f"mlp-{n}") for n in range(size))
        )
        trials, seeds = (3 * size, size) if shape == "more runs of a cell" else (3, 1)
        folder = write_experiment(
            tmp_path / str(size), tasks=tasks, methods=METHODS, trials=trials, seeds=seeds
        )
        if not counted:
            build_report(folder)  # what is made once, and kept, is made before it is counted

        def build(folder: Path = folder) -> None:
            counted.append(operations(lambda: build_report(folder)))

        opened.append(OPENED.during(folder / "runs", build))
        # result, trial and environment of each run; epochs, flips and test images of the winners' final ones
        assert opened[-1] == len(tasks) * len(METHODS) * (3 * (trials + 2 * seeds) + 3 * seeds)
    assert growth(counted) < LINEAR


@pytest.mark.parametrize("shape", ["more runs of a cell", "more tasks"])
def test_plan_and_resume(tmp_path: Path, shape: str) -> None:
    plans, resumes, opened = [], [], []
    for size in SIZES:
        here = tmp_path / str(size)
        here.mkdir()
        tasks, trials, seeds = (1, 3 * size, size) if shape == "more runs of a cell" else (size, 3, 1)
        path = write_spec(here, tasks=tasks, trials=trials, seeds=seeds, variants=1)
        plan = sweep(path, here)
        folder, pool = here / plan.name, InstantPool()

        def resume(folder: Path = folder, path: Path = path, pool: InstantPool = pool) -> None:
            again = make_plan(ExperimentFile(path))
            prepare_folder(again, folder, {})
            assert Sweep(again, folder, pool).run()

        def resume_counted(resume: Callable[[], None] = resume) -> None:
            resumes.append(operations(resume))

        plans.append(operations(lambda path=path: make_plan(ExperimentFile(path)).record))
        opened.append(OPENED.during(folder, resume_counted) / plan.runs)
        assert pool.submitted == 0
    assert growth(resumes) < LINEAR
    assert max(opened) <= opened[0]  # files for each run: what there is once for each cell is shared by more
    if shape == "more tasks":
        assert growth(plans) < LINEAR
    else:
        assert len(set(plans)) == 1  # a plan names cells, not runs


def test_a_large_experiment_has_a_page_that_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawings in files beside the page, long tables cut; runs.csv has every run."""
    without_drawing(monkeypatch)
    tasks = tuple(("digits", f"mlp-{n}") for n in range(7))
    folder = write_experiment(tmp_path, tasks=tasks, methods=METHODS, trials=1, seeds=8)
    for run in (folder / "runs").iterdir():
        if (run / "flips.npz").exists() and len(list((folder / "runs").glob("*/failure.json"))) < 110:
            fail(run)
    page = build_report(folder).read_text(encoding="utf-8")
    drawings = {path.name for path in (folder / "report").glob("*.svg")}
    assert {part.split('"')[0] for part in page.split('<img loading="lazy" src="')[1:]} == drawings
    assert page.count("<svg") == 2 * len(
        METHODS
    )  # the marks of the methods alone, in their list and at their switches
    assert "120 more are in runs.csv." in page  # each is a run of the winner and of the published default
    assert len((folder / "report" / "runs.csv").read_text(encoding="utf-8").splitlines()) == 1 + 7 * 2 * (
        1 + 2 * 8
    )


def test_many_cells_are_counted_by_method(tmp_path: Path) -> None:
    tasks = tuple(("digits", f"mlp-{n}") for n in range(51))
    folder = write_experiment(tmp_path, tasks=tasks, methods=METHODS, trials=1, seeds=1)
    table = coverage_table(read_records(folder))
    assert [row[:5] for row in table.rows if row[2] == "tuning"] == [
        ["all 51 tasks", method, "tuning", "51", "51"] for method in METHODS
    ]


def marks(folder: Path, drawing: str) -> int:
    """Marks and points of lines in a drawing."""
    svg = (folder / "report" / f"{drawing}-digits.mlp.svg").read_text(encoding="utf-8")
    return svg.count("<use") + svg.count("\nL ") + svg.count("\nM ")


def test_a_drawing_of_many_runs_has_no_more_marks_than_one_can_see(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fake_records, "EPOCHS", 6)
    monkeypatch.setattr(Picture, "pdf", lambda _: b"%PDF")  # drawn a second time
    few = write_experiment(tmp_path / "few", tasks=TASKS[:1], methods=METHODS, trials=101, seeds=31)
    many = write_experiment(tmp_path / "many", tasks=TASKS[:1], methods=METHODS, trials=202, seeds=62)
    for folder in (few, many):
        build_report(folder)
    for drawing in ("accuracy", "validation", "flips", "ease", "budget"):
        assert abs(marks(many, drawing) - marks(few, drawing)) <= 0.1 * marks(few, drawing), drawing
    page = (many / "report" / "index.html").read_text(encoding="utf-8")
    assert "all runs (thin line) and their middle half (thick line)" in page


@pytest.mark.parametrize(("count", "most"), [(0, 5), (1, 5), (5, 5), (6, 5), (1000, 7)])
def test_evenly(count: int, most: int) -> None:
    places = evenly(count, most).tolist()
    assert len(places) == min(count, most)
    assert places[:1] == [0][:count]
    assert places[-1:] == [count - 1][:count]
    gaps = np.diff(places)
    assert len(gaps) == 0 or gaps.max() - gaps.min() <= 1

"""The screen of a sweep that is no terminal: counts, and a line for each thing that a person should know."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from suite.cli.views.progress import SweepProgress
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.records.schema import BytesPerWeight, Failure, Result, Scores
from suite.records.trial import Trial
from suite.sweep.messages import Busy, Done, EpochDone, Failed, Kept, Lost, Preempted
from tests.suite.cli.conftest import TINY

RESULT = Result(
    status="done",
    epochs=3,
    steps=6,
    scores=Scores(val_loss=1.0, val_top1=0.5, val_top5=0.9),
    layers=[],
    binary_weights=1,
    real_parameters=1,
    bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=0.0),
)


@pytest.fixture
def progress_of_a_trial(tmp_path: Path) -> tuple[SweepProgress, Trial]:
    """Of two cells with two tuning trials and four final runs each, three epochs every run."""
    (tmp_path / "tiny.yaml").write_text(TINY.replace("epochs: 1", "epochs: 3"))
    plan = make_plan(ExperimentFile(tmp_path / "tiny.yaml"))
    cell = plan.cells[0]
    return SweepProgress(plan), cell.trial(cell.published, 7, "tune")


def test_a_plan_is_counted(tmp_path: Path):
    (tmp_path / "tiny.yaml").write_text(TINY.replace("epochs: 1", "epochs: 3"))
    plan = make_plan(ExperimentFile(tmp_path / "tiny.yaml"))
    for tuning_only, runs in ((False, 12), (True, 4)):
        progress = SweepProgress(plan, tuning_only=tuning_only)
        assert (progress.runs, progress.epochs) == (runs, 3 * runs)


def test_the_bar_counts_each_epoch_of_a_run_once(progress_of_a_trial: tuple[SweepProgress, Trial]):
    progress, trial = progress_of_a_trial
    run, failure = trial.run_id, Failure(kind="error", error="ValueError: no")
    steps = [
        (EpochDone(run, 1), 1), (EpochDone(run, 2), 2), (Preempted(run, ""), 2), (EpochDone(run, 3), 3),
        (Done(run, RESULT), 3), (Kept(run), 6),  # of another cell, or where the default won
        (Kept("another"), 9), (Failed("a third", failure), 12), (Busy("a fourth"), 12),
    ]  # fmt: skip
    for message, epochs in steps:
        progress.on_message(message, trial, "a.cell")
        assert progress.bar.tasks[0].completed == epochs
    assert (progress.finished, progress.failed) == (4, 1)
    assert progress.bar.tasks[0].description == "4/12 runs, 1 failed"


def test_lines_for_a_person(
    progress_of_a_trial: tuple[SweepProgress, Trial],
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
):
    progress, trial = progress_of_a_trial
    run, failure = trial.run_id, Failure(kind="error", error="ValueError: [no]")
    for message in (
        EpochDone(run, 1), Kept(run), Done(run, RESULT), Done(run, replace(RESULT, status="diverged")),
        Done(run, RESULT, "one file was damaged"),
        Kept(run, "made with another version"), Lost(run, failure), Failed(run, failure), Failed(run, None),
        Busy(run), Preempted(run, "stopped after step 3"),
    ):  # fmt: skip
        progress.on_message(message, trial, "digits.small.adam")
    progress.on_note("plan.json: brought up to date")
    name = f"digits.small.adam tune seed 7 ({run})"
    first, second, *lines = capfd.readouterr().err.splitlines()
    assert re.fullmatch(rf"\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d  2/12 runs  {re.escape(name)}", first)
    assert second.endswith(f"  3/12 runs  {name}: diverged")
    assert lines == [
        f"done {name}: one file was damaged",
        f"kept {name}: made with another version",
        f"lost {name}: ValueError: [no]; it is run again",
        f"failed {name}: ValueError: [no]",
        f"busy {name}: another process has this run; waiting for it",
        f"preempted {name}: stopped after step 3",
        "plan.json: brought up to date",
    ]

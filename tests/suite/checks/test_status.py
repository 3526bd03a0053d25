"""`status` reads from the records alone how far a sweep has come, and disturbs nobody."""

import dataclasses
import fcntl
import io
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from suite.checks.status import Observer, Running, Status
from suite.cli.main import app
from suite.cli.views.status import picture, watch_status
from suite.records.codec import decode, encode
from suite.records.files import DamagedRecord, is_owned, owned, read_json, write_json
from suite.records.run import RunFolder
from suite.records.schema import (
    FORMAT,
    BytesPerWeight,
    DataSizes,
    DefaultEntry,
    Environment,
    EpochLine,
    Failure,
    FinalEntry,
    FlipCounts,
    GitState,
    Layer,
    Ledger,
    MethodCard,
    MethodFile,
    PlannedCell,
    PlanRecord,
    Result,
    Scores,
    StudyEntry,
    Track,
    Tuning,
    TuningEntry,
    Winner,
)
from suite.records.seeds import final_seed, tuning_seed
from suite.records.trial import PROTOCOL, Choice, TrainSettings, Trial
from tests.support.paths import ROOT

SECONDS = {"bop": 2.0, "adam": 4.0}  # per epoch
TRIALS, SEEDS, EPOCHS, WINNER = 4, [1001, 1002], 10, 1
DEFAULTS = [2001, 2002]
CARD = MethodCard(method="bop", paper="", summary="", latent_free=True, control=False, hypers={})


TRIAL = Trial(
    stage="final",
    data=Choice("d", {}),
    model=Choice("m", {}),
    method=Choice("bop", {"gamma": 1e-4}),
    real_lr=0.01,
    train=TrainSettings(
        epochs=EPOCHS,
        batch_size=50,
        batch_parts=1,
        augment="none",
        reestimate_batch_norm=False,
        precision="float32",
    ),
    seed=final_seed(0, 0, 0),
)
ENVIRONMENT = Environment(
    git=GitState(commit=None, dirty=None),
    versions={},
    method_file=MethodFile(name="bop.py", sha256="0"),
    device="cpu",
    device_name="A CPU",
    threads=1,
    host="here",
    platform="Linux",
)
RESULT = Result(
    status="done",
    epochs=EPOCHS,
    steps=EPOCHS,
    scores=Scores(val_loss=1.0, val_top1=0.5, val_top5=1.0),
    layers=[Layer(name="layer", weights=2)],
    binary_weights=2,
    real_parameters=1,
    bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=4.0),
)


def epoch_line(epoch: int, seconds: float) -> EpochLine:
    none = [0]
    flips = FlipCounts(
        flips=none, undone_1=none, undone_2=none, undone_5=none, undone_10=none, never=none, distance=none
    )
    scores = {"train_loss": 1.0, "train_top1": 0.5, "val_loss": 1.0, "val_top1": 0.5, "val_top5": 1.0}
    return EpochLine(epoch=epoch, step=epoch, flips=flips, train_seconds=seconds, seconds=seconds, **scores)


def trial_of(name: str) -> Trial:
    """The trial of `bop-2`, a tuning trial of that cell, or of `bop-1001`, its first final run.

    `bop-2001` is the first final run of the published default.
    """
    method, number = name.split("-")[0], int(name.split("-")[1])
    chosen = WINNER if number in SEEDS else 0 if number in DEFAULTS else number
    like = dataclasses.replace(TRIAL, method=Choice(method, hypers_of(chosen)))
    if number in (*SEEDS, *DEFAULTS):
        return dataclasses.replace(like, seed=final_seed(0, 0, number % 1000 - 1))
    return dataclasses.replace(like, seed=tuning_seed(0, f"d.m.{method}", "random", 0), stage="tune")


def hypers_of(number: int) -> dict[str, Any]:
    return {"gamma": 1e-4 * (number + 1)}


def at(name: str) -> str:
    """The folder of a run below that of the experiment."""
    return f"runs/{trial_of(name).run_id}"


def write_run(folder: Path, name: str, val_top1: float, seconds: float, **changes: Any) -> None:
    run = RunFolder(folder / at(name))
    run.begin(trial_of(name), ENVIRONMENT)
    scores = Scores(val_loss=1.0, val_top1=val_top1, val_top5=1.0)
    result = dataclasses.replace(RESULT, scores=scores, seconds=seconds, **changes)
    run.finish(result, [], np.zeros((0, 1), np.int32))


def begin_run(folder: Path, name: str, epochs: int, seconds: float) -> Path:
    run = RunFolder(folder / at(name))
    run.begin(trial_of(name), ENVIRONMENT, [epoch_line(number, seconds) for number in range(1, epochs + 1)])
    return run.path


def planned_cell(method: str) -> PlannedCell:
    trial = dataclasses.replace(TRIAL, method=Choice(method, hypers_of(0)))
    return PlannedCell(cell=f"d.m.{method}", data="d", model="m", method=method, epochs=EPOCHS, trial=trial)


def write_ledger(folder: Path, method: str, finals: list[int]) -> None:
    tuning = [
        TuningEntry(
            number=number,
            run=trial_of(f"{method}-{number}").run_id,
            hypers={**hypers_of(number), "real.lr": 0.01},
        )
        for number in range(TRIALS)
    ]
    winner = Winner(number=WINNER, value=0.75, hypers=tuning[WINNER].hypers) if finals else None
    final = [
        FinalEntry(number=number, run=trial_of(f"{method}-{seed}").run_id)
        for number, seed in enumerate(finals)
    ]
    default = [
        DefaultEntry(study=0, number=number, run=trial_of(f"{method}-{seed}").run_id)
        for number, seed in enumerate(DEFAULTS)
    ]
    study = StudyEntry(track="random", number=0, key="", tuning=tuning, winner=winner, final=final)
    ledger = Ledger(cell=f"d.m.{method}", studies=[study], default=default)
    write_json(folder / "cells" / f"d.m.{method}.json", encode(ledger))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep that stopped: bop is tuned and in its final runs, adam in its tuning.

    bop: 4 trials done, one of them diverged after 3 epochs; seed 1001 after 5 of 10 epochs.
    adam: trial 0 done, trial 1 failed, trial 2 after 2 epochs, trial 3 not begun.
    """
    (tmp_path / "cells").mkdir()
    plan = PlanRecord(
        format=FORMAT,
        protocol=PROTOCOL,
        experiment="demo",
        summary="",
        yaml="",
        tuning=Tuning(tracks=[Track(name="random", trials=TRIALS)]),
        seeds=len(SEEDS),
        methods=dict.fromkeys(SECONDS, CARD),
        data={"d": DataSizes(classes=10, shape=[1, 8, 8], train=100, val=10, test=10, bytes=7040)},
        cells=[planned_cell(method) for method in SECONDS],
    )
    write_json(tmp_path / "plan.json", encode(plan))
    write_ledger(tmp_path, "bop", SEEDS)
    write_ledger(tmp_path, "adam", [])
    for number, score in enumerate((0.5, 0.75, 0.625)):
        write_run(tmp_path, f"bop-{number}", score, 10 * SECONDS["bop"])
    write_run(tmp_path, "bop-3", 0.1, 3 * SECONDS["bop"], status="diverged", epochs=3)
    begin_run(tmp_path, "bop-1001", 5, SECONDS["bop"])
    write_run(tmp_path, "adam-0", 0.375, 10 * SECONDS["adam"])
    RunFolder(tmp_path / at("adam-1")).fail(Failure(kind="error", error="ValueError: no such luck"))
    begin_run(tmp_path, "adam-2", 2, SECONDS["adam"])
    return tmp_path


@contextmanager
def held(*folders: Path) -> Iterator[None]:
    """Another process owns these folders."""
    script = (
        "import sys\nfrom contextlib import ExitStack\nfrom pathlib import Path\n"
        "from suite.records.files import owned\n"
        "with ExitStack() as stack:\n"
        "    assert all(stack.enter_context(owned(Path(each))) for each in sys.argv[1:])\n"
        "    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, *map(str, folders)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        yield
        holder.communicate()


def text_of(status: Status) -> str:
    console = Console(file=io.StringIO(), width=140)
    console.print(picture(status))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


# ---- counts


def test_a_stopped_sweep(folder: Path) -> None:
    status = Observer(folder).look()
    assert (status.experiment, status.working, status.running, status.settled) == ("demo", False, [], False)
    bop, adam = status.cells
    assert (bop.tuning, bop.final, bop.failed, bop.diverged) == (4, 0, 0, 1)
    assert (adam.tuning, adam.final, adam.failed, adam.diverged) == (1, 0, 1, 0)
    assert (bop.best_val_top1, adam.best_val_top1) == (0.75, 0.375)
    assert (bop.tuning_planned, bop.final_planned, bop.epochs_planned) == (4, 2, 80)
    assert (bop.epochs, adam.epochs) == (4 * 10 + 5, 10 + 2)  # diverged: its budget is spent
    assert (bop.seconds_per_epoch, adam.seconds_per_epoch) == (2.0, 4.0)
    # bop lacks 15 epochs and the default's 20; adam 80 - 12, less the ten of the failed run
    assert status.work_left_seconds == 35 * 2.0 + 58 * 4.0 and not status.epochs_per_minute
    shown = text_of(status)
    for words in ("demo: no sweep works", "75.00 %", "5 of 16 runs, 57 of 160 epochs", "about 5 min of work"):
        assert words in shown


def test_a_sweep_at_work(folder: Path) -> None:
    with held(folder, folder / at("bop-1001"), folder / at("adam-2")):
        status = Observer(folder).look()
    assert status.working and status.running == [
        Running("d.m.bop", "random study 0 seed 0", trial_of("bop-1001").run_id, 5, 10),
        Running("d.m.adam", "random study 0 trial 2", trial_of("adam-2").run_id, 2, 10),
    ]
    assert status.epochs_per_minute == 60 / 2.0 + 60 / 4.0
    shown = text_of(status)
    for words in (
        "a sweep works in this folder",
        "d.m.adam random study 0 trial 2: epoch 2 of 10",
        "45 epochs per minute",
    ):
        assert words in shown
    assert "about 3 min left with 2 runs at once" in shown
    assert not Observer(folder).look().working


def test_a_run_in_two_places_is_running_once(folder: Path) -> None:
    """The published default has won: its final runs are the winner's."""
    shutil.rmtree(folder / at("bop-0"))
    write_run(folder, "bop-0", 0.9, 10 * SECONDS["bop"])
    path = folder / "cells" / "d.m.bop.json"
    ledger = decode(Ledger, read_json(path), path)
    (study,) = ledger.studies
    winner = Winner(number=0, value=0.9, hypers=study.tuning[0].hypers)
    final = [FinalEntry(number=each.number, run=each.run) for each in ledger.default]
    study = dataclasses.replace(study, winner=winner, final=final)
    write_json(path, encode(dataclasses.replace(ledger, studies=[study])))
    begin_run(folder, "bop-2001", 3, SECONDS["bop"])
    with held(folder / at("bop-2001")):
        status = Observer(folder).look()
    assert [run.which for run in status.running] == ["random study 0 seed 0"] and status.damaged == []
    assert status.epochs_per_minute == 60 / SECONDS["bop"]


def test_a_failed_run_that_is_tried_again_is_running(folder: Path) -> None:
    with held(folder / at("adam-1")):
        status = Observer(folder).look()
    assert status.cells[1].failed == 0 and [run.which for run in status.running] == ["random study 0 trial 1"]


def test_a_cell_without_an_epoch_is_as_fast_as_the_others(folder: Path) -> None:
    for run in ("adam-0", "adam-1", "adam-2"):
        shutil.rmtree(folder / at(run))
    status = Observer(folder).look()
    assert status.work_left_seconds == 35 * 2.0 + 80 * 2.0
    shutil.rmtree(folder / "runs")
    status = Observer(folder).look()
    assert status.work_left_seconds is None and "0 of 16 runs, 0 of 160 epochs" in text_of(status)


def test_the_end(folder: Path) -> None:
    write_ledger(folder, "adam", SEEDS)
    finals = [f"{method}-{number}" for method in SECONDS for number in (*SEEDS, *DEFAULTS)]
    for name in ("adam-2", "adam-3", *finals):
        write_run(folder, name, 0.5, 1.0)
    status = Observer(folder).look()
    assert status.settled and "every planned run has ended" in text_of(status)
    console = Console(file=io.StringIO())
    watch_status(Observer(folder), console)  # it ends by itself
    assert isinstance(console.file, io.StringIO) and "15 of 16 runs" in console.file.getvalue()


def test_a_cell_whose_trials_have_all_failed_has_ended(folder: Path) -> None:
    for name in ("bop-1001", "bop-1002", "bop-2001", "bop-2002"):
        write_run(folder, name, 0.5, 1.0)
    assert not Observer(folder).look().settled
    for number in (*range(TRIALS), *DEFAULTS):
        shutil.rmtree(folder / at(f"adam-{number}"), ignore_errors=True)
        run = RunFolder(folder / at(f"adam-{number}"))
        run.fail(Failure(kind="error", error="ValueError: no such luck"))
    status = Observer(folder).look()
    adam = status.cells[1]
    assert (adam.failed, adam.final, adam.final_planned, adam.never) == (TRIALS + 2, 0, 2, 2)
    assert status.settled and status.work_left_seconds == 0.0
    watch_status(Observer(folder), Console(file=io.StringIO()))  # it ends by itself


# ---- damaged files, and files that it leaves alone


def test_a_result_without_its_trial_is_damaged(folder: Path) -> None:
    (folder / at("bop-0") / "trial.json").unlink()
    status = Observer(folder).look()
    assert status.damaged == [f"{at('bop-0')}/trial.json: there is none beside a result"]
    assert (status.cells[0].tuning, status.cells[1].tuning) == (3, 1)


def test_a_damaged_file_is_named_and_not_fatal(folder: Path) -> None:
    for name in (f"{at('bop-1')}/result.json", "cells/d.m.adam.json", f"{at('bop-1001')}/epochs.jsonl"):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content.replace(b"1", b"}"))
    status = Observer(folder).look()
    assert [problem.split(": ")[0] for problem in status.damaged] == [
        f"{at('bop-1')}/result.json",
        f"{at('bop-1001')}/epochs.jsonl",
        "cells/d.m.adam.json",
    ]
    assert status.cells[0].tuning == 3 and status.cells[0].best_val_top1 == 0.625
    assert status.cells[1].tuning_planned == 4 and not status.settled
    assert f"damaged: {at('bop-1')}/result.json" in text_of(status)


def test_a_sealed_file_of_another_shape_is_damaged(folder: Path) -> None:
    path = folder / at("bop-1") / "result.json"
    write_json(path, {**read_json(path), "status": "fine"})
    status = Observer(folder).look()
    (problem,) = status.damaged
    assert problem.startswith(f"{at('bop-1')}/result.json: status: ") and status.cells[0].tuning == 3


def test_an_epoch_that_is_being_written_is_no_damage(folder: Path) -> None:
    with open(folder / at("adam-2") / "epochs.jsonl", "a") as file:
        file.write('{"epoch": 3, "sec')
    status = Observer(folder).look()
    assert status.damaged == [] and status.cells[1].epochs == 12


def test_a_plan_that_cannot_be_read_is_an_error(folder: Path) -> None:
    write_json(folder / "plan.json", {**read_json(folder / "plan.json"), "format": 0})
    with pytest.raises(DamagedRecord, match="its format is 0"):
        Observer(folder).look()
    (folder / "plan.json").unlink()
    with pytest.raises(FileNotFoundError, match="no sweep was started there"):
        Observer(folder).look()


def test_nothing_is_written_and_a_finished_run_is_read_once(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    observer = Observer(folder)
    first = observer.look()
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    (folder / at("bop-1") / "result.json").write_text("")
    assert dataclasses.asdict(observer.look()) == dataclasses.asdict(first)
    assert Observer(folder).look().damaged


def test_looking_at_a_lock_keeps_no_owner_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".lock").touch()
    with open(tmp_path / ".lock", "rb") as look:
        fcntl.flock(look, fcntl.LOCK_SH)  # as `is_owned` holds it, for an instant
        assert not is_owned(tmp_path)  # nor does another who looks
        with owned(tmp_path) as mine:
            assert not mine
        monkeypatch.setattr(time, "sleep", lambda seconds: fcntl.flock(look, fcntl.LOCK_UN))
        with owned(tmp_path) as mine:
            assert mine and is_owned(tmp_path)
    assert not is_owned(tmp_path) and not is_owned(tmp_path / "absent")


# ---- the command


def test_the_command(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["status", str(folder)])
    assert shown.exit_code == 0 and "d.m.bop" in shown.output and "4/4" in shown.output
    value = json.loads(CliRunner().invoke(app, ["status", str(folder), "--json"]).stdout)
    assert value["cells"][0]["tuning"] == 4 and value["working"] is False and value["damaged"] == []
    assert CliRunner().invoke(app, ["status", str(folder), "--watch"]).exit_code != 0  # this is no terminal
    shutil.copy(folder / "plan.json", folder / "cells" / "d.m.adam.json")
    shutil.copy(folder / "plan.json", folder / "cells" / "d.m.old.json")
    shown = CliRunner().invoke(app, ["status", str(folder)])
    assert shown.exit_code == 2 and "damaged: cells/d.m.adam.json: cell: " in shown.output
    assert "Recorded here, but not part of the plan: the cells d.m.old; 3 runs" in shown.output

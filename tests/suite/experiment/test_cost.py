"""What a sweep may take on disk is an upper estimate, and is asked for before anything is written."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from suite.experiment.cell import Cell
from suite.experiment.cost import checkpoint_bytes, disk_bytes, require_space
from suite.experiment.plan import Plan
from suite.machine.errors import UserError
from suite.records.run import RunFolder
from suite.records.trial import Stage
from suite.training.checkpoint import save_checkpoint
from suite.training.loop import train
from tests.support.tiny import CPU, tiny_plan, tiny_trial

CONVNET = "tasks.0.model={name: convnet, channels: 8}"
KEEP, WIDE, REAL = "train.keep_weights=true", "tasks.0.model={name: mlp, hidden: [512]}", "methods=[real]"


PROBED = "probes=[signs, reestimate, interpolate, {name: distort, draws: 1}]"


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.mark.parametrize(
    "changes",
    [
        (),
        (CONVNET, "train.epochs=30"),
        (KEEP, CONVNET),
        (KEEP, WIDE, REAL),
        ("methods=[latent-adam]", PROBED),
        ("methods=[{name: latent-adam, studies: 4}, bop]",),
    ],
)
def test_records_take_no_more_than_was_estimated(tmp_path: Path, changes: tuple[str, ...]) -> None:
    plan = tiny_plan(tmp_path, *changes)
    written = 0
    stages: tuple[tuple[Stage, Callable[[Cell], int]], ...] = (
        ("tune", plan.tuning_runs),
        ("final", plan.final_runs),
    )
    for stage, runs in stages:
        run = RunFolder(tmp_path / stage)
        method = "real" if REAL in changes else "latent-adam"
        train(tiny_trial(tmp_path, method, stage, 7, *changes), run, CPU, keep_weights=plan.keep_weights)
        written += sum(map(runs, plan.cells)) * sum(path.stat().st_size for path in run.path.iterdir())
    assert written < disk_bytes(plan) < 20 * written


@pytest.mark.parametrize("method", ["bop", "latent-adam"])
def test_checkpoints_take_no_more_than_was_estimated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    sizes = []

    def measure(folder: Path, state: dict) -> None:
        save_checkpoint(folder, state)
        sizes.append((folder / "checkpoint.pt").stat().st_size)

    monkeypatch.setattr("suite.training.checkpoint.save_checkpoint", measure)
    changes = ("tasks.0.model={name: mlp, hidden: [512]}",)
    train(
        tiny_trial(tmp_path, method, "tune", 7, *changes),
        RunFolder(tmp_path / "run"),
        CPU,
        checkpoint_every=0.0,
    )
    estimate = checkpoint_bytes(tiny_plan(tmp_path, *changes), workers=1)
    assert 3 * max(sizes) < estimate < 12 * max(sizes)


def test_a_full_disk_is_reported_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan: Plan = tiny_plan(tmp_path)
    folder = tmp_path / "results" / "tiny"
    need = disk_bytes(plan) + checkpoint_bytes(plan, 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, need))
    require_space(plan, folder, 2)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 0, need - 1))
    with pytest.raises(UserError, match=f"{folder}: the sweep may write up to .* MB are free there"):
        require_space(plan, folder, 2)
    assert not folder.parent.exists()

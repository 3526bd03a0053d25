"""The time of a plan: from a few steps, by hand from a given pace, and without the test images."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from suite.cli.views.plan import Measured, plan_as_json
from suite.data.held import splits_on
from suite.experiment.cell import Cell
from suite.machine.errors import UserError
from suite.records.schema import EpochLine, FlipCounts
from suite.records.trial import Trial
from suite.sweep import pace
from suite.sweep.pace import Pace, Times, measure, shortened, times_of_cell, times_of_plan
from tests.support.tiny import CPU, tiny_plan


def cell_of(tmp_path: Path, *changes: str) -> Cell:
    return tiny_plan(tmp_path, "methods=[bop]", *changes).cells[0]


def test_a_run_takes_its_steps_and_the_images_that_it_evaluates(tmp_path: Path) -> None:
    """200 images in batches of 60 are 3 steps, of 3 epochs; 287 images validate and 360 test."""
    found = Pace(step=2.0, image=0.5)
    cell = cell_of(tmp_path, "train.batch_size=60")
    assert (cell.sizes.val, cell.sizes.test) == (287, 360)
    assert times_of_cell(cell, found) == Times(18 + 430.5, 18 + 430.5 + 180)
    again = cell_of(tmp_path, "train.batch_size=60", "train.reestimate_batch_norm=true")
    assert times_of_cell(again, found).tuning == 18 + 430.5 + 100 + 143.5  # and validated once more
    large = cell_of(tmp_path, "train.batch_size=500")  # one batch holds them all
    assert times_of_cell(large, found).tuning == 6 + 430.5
    probed = cell_of(tmp_path, "probes=[reestimate]", "train.batch_size=50")
    more = times_of_cell(probed, found).final - times_of_cell(cell_of(tmp_path), found).final
    assert more == pytest.approx(2.0 * (200 + 2 * (287 + 360)) / 50)  # at most as training on them


def test_a_sweep_takes_all_its_runs_dealt_to_its_workers(tmp_path: Path) -> None:
    """Two studies of two trials, one final run of each winner, and two of the default, of each method."""
    plan = tiny_plan(tmp_path)
    times = {"digits.mlp.bop": Times(1.0, 10.0), "digits.mlp.latent-adam": Times(2.0, 20.0)}
    measured = Measured(times, workers=3)
    assert measured.seconds(plan) == pytest.approx((4 * 1 + 4 * 10 + 4 * 2 + 4 * 20) / 3)
    found = plan_as_json(plan, measured)
    assert found["run_seconds"]["digits.mlp.bop"] == {"tuning": 1.0, "final": 10.0}
    assert (found["workers"], found["seconds"]) == (3, measured.seconds(plan))
    assert "seconds" not in plan_as_json(plan)


def test_the_steps_that_are_timed_take_few_images_and_none_of_the_test_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "EVALUATED", 20)
    for batch, train in ((5, 100), (50, 200), (150, 200)):
        trial = shortened(cell_of(tmp_path, f"train.batch_size={batch}"))
        splits = splits_on(CPU, trial.data, with_test=False)
        assert (len(splits.train), len(splits.val)) == (train, 20)
        assert (trial.stage, trial.train.epochs, trial.train.batch_size) == ("tune", 2, batch)
    monkeypatch.setattr(pace, "IMAGES", 30)
    assert shortened(cell_of(tmp_path, "train.batch_size=10")).data.options["train_limit"] == 30
    assert shortened(cell_of(tmp_path, "train.batch_size=25")).data.options["train_limit"] == 50  # two steps


def told(lines: list[EpochLine], status: str) -> Callable[..., SimpleNamespace]:
    """In place of `train`: these epochs, and this end."""

    def train(trial: Trial, run: object, device: object, *, on_epoch: Callable) -> SimpleNamespace:
        for line in lines:
            on_epoch(line)
        return SimpleNamespace(status=status)

    return train


def test_the_second_epoch_is_the_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """4 steps in 1 second, then 287 images in 0.5 seconds."""
    none = FlipCounts(
        flips=[0], never=[0], distance=[0], undone_1=[0], undone_2=[0], undone_5=[0], undone_10=[0]
    )
    lines = [
        EpochLine(
            epoch=epoch,
            step=4 * epoch,
            train_loss=1.0,
            train_top1=0.5,
            val_loss=1.0,
            val_top1=0.5,
            val_top5=0.9,
            flips=none,
            train_seconds=trained,
            seconds=whole,
        )
        for epoch, trained, whole in ((1, 50.0, 70.0), (2, 1.0, 1.5))
    ]
    monkeypatch.setattr(pace, "train", told(lines, "done"))
    assert measure(cell_of(tmp_path), CPU) == Pace(0.25, 0.5 / 287)
    monkeypatch.setattr(pace, "train", told([], "diverged"))
    with pytest.raises(UserError, match=r"digits\.mlp\.bop: the published default diverges"):
        measure(cell_of(tmp_path), CPU)


def test_every_cell_is_measured(tmp_path: Path) -> None:
    plan, measured = tiny_plan(tmp_path), list[str]()
    times = times_of_plan(plan, CPU, measured.append)
    assert list(times) == measured == [cell.name for cell in plan.cells]
    assert all(0 < each.tuning < each.final for each in times.values())

"""How long the runs of a plan take on this machine, from a few steps of each cell."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from suite.experiment.cell import Cell
from suite.experiment.cost import probed_per_run
from suite.experiment.plan import Plan
from suite.machine.errors import UserError
from suite.records.run import RunFolder
from suite.records.schema import EpochLine
from suite.records.trial import Choice, Trial
from suite.sweep.worker import load_files
from suite.training.loop import train

STEPS, IMAGES = 20, 4000  # the steps that are timed: fewer, if they take more images than this
EVALUATED = 2000  # images whose evaluation is timed


class Pace(NamedTuple):
    """Seconds of a training step with its batch, and of an image that is evaluated, of one run alone."""

    step: float
    image: float


class Times(NamedTuple):
    """Seconds of one tuning run and of one final run of a cell; probes as if their images were trained on."""

    tuning: float
    final: float


def times_of_plan(plan: Plan, device: torch.device, on_cell: Callable[[str], None]) -> dict[str, Times]:
    """The times of each cell's runs, by its name. No image of a test set is read.

    Plugins are imported here, so in a process of their own. UserError, also for a data set whose images are
    not there, and for a training that does not get through its first steps.
    """
    load_files(plan.plugins)
    times = {}
    for cell in plan.cells:
        times[cell.name] = times_of_cell(cell, measure(cell, device))
        on_cell(cell.name)
    return times


def measure(cell: Cell, device: torch.device) -> Pace:
    """Train a few steps of the published default twice, as epochs; the first ones warm up."""
    trial, lines = shortened(cell), list[EpochLine]()
    with tempfile.TemporaryDirectory(prefix="flipbench-pace-") as folder:
        result = train(trial, RunFolder(Path(folder) / "run"), device, on_epoch=lines.append)
    if result.status != "done":
        raise UserError(f"{cell.name}: the published default diverges in its first steps, so it has no time")
    line, steps = lines[-1], lines[-1].step - lines[0].step
    return Pace(line.train_seconds / steps, (line.seconds - line.train_seconds) / evaluated(cell))


def shortened(cell: Cell) -> Trial:
    """A tuning run of the published default for two epochs of some steps, with some images to validate."""
    trial = cell.trial(cell.published, 0, "tune")
    batch = min(cell.train.batch_size, cell.sizes.train)
    steps = max(2, min(STEPS, IMAGES // batch, cell.sizes.train // batch))
    options = {
        **cell.data.options,
        "train_limit": min(cell.sizes.train, steps * batch),
        "validation": cell.data.options["validation"] * evaluated(cell) / cell.sizes.val,
    }
    return replace(trial, data=Choice(cell.data.name, options), train=replace(trial.train, epochs=2))


def evaluated(cell: Cell) -> int:
    """The images whose evaluation is timed."""
    return min(EVALUATED, cell.sizes.val)


def times_of_cell(cell: Cell, pace: Pace) -> Times:
    """The times of whole runs: their steps, and the images that they evaluate."""
    train, sizes = cell.train, cell.sizes
    batch = min(train.batch_size, sizes.train)
    steps = sizes.train // batch
    images = train.epochs * sizes.val + (sizes.train + sizes.val if train.reestimate_batch_norm else 0)
    tuning = train.epochs * steps * pace.step + images * pace.image
    return Times(tuning, tuning + sizes.test * pace.image + probed_per_run(cell) * pace.step / batch)

"""What the suite adds to a bare training step: data, schedules, flips, losses and hits, the record."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from bench.parts.data import synthetic
from bench.parts.step import REAL_RATE, network, random_batch
from bench.parts.step import Size as StepSize
from bench.race import Bench, Race, Row
from optimizers import METHODS
from suite.data import Splits
from suite.data.held import Loan, borrow
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.experiment.trial import Trial
from suite.records.files import canonical
from suite.records.run import RunFolder
from suite.training.loop import optimizers_of, train

VALIDATION = 10  # images

SPEC = """
version: 1
summary: An epoch of the loop beside its bare steps.
tasks: [{{data: cifar10, model: {{name: binarynet, width: {width}}}}}]
methods: [{{name: bop, decay: {{gamma: {{cosine: 0.0}}}}}}]
real: {{decay: {{lr: {{cosine: 0.0}}}}}}
train: {{epochs: {epochs}, batch_size: {batch}}}
tuning: {{trials: 0}}
seeds: 1
"""


def trial_on_synthetic_images(size: StepSize, steps: int, epochs: int, folder: Path) -> Trial:
    """One tuning trial on CIFAR-10's name; this process is lent random images in its place."""
    path = folder / "overhead.yaml"
    path.write_text(SPEC.format(width=size.width, batch=size.batch, epochs=epochs))
    cell = make_plan(ExperimentFile(path)).cells[0]
    trial = cell.trial(cell.published, 1, "tune")
    images = synthetic(steps * size.batch)
    record = {"shape": [3, 32, 32], "classes": 10}
    borrow(Loan(canonical(trial.data), Splits(images, synthetic(VALIDATION), 10, record)))
    return trial


def bare_steps(size: StepSize, steps: int, device: torch.device) -> Callable[[], object]:
    """Forward, backward and both optimizers on one batch, as often as the epoch has batches."""
    model = network(size, "bop").to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights, real = optimizers_of(model, METHODS["bop"](), REAL_RATE)
    x, labels = random_batch(size, device)
    x = x.contiguous(memory_format=torch.channels_last)

    def run() -> None:
        for _ in range(steps):
            loss = F.cross_entropy(model(x), labels)
            weights.zero_grad()
            real.zero_grad()
            loss.backward()
            weights.step()
            real.step()

    return run


def measure(bench: Bench) -> list[Row]:
    """An epoch of the training loop, with its record and the evaluation on a few images, over its bare steps.

    The bare steps are run between two epochs, so both are timed in turn.
    """
    size, steps = (StepSize(1 / 32, 4), 2) if bench.quick else (StepSize(1 / 8, 128), 20)
    bare = bare_steps(size, steps, bench.device)
    seconds: dict[str, list[float]] = {"bare steps": [], "epoch": []}
    task = bench.progress.add_task("overhead", total=bench.rounds + 1)
    epoch_began: list[float] = []

    def after_epoch(_: dict[str, Any]) -> None:
        now = bench.clock()
        bare()
        if epoch_began:  # the first epoch warms up
            seconds["epoch"].append(now - epoch_began[-1])
            seconds["bare steps"].append(bench.clock() - now)
        bench.progress.advance(task)
        epoch_began.append(bench.clock())

    with tempfile.TemporaryDirectory() as name:
        trial = trial_on_synthetic_images(size, steps, bench.rounds + 1, Path(name))
        train(trial, RunFolder(Path(name) / "run"), bench.device, on_epoch=after_epoch)
    bench.progress.remove_task(task)
    race = Race(seconds)
    case = f"binarynet, width {size.width:g}, batch {size.batch}"
    rows = [
        Row("overhead", case, name, 1000 * race.median(name) / steps, "ms/step", race.rounds)
        for name in race.seconds
    ]
    percent = 100 * (race.faster("bare steps", "epoch") - 1)
    return [*rows, Row("overhead", case, "added by the suite", percent, "%", race.rounds)]

"""The time that the suite adds to a bare training step: data, schedules, flips, losses, hits, the record."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch.nn import functional as F

from bench.parts.data import synthetic
from bench.parts.step import CLASSES, REAL_RATE, SHAPE, network, random_batch
from bench.parts.step import Size as StepSize
from bench.race import Bench, Race, Row
from optimizers import METHODS
from suite.data import Splits
from suite.data.held import Loan, borrow
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.records.run import RunFolder
from suite.records.schema import DataRecord, EpochLine
from suite.records.trial import Trial
from suite.training.loop import train
from suite.training.step import optimizers_of

VALIDATION = 10  # images

SPEC = """
version: 1
summary: An epoch of the loop next to its bare steps.
tasks: [{{data: cifar10, model: {{name: binarynet, width: {width}}}}}]
methods: [{{name: bop, decay: {{gamma: {{cosine: 0.0}}}}}}]
real: {{decay: {{lr: {{cosine: 0.0}}}}}}
train: {{epochs: {epochs}, batch_size: {batch}}}
tuning: {{trials: 0}}
seeds: 1
"""


def trial_on_synthetic_images(size: StepSize, steps: int, epochs: int, folder: Path) -> Trial:
    """A tuning trial on CIFAR-10. This process is given random images instead of it."""
    path = folder / "overhead.yaml"
    path.write_text(SPEC.format(width=size.width, batch=size.batch, epochs=epochs))
    cell = make_plan(ExperimentFile(path)).cells[0]
    trial = cell.trial(cell.published, 1, "tune")
    train, val = synthetic(steps * size.batch), synthetic(VALIDATION)
    record = DataRecord(
        name=trial.data.name,
        options={},
        classes=CLASSES,
        train=len(train),
        val=len(val),
        test=0,
        shape=list(SHAPE),
        sha256="",
        validation_index=[],
        validation_index_sha256="",
    )
    borrow(Loan(trial.data, Splits(train, val, CLASSES, record)))
    return trial


def bare_steps(size: StepSize, steps: int, device: torch.device) -> Callable[[], object]:
    """Forward, backward and both optimizers on one batch, as often as the epoch has batches.

    This is the yardstick of the suite's own step, so it is written out and does not call it.
    """
    rule = METHODS["bop"]()
    model = network(size, rule).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    weights, real = optimizers_of(model, rule, REAL_RATE)
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
    """An epoch of the training loop, with its record and a small evaluation, against its bare steps.

    The bare steps run between two epochs, so that the two take turns.
    """
    size, steps = (StepSize(1 / 32, 4), 2) if bench.quick else (StepSize(1 / 8, 128), 20)
    bare = bare_steps(size, steps, bench.device)
    seconds: dict[str, list[float]] = {"bare steps": [], "epoch": []}
    task = bench.progress.add_task("overhead", total=bench.rounds + 1)
    epoch_began: list[float] = []

    def after_epoch(_: EpochLine) -> None:
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

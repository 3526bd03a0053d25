"""The time that the suite adds to a bare training step: data, schedules, flips, losses, hits, the record."""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn import functional as F

from bench.race import Bench, Race, Row
from optimizers import METHODS
from optimizers.core import clear_gradients, run_step
from suite.data import Images, Splits
from suite.data.held import Loan, borrow, splits_on
from suite.experiment.build import build_network, rule_at
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.machine.environment import keep_freed_memory
from suite.records.run import RunFolder
from suite.records.schedules import start_of
from suite.records.schema import DataRecord, EpochLine
from suite.records.trial import Trial
from suite.training.flips import FlipCounter
from suite.training.loop import train
from suite.training.step import optimizers_of

VALIDATION = 10  # images
CLASSES = 10


class Case(NamedTuple):
    """A network on images of the size of a data set's; batches, and steps of an epoch."""

    data: str
    shape: tuple[int, int, int]
    model: str
    batch: int
    steps: int

    @property
    def images(self) -> int:
        return self.steps * self.batch


GREY, COLOURS = (1, 28, 28), (3, 32, 32)
CASES = {
    "mlp 2x128, batch 100": Case("mnist", GREY, "{name: mlp, hidden: [128, 128]}", 100, 540),  # MNIST's
    "mlp 2x256, batch 100": Case("mnist", GREY, "{name: mlp, hidden: [256, 256]}", 100, 540),
    "convnet, 16 channels, batch 100": Case("mnist", GREY, "{name: convnet, channels: 16}", 100, 40),
    "binarynet 1/8, batch 128": Case("cifar10", COLOURS, "{name: binarynet, width: 0.125}", 128, 40),
}
QUICK = {"mlp 1x8, batch 4": Case("mnist", GREY, "{name: mlp, hidden: [8]}", 4, 2)}
BARE, FRESH, COUNTED, LOOP = "bare step", "on a fresh batch", "with flips counted", "in the loop"
METHODS_MEASURED = ("bop", "latent-adam", "bop-second-order", "bayes-binn")

SPEC = """
version: 1
summary: An epoch of the loop next to its bare steps.
tasks: [{{data: {{name: {data}, train_limit: {images}}}, model: {model}}}]
methods: [{{name: {method}, decay: {{{decayed}: {{cosine: 0.0}}}}}}]
real: {{decay: {{lr: {{cosine: 0.0}}}}}}
train: {{epochs: {epochs}, batch_size: {batch}, augment: none}}
tuning: {{trials: 0}}
seeds: 1
"""


def trial_on_synthetic_images(case: Case, method: str, epochs: int, folder: Path) -> Trial:
    """A tuning trial on a data set. This process is given random images instead of it."""
    path = folder / "overhead.yaml"
    decayed = "lr" if "lr" in METHODS[method].hypers else "gamma"
    settings = {
        **case._asdict(),
        "images": case.images,
        "method": method,
        "decayed": decayed,
        "epochs": epochs,
    }
    path.write_text(SPEC.format(**settings))
    cell = make_plan(ExperimentFile(path)).cells[0]
    trial = cell.trial(cell.published, 1, "tune")
    train, val = (_random_images(count, case.shape) for count in (case.images, VALIDATION))
    record = DataRecord(
        name=trial.data.name,
        options={},
        classes=CLASSES,
        train=len(train),
        val=len(val),
        test=0,
        shape=list(case.shape),
        sha256="",
        validation_index=[],
        validation_index_sha256="",
    )
    borrow(Loan(trial.data, Splits(train, val, CLASSES, record)))
    return trial


def _random_images(count: int, shape: tuple[int, int, int]) -> Images:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, *shape), generator=generator, dtype=torch.uint8)
    return Images(pixels, torch.randint(CLASSES, (count,), generator=generator)).channels_last()


def bare_steps(
    trial: Trial, case: Case, device: torch.device, *, fresh: bool = False, counted: bool = False
) -> Callable[[], object]:
    """Forward, backward and both optimizers on one batch, as often as the epoch has batches.

    This is the yardstick of the suite's own step, so it is written out and does not call it. fresh: each step
    has the next batch of the epoch. counted: flips are counted.
    """
    rule = rule_at(trial, progress=0.0)
    model = build_network(trial, case.shape, CLASSES, rule).to(device)
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizers = optimizers_of(model, rule, start_of(trial.real_lr))
    random = torch.Generator().manual_seed(0)
    x = torch.rand(case.batch, *case.shape, generator=random).to(device) * 2 - 1
    x = x.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(CLASSES, (case.batch,), generator=random).to(device)
    batches = splits_on(device, trial.data, False).train.train_batches(
        case.batch, seed=0, augment="none", device=device, slices=[slice(0, case.batch)], damaged=set()
    )
    counter = FlipCounter(model, device)

    def run() -> None:
        for one, target in batches.epoch(1) if fresh else itertools.repeat((x, labels), case.steps):
            for optimizer in optimizers:
                clear_gradients(optimizer)
            F.cross_entropy(model(one), target).backward()
            for optimizer in optimizers:
                run_step(optimizer)
            if counted:
                counter.count()

    return run


def measure(bench: Bench) -> list[Row]:
    """Every network with every method."""
    cases = QUICK if bench.quick else CASES
    return [
        row
        for name, case in cases.items()
        for method in METHODS_MEASURED
        for row in _race(bench, name, case, method)
    ]


def _race(bench: Bench, name: str, case: Case, method: str) -> list[Row]:
    """An epoch of the training loop, with its record and a small evaluation, against its bare steps.

    The bare steps run between two epochs, so that all take turns: on one batch, on fresh ones, and with their
    flips counted.
    """
    keep_freed_memory()  # as in training, and for all variants alike
    seconds: dict[str, list[float]] = {name: [] for name in (BARE, FRESH, COUNTED, LOOP)}
    task = bench.progress.add_task(f"overhead: {method}, {name}", total=bench.rounds + 1)
    epoch_began: list[float] = []

    with tempfile.TemporaryDirectory() as folder:
        trial = trial_on_synthetic_images(case, method, bench.rounds + 1, Path(folder))
        yardsticks = {
            BARE: bare_steps(trial, case, bench.device),
            FRESH: bare_steps(trial, case, bench.device, fresh=True),
            COUNTED: bare_steps(trial, case, bench.device, fresh=True, counted=True),
        }

        def after_epoch(_: EpochLine) -> None:
            marks = [bench.clock()]
            for run in yardsticks.values():
                run()
                marks.append(bench.clock())
            if epoch_began:  # the first epoch warms up
                seconds[LOOP].append(marks[0] - epoch_began[-1])
                for yardstick, (begin, end) in zip(yardsticks, itertools.pairwise(marks), strict=True):
                    seconds[yardstick].append(end - begin)
            bench.progress.advance(task)
            epoch_began.append(bench.clock())

        train(trial, RunFolder(Path(folder) / "run"), bench.device, on_epoch=after_epoch)
    bench.progress.remove_task(task)
    race, title = Race(seconds), f"{method}, {name}"
    added = {
        "added by fresh batches": race.faster(BARE, FRESH),
        "added by the counter of flips": race.faster(FRESH, COUNTED),
        "added by the suite": race.faster(BARE, LOOP),
    }
    return [
        *(
            Row("overhead", title, one, 1000 * race.median(one) / case.steps, "ms", race.rounds)
            for one in seconds
        ),
        *(Row("overhead", title, one, 100 * (ratio - 1), "%", race.rounds) for one, ratio in added.items()),
    ]

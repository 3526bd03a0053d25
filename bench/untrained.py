"""Experiments of any size without training: plan, draws, ids and ledgers are real, the results invented."""

import math
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch

from optimizers import METHODS
from suite.data import Splits, load_splits, load_test
from suite.data.held import ReadTest
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.machine.random_keys import random_key
from suite.records.run import RunFolder
from suite.records.schema import BytesPerWeight, Environment, EpochLine, FlipCounts, Layer, Result, Scores
from suite.records.trial import Choice, Trial
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.messages import Done, Message
from suite.training.provenance import environment

SPEC = """
version: 1
summary: An experiment without training.
tasks: [{{data: digits, model: [{models}]}}]
methods: [{methods}]
train: {{epochs: {epochs}, batch_size: 250}}
tuning: {{trials: {trials}}}
seeds: {seeds}
"""
LATENT = ("latent-sgd", "latent-momentum", "latent-adam")
VARIANTS = 5  # of Bop and of each latent method: 20 methods
EPOCHS = 3
STEPS = 4  # of an epoch
LAYERS = [Layer(name="0", weights=4096), Layer(name="3", weights=640)]
TEST = 360  # images of the digits


def write_spec(
    folder: Path, tasks: int, trials: int, seeds: int, variants: int, epochs: int = EPOCHS
) -> Path:
    """An experiment file with so many tasks, tuning trials and final seeds; four methods of each variant."""
    methods = [f"{{name: bop, label: bop-{n}, threshold: {n + 1}.0e-8}}" for n in range(variants)]
    methods += [
        f"{{name: {name}, label: {name}-{n}, clip: {1 + n / 4}}}" for name in LATENT for n in range(variants)
    ]
    models = [f"{{name: mlp, label: mlp-{n}, hidden: [{8 + n}]}}" for n in range(tasks)]
    path = folder / "untrained.yaml"
    path.write_text(
        SPEC.format(
            models=", ".join(models), methods=", ".join(methods), epochs=epochs, trials=trials, seeds=seeds
        )
    )
    return path


def about(runs: int, variants: int = VARIANTS) -> dict[str, int]:
    """The arguments of `write_spec` for about so many runs; one run in ten is a final run.

    Tasks and runs per cell grow alike, so that a cost which grows with the square of either is seen.
    """
    tasks = max(1, round(math.sqrt(runs / 1000)))
    each = max(2, round(runs / (tasks * (1 + len(LATENT)) * variants)))
    seeds = max(1, each // 10)
    return {"tasks": tasks, "trials": each - seeds, "seeds": seeds, "variants": variants}


def sweep(path: Path, results: Path) -> Plan:
    """Run the experiment of this file to its end; its folder in `results` then holds every record."""
    plan = make_plan(ExperimentFile(path))
    folder = results / plan.name
    # A hundred thousand folders that are soon deleted need not survive a power cut.
    with patch("os.fsync"):
        choices = {cell.data_label: cell.data for cell in plan.cells}
        records = {label: load_splits(data).record for label, data in choices.items()}
        prepare_folder(plan, folder, records)
        complete = Sweep(plan, folder, InstantPool()).run()
    assert complete, "a trial has no result"
    return plan


class InstantPool:
    """A pool without workers: the record of a trial is written as soon as it is submitted."""

    def __init__(self) -> None:
        self.free = 1000
        self.submitted = 0
        self._messages: list[Message] = []
        self._environments: dict[str, Environment] = {}

    def lend(self, data: Choice, splits: Splits, read_test: ReadTest = load_test) -> str:
        return ""  # no image is looked at

    def submit(self, folder: Path, trial: Trial) -> None:
        self.submitted += 1
        method = trial.method.name
        if method not in self._environments:
            self._environments[method] = environment(torch.device("cpu"), METHODS[method])
        run = RunFolder(folder)
        run.begin(trial, self._environments[method])
        self._messages.append(Done(trial.run_id, write_record(run, trial)))

    def listen(self, timeout: float | None) -> list[Message]:
        messages, self._messages = self._messages, []
        return messages

    def stop(self, seconds: float) -> list[Message]:
        """Nothing is running."""
        return []

    def close(self) -> None:
        """Nothing is running."""


def write_record(run: RunFolder, trial: Trial) -> Result:
    """An invented result with all its files: a level of the method, and noise that is keyed by the run."""
    noise = np.random.RandomState(int(trial.run_id, 16) % 2**32)
    epochs = trial.train.epochs
    method, clip = trial.method.name, trial.method.options.get("clip")
    level = 0.85 + 0.1 * (random_key(method, str(trial.model), str(clip)) % 100) / 100
    accuracy = level + 0.005 * noise.randn() if trial.stage == "final" else level - 0.3 * noise.rand() ** 2
    steps = epochs * STEPS
    flips = noise.poisson(40.0 / np.arange(1, steps + 1)[:, None], (steps, len(LAYERS)))
    lines = [epoch_line(n, epochs, accuracy, flips) for n in range(1, epochs + 1)]
    correct = noise.permutation(TEST) < round(accuracy * TEST) if trial.stage == "final" else None
    result = Result(
        status="done",
        epochs=epochs,
        steps=steps,
        scores=scores(lines[-1], correct),
        layers=LAYERS,
        binary_weights=sum(layer.weights for layer in LAYERS),
        real_parameters=532,
        bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=8.0 if "adam" in method else 4.0),
        digest=trial.run_id * 4,
        seconds=4.2,
        step_milliseconds=1.1,
        peak_memory_bytes=310_000_000,
    )
    if correct is None:  # a tuning run
        return run.finish(result, lines)
    return run.finish(result, lines, flips.astype(np.int32), np.packbits(correct))


def scores(last: EpochLine, correct: np.ndarray | None) -> Scores:
    """The scores of a run; `correct`: whether each test image is classified correctly, in a final run."""
    val = Scores(val_loss=last.val_loss, val_top1=last.val_top1, val_top5=last.val_top5)
    if correct is None:
        return val
    return replace(val, test_loss=last.val_loss, test_top1=int(correct.sum()) / TEST, test_top5=0.99)


def epoch_line(epoch: int, epochs: int, accuracy: float, flips: np.ndarray) -> EpochLine:
    """A line of epochs.jsonl, of so many; `flips` is (steps, layers)."""
    during = flips[(epoch - 1) * STEPS : epoch * STEPS].sum(0).tolist()
    undone = [count // 20 for count in during]
    reached = accuracy * (1 - math.exp(-epoch)) / (1 - math.exp(-epochs))
    return EpochLine(
        epoch=epoch,
        step=epoch * STEPS,
        train_loss=2.3 - 2 * reached,
        train_top1=reached,
        val_loss=2.4 - 2 * reached,
        val_top1=reached,
        val_top5=0.99,
        flips=FlipCounts(
            flips=during,
            undone_1=undone,
            undone_2=undone,
            undone_5=undone,
            undone_10=undone,
            never=[layer.weights // (1 + epoch) for layer in LAYERS],
            distance=during,
        ),
        train_seconds=0.2,
        seconds=0.21,
    )

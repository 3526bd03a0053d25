"""Experiments of any size whose trials nobody trains: real plans, draws, ids, ledgers, invented results."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from optimizers import METHODS
from suite.data import Splits, load_splits
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.experiment.trial import Trial
from suite.machine.environment import environment
from suite.machine.random_keys import random_key
from suite.records.files import write_array
from suite.records.run import RunFolder
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.worker import Report

SPEC = """
version: 1
summary: Trials that nobody trains.
tasks: [{{data: digits, model: [{models}]}}]
methods: [{methods}]
train: {{epochs: {epochs}, batch_size: 250}}
tuning: {{trials: {trials}}}
seeds: {seeds}
"""
LATENT = ("latent-sgd", "latent-momentum", "latent-adam")
VARIANTS = 5  # of Bop and of each latent method: 20 methods
EPOCHS, STEPS = 3, 4  # STEPS per epoch
LAYERS = [{"name": "0", "weights": 4096}, {"name": "3", "weights": 640}]
TEST = 360  # images of the digits
WEIGHTS = sum(layer["weights"] for layer in LAYERS)


def write_spec(folder: Path, tasks: int, trials: int, seeds: int, variants: int = VARIANTS) -> Path:
    """An experiment file with so many tasks, tuning trials and final seeds; four methods of each variant."""
    methods = [f"{{name: bop, label: bop-{n}, threshold: {n + 1}.0e-8}}" for n in range(variants)]
    methods += [
        f"{{name: {name}, label: {name}-{n}, clip: {1 + n / 4}}}" for name in LATENT for n in range(variants)
    ]
    models = [f"{{name: mlp, label: mlp-{n}, hidden: [{8 + n}]}}" for n in range(tasks)]
    path = folder / "untrained.yaml"
    path.write_text(
        SPEC.format(
            models=", ".join(models), methods=", ".join(methods), epochs=EPOCHS, trials=trials, seeds=seeds
        )
    )
    return path


def about(runs: int) -> dict[str, int]:
    """Tasks, trials and seeds that make about so many runs with 20 methods; one run in ten is a final run.

    Tasks and runs per cell grow alike, so that a cost which grows with the square of either is seen.
    """
    tasks = max(1, round(math.sqrt(runs / 1000)))
    each = max(2, round(runs / (tasks * (1 + len(LATENT)) * VARIANTS)))
    seeds = max(1, each // 10)
    return {"tasks": tasks, "trials": each - seeds, "seeds": seeds}


def sweep(path: Path, results: Path) -> Plan:
    """Walk the experiment of this file to its end; its folder in `results` then holds every record."""
    plan = make_plan(ExperimentFile(path))
    folder = results / plan.name
    # A hundred thousand folders that are soon deleted need not survive a power cut.
    with patch("os.fsync"):
        records = {cell.data_label: cell.data for cell in plan.cells}
        prepare_folder(plan, folder, {label: _record(data) for label, data in records.items()})
        complete = Sweep(plan, folder, InstantPool()).run()
    assert complete, "a trial that nobody trained has no result"
    return plan


def _record(data: dict[str, Any]) -> dict[str, Any]:
    options = dict(data)
    return load_splits(options.pop("name"), options, with_test=False).record


class InstantPool:
    """In place of workers: the record of a trial is there as soon as it is asked for."""

    def __init__(self) -> None:
        self.free = 1000
        self.submitted = 0
        self._reports: list[Report] = []
        self._environments: dict[str, dict[str, Any]] = {}

    def lend(self, data: Mapping[str, object], splits: Splits) -> str:
        return ""  # nobody looks at an image

    def submit(self, folder: Path, trial: Trial) -> None:
        self.submitted += 1
        if trial.method not in self._environments:
            self._environments[trial.method] = environment(torch.device("cpu"), METHODS[trial.method])
        run = RunFolder(folder)
        run.begin(trial.as_dict(), self._environments[trial.method])
        self._reports.append(Report("done", trial.run_id, result=write_record(run, trial)))

    def listen(self, timeout: float | None) -> list[Report]:
        reports, self._reports = self._reports, []
        return reports

    def stop(self, seconds: float) -> list[Report]:
        """Nothing is at work."""
        return []

    def close(self) -> None:
        """Nothing runs that would have to end."""


def write_record(run: RunFolder, trial: Trial) -> dict[str, Any]:
    """An invented result with all its files: a level of the method, and noise that is keyed by the run."""
    noise = np.random.RandomState(int(trial.run_id, 16) % 2**32)
    level = (
        0.85 + 0.1 * (random_key(trial.method, str(trial.model), str(trial.hypers.get("clip"))) % 100) / 100
    )
    accuracy = level + 0.005 * noise.randn() if trial.stage == "final" else level - 0.3 * noise.rand() ** 2
    flips = noise.poisson(40.0 / np.arange(1, EPOCHS * STEPS + 1)[:, None], (EPOCHS * STEPS, len(LAYERS)))
    lines = [epoch_line(n, accuracy, flips) for n in range(1, EPOCHS + 1)]
    run.keep_epochs(lines)
    write_array(run.path / "flips.npz", flips.astype(np.int32))
    scores = {name: value for name, value in lines[-1].items() if name.startswith("val_")}
    if trial.stage == "final":
        right = noise.permutation(TEST) < round(accuracy * TEST)
        write_array(run.path / "test_correct.npy", np.packbits(right))
        scores |= {"test_loss": 1.2 - accuracy, "test_top1": int(right.sum()) / TEST, "test_top5": 0.99}
    return run.finish(
        {
            "status": "done",
            "epochs": EPOCHS,
            "steps": EPOCHS * STEPS,
            "scores": scores,
            "layers": LAYERS,
            "binary_weights": WEIGHTS,
            "real_parameters": 532,
            "bytes_per_binary_weight": {"stored": 4.0, "optimizer": 8.0 if "adam" in trial.method else 4.0},
            "digest": trial.run_id * 4,
            "seconds": 4.2,
            "step_milliseconds": 1.1,
            "peak_memory_bytes": 310_000_000,
        }
    )


def epoch_line(epoch: int, accuracy: float, flips: np.ndarray) -> dict[str, Any]:
    """A line of epochs.jsonl; `flips` is (steps, layers)."""
    during = flips[(epoch - 1) * STEPS : epoch * STEPS].sum(0).tolist()
    reached = accuracy * (1 - math.exp(-epoch)) / (1 - math.exp(-EPOCHS))
    return {
        "epoch": epoch,
        "step": epoch * STEPS,
        "train_loss": 2.3 - 2 * reached,
        "train_top1": reached,
        "val_loss": 2.4 - 2 * reached,
        "val_top1": reached,
        "val_top5": 0.99,
        "flips": {
            "flips": during,
            **{f"undone_{k}": [flips // 20 for flips in during] for k in (1, 2, 5, 10)},
            "never": [layer["weights"] // (1 + epoch) for layer in LAYERS],
            "distance": during,
        },
        "train_seconds": 0.2,
        "seconds": 0.21,
    }

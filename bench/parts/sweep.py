"""A whole sweep of many short trials on all cores, against the same trials by a plain PyTorch script."""

import hashlib
import os
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np

from bench.race import Bench, Row
from suite.data import DATASETS, load_splits
from suite.data.sets.torchvision_sets import mnist_images, torchvision_set
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.machine.environment import cores
from suite.records.experiment import ExperimentFolder
from suite.records.files import write_json
from suite.records.run import RunFolder
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine, default_devices

IMAGES = {"train": 60_000, "t10k": 10_000}
FEW_IMAGES = {"train": 600, "t10k": 10}

SPEC = """
version: 1
summary: Short trials.
tasks:
  - data: {{name: mnist, train_limit: {train}, validation: {share}}}
    model: {{name: mlp, hidden: {hidden}}}
methods: [bop, latent-adam]
train: {{epochs: {epochs}, batch_size: 100}}
tuning: {{trials: {trials}}}
seeds: 2
"""


def short_trials(folder: Path, *, quick: bool) -> Plan:
    """Two methods on a small network with trials of one to three seconds on a quiet machine."""
    path = folder / "short.yaml"
    small = {"train": 200, "share": 0.1, "hidden": [8], "epochs": 1, "trials": 1}
    full = {"train": 6000, "share": 0.1, "hidden": [128, 128], "epochs": 12, "trials": 18}
    path.write_text(SPEC.format(**(small if quick else full)))
    return make_plan(ExperimentFile(path))


@contextmanager
def random_mnist(root: Path, images: Mapping[str, int]) -> Iterator[None]:
    """MNIST's files with so many random images in a data folder, for torchvision and for the suite alike."""
    raw, random = root / "MNIST" / "raw", np.random.default_rng(0)
    raw.mkdir(parents=True)
    for part, count in images.items():
        for name, shape, values in (("images-idx3", (count, 28, 28), 256), ("labels-idx1", (count,), 10)):
            head = struct.pack(f">{1 + len(shape)}I", 0x800 + len(shape), *shape)
            pixels = random.integers(values, size=shape, dtype=np.uint8)
            (raw / f"{part}-{name}-ubyte").write_bytes(head + pixels.tobytes())
    files = {
        str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest() for path in raw.iterdir()
    }
    known = DATASETS["mnist"]
    dataset = torchvision_set(
        "mnist",
        "MNIST",
        mnist_images,
        files,
        summary=known.summary,
        classes=10,
        shape=(1, 28, 28),
        train=images["train"],
        test=images["t10k"],
        augment=known.augment,
    )
    with patch.dict(DATASETS, mnist=dataset), patch.dict(os.environ, FLIPBENCH_DATA=str(root)):
        yield


def run_sweep(plan: Plan, folder: Path, machine: Machine) -> float:
    """Wall seconds of the sweep, from reading the images to the last record; the workers start in it."""
    started = time.perf_counter()
    with LocalPool(machine, plan.plugins) as pool:
        data = plan.cells[0].data
        splits = load_splits(data)
        pool.lend(data, splits)
        prepare_folder(plan, folder, {plan.cells[0].data_label: splits.record})
        complete = Sweep(plan, folder, pool).run()
    assert complete, "a trial of the benchmark's sweep failed"
    return time.perf_counter() - started


def run_script(runs: list[RunFolder], plan: Plan, folder: Path, processes: int) -> float:
    """Wall seconds of the same trials by the plain script, one process per worker."""
    sizes = plan.cells[0].sizes
    task = folder / "task.json"
    trials = [run.trial().as_json() for run in runs]
    write_json(task, {"root": str(folder / "data"), "train": sizes.train, "val": sizes.val, "trials": trials})
    started = time.perf_counter()
    commands = [
        [sys.executable, "-m", "bench.plain_script", str(task), str(n), str(processes)]
        for n in range(processes)
    ]
    shares = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for command in commands]
    assert [share.wait() for share in shares] == [0] * processes, "a process of the plain script failed"
    return time.perf_counter() - started


def measure(bench: Bench) -> list[Row]:
    """The sweep; the share of the workers' time that is training; the plain script."""
    task = bench.progress.add_task("sweep", total=None)
    machine = Machine(default_devices(bench.device.type, None))
    workers = len(machine.devices)
    with tempfile.TemporaryDirectory() as name:
        here = Path(name)
        with random_mnist(here / "data", FEW_IMAGES if bench.quick else IMAGES):
            plan = short_trials(here, quick=bench.quick)
            wall = run_sweep(plan, here / "results", machine)
            folder = ExperimentFolder(here / "results")
            runs = [folder.run(run) for run in folder.run_names()]
            seconds = [result.seconds or 0.0 for run in runs if (result := run.result())]
        plain = run_script(runs, plan, here, min(workers, cores()))
    bench.progress.remove_task(task)
    case = f"{len(seconds)} trials, {workers} workers"
    return [
        Row("sweep", case, "one trial", sum(seconds) / len(seconds), "s"),
        Row("sweep", case, "plain script", plain, "s"),
        Row("sweep", case, "the sweep", wall, "s", 1, "plain script", plain / wall),
        Row("sweep", case, "spent in trials", 100 * sum(seconds) / (workers * wall), "%"),
    ]

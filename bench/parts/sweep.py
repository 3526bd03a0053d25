"""The share of a sweep's time that its workers spend in training: many short trials on all cores."""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.race import Bench, Row
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.records.experiment import ExperimentFolder
from suite.records.schema import Result
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine, default_devices

SPEC = """
version: 1
summary: Short trials.
tasks: [{{data: digits, model: {{name: convnet, channels: {channels}}}}}]
methods: [bop, latent-adam]
train: {{epochs: {epochs}, batch_size: 50}}
tuning: {{trials: {trials}}}
seeds: 2
"""


def short_trials(folder: Path, *, quick: bool) -> Plan:
    """Two methods on the digits with trials of a few seconds."""
    path = folder / "short.yaml"
    sizes = (
        {"channels": 4, "epochs": 1, "trials": 1} if quick else {"channels": 32, "epochs": 15, "trials": 18}
    )
    path.write_text(SPEC.format(**sizes))
    return make_plan(ExperimentFile(path))


def results(folder: ExperimentFolder) -> Iterator[Result]:
    """The result of each finished run."""
    for name in folder.run_names():
        if (result := folder.run(name).result()) is not None:
            yield result


def measure(bench: Bench) -> list[Row]:
    """One sweep: seconds in trials, divided by workers times wall seconds, with the start of the workers."""
    task = bench.progress.add_task("sweep", total=None)
    with tempfile.TemporaryDirectory() as name:
        plan = short_trials(Path(name), quick=bench.quick)
        machine = Machine(default_devices(bench.device.type, None))
        prepare_folder(plan, Path(name), {})
        started = time.perf_counter()
        with LocalPool(machine, plan.plugins) as pool:
            complete = Sweep(plan, Path(name), pool).run()
        wall = time.perf_counter() - started
        assert complete, "a trial of the benchmark's sweep failed"
        seconds = [result.seconds for result in results(ExperimentFolder(Path(name)))]
    bench.progress.remove_task(task)
    workers = len(machine.devices)
    case = f"{len(seconds)} trials, {workers} workers"
    return [
        Row("sweep", case, "one trial", sum(seconds) / len(seconds), "s"),
        Row("sweep", case, "the sweep", wall, "s"),
        Row("sweep", case, "spent in trials", 100 * sum(seconds) / (workers * wall), "%"),
    ]

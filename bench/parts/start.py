"""Seconds to start: Python, torch and the command, each in a new process; and a worker of a sweep."""

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.race import Bench, Row
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.sweep.messages import Done, EpochDone
from suite.sweep.pool import LocalPool, Machine

PLUGIN = '''
"""A method from outside the catalogue."""
import torch
from optimizers.core import WeightRule, method, sign, stored_signs

@method(paper="An example")
def never() -> WeightRule:
    """Never flip."""
    return WeightRule(sign, stored_signs, lambda params: torch.optim.SGD(params, lr=0.0))
'''

SPEC = """
version: 1
summary: One short trial.
tasks: [{data: digits, model: mlp}]
methods: [bop]
train: {epochs: 1, batch_size: 50}
tuning: {trials: 1}
seeds: 1
"""


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def command(*arguments: str) -> str:
    """The code that runs flipbench with these arguments."""
    return f"import sys; sys.argv = {['flipbench', *arguments]}; from suite.cli.main import main; main()"


def measure(bench: Bench) -> list[Row]:
    """Wall seconds, with the files in the cache of the disk after the race's first call."""
    with tempfile.TemporaryDirectory() as folder:
        plugin = Path(folder) / "never.py"
        plugin.write_text(PLUGIN)
        codes = {
            "python": "pass",
            "import torch": "import torch",
            "flipbench list": command("list"),
            "flipbench plan demo": command("plan", "demo"),
            "flipbench show --plugin": command("show", "never", "--plugin", str(plugin)),
        }
        race = bench.race(
            "start", {name: lambda code=code: run(code) for name, code in codes.items()}, wall=True
        )
        rows = [Row("start", "fresh process", name, race.median(name), "s", race.rounds) for name in codes]
        for number in (3, 4):
            faster = race.faster(rows[number].variant, "import torch")
            rows[number] = rows[number]._replace(baseline="import torch", ratio=faster)
        return rows + _worker(bench, Path(folder))


def _worker(bench: Bench, folder: Path) -> list[Row]:
    """A worker on a small network: when it is ready, and its memory after one trial.

    Ready: the wall time of a worker with one trial, less the trial's own, when the first worker has started.
    """
    (folder / "one.yaml").write_text(SPEC)
    cell = make_plan(ExperimentFile(folder / "one.yaml")).cells[0]
    memory: dict[str, float] = {}

    def start(number: int) -> float:
        with LocalPool(Machine(("cpu",))) as pool:
            began = time.perf_counter()
            pool.submit(folder / str(number), cell.trial(cell.published, number, "tune"))
            while True:
                for message in pool.listen(60.0):
                    if isinstance(message, Done):
                        ready = time.perf_counter() - began - (message.result.seconds or 0.0)
                        memory.update(megabytes(process_of(pool)))
                        return ready
                    if not isinstance(message, EpochDone):
                        raise RuntimeError(f"a trial of the benchmark failed: {message}")

    start(0)
    seconds = sorted(start(number) for number in range(1, bench.rounds + 1))
    case = "a worker after the first"
    return [
        Row("start", case, "ready", seconds[len(seconds) // 2], "s", bench.rounds),
        *(Row("start", case, name, value, "MB") for name, value in memory.items()),
    ]


def process_of(pool: LocalPool) -> int:
    """The number of the process of the pool's only worker."""
    (worker,) = pool.workers
    assert worker.process.pid
    return worker.process.pid


def megabytes(process: int) -> dict[str, float]:
    """The memory of a process, its own and what it shares with others; nothing where Linux does not tell."""
    path = Path(f"/proc/{process}/smaps_rollup")
    if not path.exists():
        return {}
    kilobytes = dict(re.findall(r"^(\w+): +(\d+) kB$", path.read_text(), re.MULTILINE))
    parts = {"private": ("Private_Clean", "Private_Dirty"), "shared": ("Shared_Clean", "Shared_Dirty")}
    return {name: sum(int(kilobytes[key]) for key in keys) / 1000 for name, keys in parts.items()}

"""Seconds and memory of plan, resume, report and verify for many runs, and how both grow with the runs.

python -m bench.parts.scale --runs 1000 10000 100000
python -m bench.parts.scale --runs 10000 --epochs 300
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from rich.console import Console

from bench.machine import machine
from bench.race import Bench, Row
from bench.tables import as_csv, as_markdown, as_tables
from bench.untrained import EPOCHS, VARIANTS, InstantPool, about, sweep, write_spec
from report.build import build_report
from suite.checks.verify import Verification
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.machine.environment import peak_memory, reset_peak_memory
from suite.records.codec import encode
from suite.sweep.coordinator import Sweep, prepare_folder

SIZES = (1000, 10_000, 100_000)  # the last takes so long that `make bench` leaves it out
QUICK = (8, 16)
CPU = torch.device("cpu")
Value = TypeVar("Value")


class Cost(NamedTuple):
    """The cost of one command for an experiment of so many runs."""

    runs: int
    wall: float  # seconds
    seconds: float  # of the processor
    peak_bytes: int


def plan(path: Path, results: Path) -> None:
    """Resolve the experiment, and make the content of plan.json."""
    encode(make_plan(ExperimentFile(path)).record)


def resume(path: Path, results: Path) -> None:
    """The same sweep again: every run is finished, so none is run."""
    again = make_plan(ExperimentFile(path))
    folder, pool = results / again.name, InstantPool()
    prepare_folder(again, folder, {})
    assert Sweep(again, folder, pool).run()
    assert pool.submitted == 0, "a finished run was run again"


def report(path: Path, results: Path) -> None:
    """Read every record and write the report."""
    build_report(results / path.stem)


def verify(path: Path, results: Path) -> None:
    """Hash every file, and compare every record with the plan and the ledgers."""
    found = Verification(results / path.stem).run()
    assert found.exit_code == 0, f"{len(found.findings)} problems, first {next(iter(found.findings))}"


COMMANDS: dict[str, Callable[[Path, Path], None]] = {
    "plan": plan,
    "resume": resume,
    "report": report,
    "verify": verify,
}


def timed(command: str, path: Path, results: Path) -> tuple[float, float, int]:
    """Wall seconds, processor seconds, peak bytes of a command, in a process that is started for it."""
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])  # a process' first optimizer loads the compiler, which does not count
    reset_peak_memory(CPU)
    started, busy = time.perf_counter(), time.process_time()
    COMMANDS[command](path, results)
    return time.perf_counter() - started, time.process_time() - busy, peak_memory(CPU)


def costs(runs: int, variants: int, epochs: int) -> dict[str, Cost]:
    """The cost of each command for an experiment of about so many runs, made for this and then deleted."""
    with tempfile.TemporaryDirectory(prefix="flipbench-scale-") as name:
        folder = Path(name)
        path = write_spec(folder, **about(runs, variants), epochs=epochs)
        planned = in_a_process(sweep, path, folder).runs
        return {command: Cost(planned, *in_a_process(timed, command, path, folder)) for command in COMMANDS}


def in_a_process(function: Callable[..., Value], *arguments: object) -> Value:
    """The value of a function in a new process, whose peak memory is that of this call alone."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(function, arguments)


def growth(few: Cost, many: Cost) -> float:
    """The power of the number of runs with which processor seconds grow. Fixed costs make it less than 1."""
    return math.log(many.seconds / few.seconds) / math.log(many.runs / few.runs)


def rows_of(command: str, found: list[Cost], epochs: int) -> list[Row]:
    rows = []
    for cost in found:
        case = f"{command}, {cost.runs:,} runs{'' if epochs == EPOCHS else f' of {epochs} epochs'}"
        rows += [
            Row("scale", case, "wall", cost.wall, "s"),
            Row("scale", case, "processor", cost.seconds, "s"),
            Row("scale", case, "processor, per run", 1e6 * cost.seconds / cost.runs, "µs"),
            Row("scale", case, "peak memory", cost.peak_bytes / 1e6, "MB"),
        ]
    for few, many in pairwise(found):
        case = f"{command}, {few.runs:,} to {many.runs:,} runs"
        rows.append(Row("scale", case, "growth", growth(few, many), "power of runs"))
    return rows


def measure(bench: Bench, sizes: tuple[int, ...] = SIZES[:2], epochs: int = EPOCHS) -> list[Row]:
    """Every command at every size; one measurement each, because it takes minutes."""
    sizes, variants = (QUICK, 1) if bench.quick else (sizes, VARIANTS)
    task = bench.progress.add_task("scale", total=len(sizes))
    found = []
    for runs in sizes:
        found.append(costs(runs, variants, epochs))
        bench.progress.advance(task)
    bench.progress.remove_task(task)
    return [
        row for command in COMMANDS for row in rows_of(command, [each[command] for each in found], epochs)
    ]


def main() -> None:
    """Measure, print, and write scale.csv and scale.md."""
    parser = argparse.ArgumentParser(description="Seconds and memory of plan, resume, report and verify.")
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES, help="sizes of the experiment, rising")
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="of each run")
    parser.add_argument(
        "--results", type=Path, default=Path("results/bench"), help="the folder for scale.csv and .md"
    )
    arguments = parser.parse_args()
    rows = measure(Bench(CPU), tuple(arguments.runs), arguments.epochs)
    for table in as_tables(rows):
        Console().print(table)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "scale.csv").write_text(as_csv(rows))
    (arguments.results / "scale.md").write_text(as_markdown(rows, machine(CPU)))


if __name__ == "__main__":
    main()

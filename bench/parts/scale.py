"""Seconds and memory of plan, resume, report and verify for many runs, and how they grow with the runs.

python -m bench.parts.scale --runs 1000 10000 100000
"""

import argparse
import math
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console

from bench.machine import machine
from bench.race import Bench, Row
from bench.tables import as_csv, as_markdown, as_tables
from bench.untrained import InstantPool, about, sweep, write_spec
from report.build import build_report
from suite.checks.verify import Verification
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.machine.environment import peak_memory, reset_peak_memory
from suite.sweep.coordinator import Sweep, prepare_folder

SIZES = (1000, 10_000, 100_000)  # the last takes so long that `make bench` leaves it out
QUICK = (100, 400)
CPU = torch.device("cpu")


class Cost(NamedTuple):
    """What one command took for so many runs: on the wall, of the processor, of memory."""

    runs: int
    wall: float
    seconds: float
    peak_bytes: int


def plan(path: Path, results: Path) -> None:
    """Resolve the experiment and all that plan.json says of it."""
    make_plan(ExperimentFile(path)).as_dict()


def resume(path: Path, results: Path) -> None:
    """The same sweep again: every run is finished, none may be asked for."""
    again = make_plan(ExperimentFile(path))
    folder, pool = results / again.name, InstantPool()
    prepare_folder(again, folder, {})
    assert Sweep(again, folder, pool).run()
    assert pool.submitted == 0, "a finished run was run again"


def report(path: Path, results: Path) -> None:
    """Read every record and write the report."""
    build_report(results / path.stem)


def verify(path: Path, results: Path) -> None:
    """Hash every file and compare every record with what plan and ledgers say of it."""
    found = Verification(results / path.stem).run()
    assert found.exit_code == 0, f"{len(found.findings)} problems, first {next(iter(found.findings))}"


COMMANDS: dict[str, Callable[[Path, Path], None]] = {
    "plan": plan,
    "resume": resume,
    "report": report,
    "verify": verify,
}


def timed(command: str, path: Path, results: Path) -> tuple[float, float, int]:
    """Wall seconds, processor seconds, peak bytes of a command, in a process that was started for it."""
    torch.set_num_threads(1)
    torch.optim.Adam([torch.zeros(1)])  # the first optimizer of a process loads the compiler: not counted
    reset_peak_memory(CPU)
    started, busy = time.perf_counter(), time.process_time()
    COMMANDS[command](path, results)
    return time.perf_counter() - started, time.process_time() - busy, peak_memory(CPU)


def costs(runs: int) -> dict[str, Cost]:
    """What each command costs for an experiment of about so many runs, made for this and then deleted."""
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="flipbench-scale-") as name:
        folder = Path(name)
        path = write_spec(folder, **about(runs))
        with context.Pool(1) as process:
            planned = process.apply(sweep, (path, folder)).runs
        found = {}
        for command in COMMANDS:
            with context.Pool(1) as process:
                found[command] = Cost(planned, *process.apply(timed, (command, path, folder)))
    return found


def growth(few: Cost, many: Cost) -> float:
    """The power of the number of runs with which processor seconds grow; fixed costs pull it below 1."""
    return math.log(many.seconds / few.seconds) / math.log(many.runs / few.runs)


def rows_of(command: str, found: list[Cost]) -> list[Row]:
    rows = []
    for cost in found:
        case = f"{command}, {cost.runs:,} runs"
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


def measure(bench: Bench, sizes: tuple[int, ...] = SIZES[:2]) -> list[Row]:
    """Every command at every size; one measurement each, as it takes minutes."""
    sizes = QUICK if bench.quick else sizes
    task = bench.progress.add_task("scale", total=len(sizes))
    found = []
    for runs in sizes:
        found.append(costs(runs))
        bench.progress.advance(task)
    bench.progress.remove_task(task)
    return [row for command in COMMANDS for row in rows_of(command, [each[command] for each in found])]


def main() -> None:
    """Measure, print, and leave scale.csv and scale.md in a folder."""
    parser = argparse.ArgumentParser(description="Seconds and memory of plan, resume, report and verify.")
    parser.add_argument("--runs", type=int, nargs="+", default=SIZES, help="how many, in rising order")
    parser.add_argument("--results", type=Path, default=Path("results/bench"), help="gets scale.csv and .md")
    arguments = parser.parse_args()
    rows = measure(Bench(CPU), tuple(arguments.runs))
    for table in as_tables(rows):
        Console().print(table)
    arguments.results.mkdir(parents=True, exist_ok=True)
    (arguments.results / "scale.csv").write_text(as_csv(rows))
    (arguments.results / "scale.md").write_text(as_markdown(rows, machine(CPU)))


if __name__ == "__main__":
    main()

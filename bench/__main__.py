"""`make bench`, or `python -m bench`: measure this machine with this code and write results/bench.

It needs only the project. Every figure is a median over rounds in which the variants take turns, so that
other work on the machine disturbs all of them alike. A quiet machine still gives better figures.
"""

import socket
import sys
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from bench.chart import ratios
from bench.machine import machine
from bench.parts import PARTS
from bench.race import Bench, Row
from bench.tables import as_csv, as_markdown, as_tables
from suite.machine.environment import choose_device
from suite.machine.errors import one_of

QUICK_ROUNDS = 1
WIDTH = 120  # of the tables if the output is not a terminal


def run(
    only: Annotated[list[str] | None, typer.Option(help=f"Parts to measure: {', '.join(PARTS)}.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds in which every variant is timed once.")] = 11,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Tiny sizes, to check that all parts run.")] = False,
    results: Annotated[Path, typer.Option(help="The folder for <host>/bench.csv, .md and .svg.")] = Path(
        "results/bench"
    ),
) -> None:
    """Measure the limits of this machine, the training step, and everything around it."""
    names = only or list(PARTS)
    for name in names:
        if name not in PARTS:
            raise typer.BadParameter(f"there is no part {name!r}{one_of(name, list(PARTS))}")
    torch.set_num_threads(1)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    rows: list[Row] = []
    columns = (TextColumn("[bold]{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bench = Bench(choose_device(device), QUICK_ROUNDS if quick else rounds, quick, progress)
        for name in names:
            found = PARTS[name](bench)
            rows += found
            for table in as_tables(found):
                console.print(table)
    folder = results / socket.gethostname()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "bench.csv").write_text(as_csv(rows))
    (folder / "bench.md").write_text(as_markdown(rows, machine(bench.device)))
    (folder / "bench.svg").write_text(ratios(rows), encoding="utf-8")
    console.print(f"written to {folder}: bench.csv, bench.md, bench.svg")


if __name__ == "__main__":
    typer.run(run)

"""`make calibrate`, or `python -m report.calibration`: simulate tasks and count how often verdicts are right.

It ends with status 1 if a bound is missed.
"""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from report.calibration.checks import Case, Check, Effort, cases, failing
from report.calibration.page import markdown, picture, table
from suite.records.files import write_atomically


def run(
    tasks: Annotated[int, typer.Option(min=1, help="Simulated tasks for each case.")] = 500,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    folder: Annotated[Path, typer.Option(help="Where calibration.md, .csv and .svg are written.")] = Path(
        "results/published/calibration"
    ),
) -> None:
    """Error rates, coverage and power of the very code that prints verdicts."""
    console = Console()
    with ProcessPoolExecutor(workers) as pool:
        found = [check for of_case in pool.map(run_case, cases(Effort(tasks))) for check in of_case]
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "calibration.csv": table(found),
        "calibration.svg": picture(found),
        "calibration.md": markdown(found),
    }
    for name, text in files.items():
        write_atomically(folder / name, text.encode())
    missed = failing(found)
    for check in missed:
        size = f"{check.methods} methods, {check.units} units"
        console.print(f"missed: {check.what}; {check.case}; {size}: {check.share:.1%}")
    console.print(f"{len(found)} shares, {len(missed)} bounds missed; written to {folder}")
    raise typer.Exit(bool(missed))


def run_case(case: Case) -> list[Check]:
    return list(case())


if __name__ == "__main__":
    typer.run(run)

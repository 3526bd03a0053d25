"""Builds the report of an experiment: reads its records, writes its report folder."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from rich.table import Table

from report.analysis.frames import runs_frame, tuning_frame
from report.draw.svg import standalone
from report.page.gather import Report, gather
from report.page.html import markdown_page, page
from report.page.texts import accuracy_rows, console, latex
from report.read.experiment import Records, read_records
from suite.records.files import write_atomically


def build_report(experiment_folder: Path, show: Callable[[Table], object] = lambda table: None) -> Path:
    """Write results/<experiment>/report/ and return the path of its index.html.

    `show` is given the result as a table for the terminal.
    The same records give the same bytes, whenever and wherever. Raises FileNotFoundError without a plan and
    DamagedRecord for a plan that cannot be read; whatever else is damaged is shown in the coverage table.
    """
    records = read_records(experiment_folder)
    report = gather(records)
    target = experiment_folder / "report"
    target.mkdir(exist_ok=True)
    drawings = {f"{name}.svg": standalone(svg) for name, svg in svgs(report).items()}
    for stale in sorted(target.glob("*.svg")):
        if stale.name not in drawings:
            stale.unlink()
    texts = {
        **drawings,
        **data_files(records, report),
        "accuracy.tex": latex([each.comparison for each in report.tasks]),
        "report.md": markdown_page(report),
        "index.html": page(report),  # last, so that it never shows before its files
    }
    for name, text in texts.items():
        write_atomically(target / name, text.encode())
    show(console([each.comparison for each in report.tasks]))
    return target / "index.html"


def svgs(report: Report) -> dict[str, str]:
    drawings = [
        drawing
        for task in report.tasks
        for drawing in (task.accuracy, *task.learning, *task.flips, task.tuning)
        if drawing is not None
    ]
    return {drawing.name: drawing.svg for drawing in drawings}


def data_files(records: Records, report: Report) -> dict[str, str]:
    frames = {
        "accuracy.csv": pd.DataFrame(
            [row for task in report.tasks for row in accuracy_rows(task.comparison)]
        ),
        "runs.csv": runs_frame(records),
        "curves.csv": report.curves,
        "flips.csv": report.layers,
        "tuning.csv": tuning_frame(records),
    }
    return {name: frame.to_csv(index=False, lineterminator="\n") for name, frame in frames.items()}

"""Builds the page of a placement from its records: index.html, placement.md and a table for a paper."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.table import Table as RichTable

from report.build import write_report
from report.page.advice import Origin
from report.page.gather import gather
from report.page.html import placement_markdown, placement_page
from report.page.latex import latex_tables
from report.page.placement import ExperimentPlacement, experiment_placement
from report.page.terminal import console
from report.read.experiment import read_records
from suite.records.files import write_atomically
from suite.records.placement import PLACED, PlacedTask, Placement, read_placement


def build_placement(
    folder: Path,
    show: Callable[[RichTable], object] = lambda table: None,
    say: Callable[[str], object] = print,
) -> Path:
    """Write the page of a placement, and the whole report of each of its experiments next to it.

    show: called with the table of each experiment, `say` with the sentences. The same records give the same
    bytes. Raises FileNotFoundError or DamagedRecord as `build_report` does.
    """
    placement = read_placement(folder)
    found: list[ExperimentPlacement] = []
    for placed in placement.tasks:
        records = read_records(folder / placed.folder)
        name = f"{PLACED}/{folder.name}/{placed.folder}"  # by which `flipbench report` finds them
        records = replace(records, plan=replace(records.plan, experiment=name))
        report = gather(records, origin=_origin(placement.placement, placed))
        write_report(report, folder / placed.folder / "report")
        found.append(experiment_placement(placement, placed, records, report))
        show(console([each.comparison for each in report.tasks]))
        for task in found[-1].tasks:
            for sentence in (*task.cautions, *task.sentences):
                say(sentence)
    tables = [(task.title, task.table) for each in found for task in each.tasks]
    write_atomically(folder / "placement.tex", latex_tables(tables).encode())
    write_atomically(folder / "placement.md", placement_markdown(placement, found).encode())
    write_atomically(folder / "index.html", placement_page(placement, found).encode())
    return folder / "index.html"


def _origin(newcomer: Placement, placed: PlacedTask) -> Origin:
    """The standard experiment without its claim, which is about other methods, and the newcomer's file."""
    return Origin(placed.experiment, ["claim=null"], {newcomer.method: newcomer.file})

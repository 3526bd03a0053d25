"""Builds the report of an experiment: reads its records, writes its report folder."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from report.analysis.claims.verdict import verdict_of
from report.analysis.numbers import SAME_EVERYWHERE
from report.analysis.versions import compare_versions
from report.draw.svg import standalone
from report.page.claims.evidence import ClaimEvidence, claims_csv, damaged, evidence_of
from report.page.downloads import numbers
from report.page.gather import Report, gather
from report.page.html import markdown_page, page
from report.page.latex import latex, latex_tables
from report.page.study import StudyPage, study_page
from report.page.terminal import console
from report.page.versions import Versions
from report.read.experiment import read_records
from report.read.records import Records
from report.read.trajectories import flips_reader
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, make_part, write_atomically, writing


def build_report(
    experiment_folder: Path,
    show: Callable[[Table | Text], object] = lambda result: None,
    on_problem: Callable[[str], object] = lambda text: None,
    target: Path | None = None,
    take: Callable[[dict[str, Any]], object] = lambda numbers: None,
) -> Path:
    """Write results/<experiment>/report/, or another folder, and return the path of its index.html.

    `show` is called with the result for the terminal, `take` with the numbers as JSON values,
    `on_problem` with each damaged record.
    The same records give the same bytes, at any time and in any place. Raises FileNotFoundError without a
    plan and DamagedRecord for a plan that cannot be read; all other damage is shown in the coverage table.
    """
    records = read_records(experiment_folder)
    for problem in records.damaged:
        on_problem(problem)
    report = gather(records, claim_shown(records, experiment_folder, on_problem))
    page = write_report(report, target or experiment_folder / "report")
    show(console([each.comparison for each in report.tasks]))
    if report.claim is not None:
        show(verdict_line(report.claim))
    take(numbers_of(report))
    return page


def verdict_line(found: ClaimEvidence) -> Text:
    """The verdict of a claim for the terminal, and how to see its tests."""
    return Text(
        f"{found.claim.id} {found.claim.title}: {found.mark.symbol} {found.mark.word}. {found.why}\n"
        f"its tests: flipbench claims {found.name}"
    )


def claim_shown(records: Records, folder: Path, on_problem: Callable[[str], object]) -> ClaimEvidence | None:
    """The claim that these records decide, if they make one; what keeps it from a verdict is shown."""
    if (claim := records.plan.claim) is None:
        return None
    try:
        return claim_evidence(records, folder)
    except DamagedRecord as problem:
        on_problem(str(problem))
        return damaged(records.plan.experiment, claim, str(problem))


def claim_evidence(records: Records, folder: Path, cautions: Sequence[str] = ()) -> ClaimEvidence:
    """The verdict on the claim of these records' plan, with its evidence.

    Raises DamagedRecord for the flips of a run that are not as they were written.
    """
    verdict = verdict_of(records, flips_reader(ExperimentFolder(folder)))
    return evidence_of(records, verdict, cautions)


def write_report(report: Report, target: Path) -> Path:
    """Write the files of a report into a folder, the page last; the path of the page."""
    return write_page(target, files_of(report), pictures="*.svg")


def write_page(target: Path, files: Mapping[str, str], pictures: str) -> Path:
    """Write the files of a page, by name, into a folder; its index.html.

    pictures: how the names of the page's pictures look. Those that the page of before has a command for go;
    any other picture is somebody else's.
    """
    make_part(target)
    page = target / "index.html"
    before = page.read_text(errors="replace") if page.is_file() else ""
    for stale in sorted(target.glob(pictures)):
        if stale.name not in files and f"--figure {html.escape(stale.stem)}<" in before:
            with writing(stale):
                stale.unlink()
    for name, text in files.items():
        write_atomically(target / name, text.encode())
    return page


FIGURE_FILES = (".svg", ".pdf", ".csv")


class NoFigure(Exception):
    """A report has no figure of this name; `known` are those that it has."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(f"no figure {name}")
        self.name, self.known = name, known


def write_figure(
    experiment_folder: Path, name: str, target: Path, on_problem: Callable[[str], object]
) -> None:
    """One figure of the report as a file of its own: as drawing or, for a name in .csv, its numbers.

    target: a path with one of FIGURE_FILES. Raises NoFigure, or as `build_report` does.
    """
    records = read_records(experiment_folder)
    for problem in records.damaged:
        on_problem(problem)
    report = gather(records, claim_shown(records, experiment_folder, on_problem))
    found = {each.name: (task.task, each) for task in report.tasks for each in task.drawings}
    over_tasks = (*(report.across.drawings if report.across else ()), *report.claim_drawings)
    found |= {each.name: (None, each) for each in over_tasks}
    found |= {each.drawing.name: (each.task, each.drawing) for each in report.transfers if each.drawing}
    if name not in found:
        raise NoFigure(name, list(found))
    task, drawing = found[name]
    if target.suffix == ".csv":
        content = numbers(report, task, drawing).encode()
    else:
        content = drawing.picture.pdf() if target.suffix == ".pdf" else standalone(drawing.svg).encode()
    write_atomically(target, content)


def study_tuning(
    experiment_folder: Path,
    on_problem: Callable[[str], object] = lambda text: None,
    effective: bool = False,
) -> list[StudyPage]:
    """How easy the methods of each task are to tune, for a screen or as JSON; writes nothing.

    effective: also fit the effective number of hyperparameters, about half a minute for each row. Raises as
    `build_report`.
    """
    records = read_records(experiment_folder)
    for problem in records.damaged:
        on_problem(problem)
    return [study_page(records, task, effective) for task in records.tasks]


COMPUTED = ("accuracy.csv", "tuning.csv", "transfer.csv")  # the others hold numbers as they were recorded
LONG = ("curves.csv", "flips.csv")  # a row for each run and epoch: too long for one document


def numbers_of(report: Report) -> dict[str, Any]:
    """The verdicts, and the rows of every CSV file that has less than a row for each run and epoch."""
    return {
        "experiment": report.plan.experiment,
        "protocol": report.plan.protocol,
        "planned": report.planned,
        "scored": report.scored,
        **({"claim": report.claim.as_json()} if report.claim else {}),
        "tasks": [
            {
                "data": each.task.data,
                "model": each.task.model,
                "verdict": each.verdict,
                "basis": each.basis,
                "caveats": each.caveats,
            }
            for each in report.tasks
        ],
        **{
            name.removesuffix(".csv"): frame.astype(object).where(known(frame), None).to_dict("records")
            for name, frame in report.frames.items()
            if name not in LONG
        },
    }


def known(frame: pd.DataFrame) -> pd.DataFrame:
    """Where there is a number: JSON has neither NaN nor the infinitely many draws that a share of 0 takes."""
    return frame.notna() & ~frame.isin([math.inf, -math.inf])


def compare_reports(first: Path, second: Path, on_problem: Callable[[str], object]) -> Versions:
    """Two experiment folders side by side; raises as `build_report` does. Nothing is written."""
    one, other = read_records(first), read_records(second)
    for problem in (*one.damaged, *other.damaged):
        on_problem(problem)
    return Versions(one, other, compare_versions(one, other))


def files_of(report: Report) -> dict[str, str]:
    """The files of the report folder by name, in the order in which they are written."""
    return {
        **{f"{drawing.name}.svg": standalone(drawing.svg) for drawing in report.drawings},
        **{
            name: frame.to_csv(
                index=False, lineterminator="\n", float_format=SAME_EVERYWHERE if name in COMPUTED else None
            )
            for name, frame in report.frames.items()
        },
        **({"claims.csv": claims_csv([report.claim])} if report.claim else {}),
        "accuracy.tex": latex([each.comparison for each in report.tasks]),
        "tuning.tex": latex_tables((each.task.title, each.tuning.ease) for each in report.tasks),
        "flips.tex": latex_tables((each.task.title, each.tables.flips) for each in report.tasks),
        "cost.tex": latex_tables((each.task.title, each.tables.cost) for each in report.tasks),
        **(
            {"transfer.tex": latex_tables((each.task.title, each.table) for each in report.transfers)}
            if report.transfers
            else {}
        ),
        "report.md": markdown_page(report),
        "index.html": page(report),  # last, so that it never appears before its files
    }

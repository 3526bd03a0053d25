"""What can be taken from the page: each figure as PDF and CSV, each table as CSV and LaTeX.

The files are in the links themselves, so that they are still there when only the page was sent. A figure as
SVG is in the page already; its script makes that link.
"""

import base64
import csv
import io
from urllib.parse import quote

from report.draw.drawing import Drawing
from report.page.gather import Report
from report.page.latex import latex_table
from report.page.tables import Table
from report.read.records import Task

Link = tuple[str, str, str]  # kind, name of the file, address


def figure_files(report: Report, task: Task | None, drawing: Drawing) -> list[Link]:
    """The files of a figure; those of a bulky report lie next to the page.

    The SVG is in the page already: the page's script makes its link.
    """
    name = drawing.name
    if report.bulky:
        return [("SVG", f"{name}.svg", f"{name}.svg")]
    pdf = base64.b64encode(drawing.picture.pdf()).decode()
    return [
        ("PDF", f"{name}.pdf", f"data:application/pdf;base64,{pdf}"),
        ("CSV", f"{name}.csv", readable("text/csv", numbers(report, task, drawing))),
    ]


def numbers(report: Report, task: Task | None, drawing: Drawing) -> str:
    """The figure's own numbers, or those of its task in the first file that it names; of no task all."""
    frame = drawing.numbers
    if frame is None:
        whole = report.frames[drawing.data.split(",")[0].strip()]
        frame = whole
        if task is not None:
            frame = whole[(whole["data"] == task.data) & (whole["model"] == task.model)]
    if task is not None:  # it is in the name of the figure
        frame = frame.drop(columns=["cell", "data", "model"], errors="ignore")
    return frame.to_csv(index=False, lineterminator="\n", float_format="%.6g")


def table_files(table: Table, name: str) -> list[Link]:
    lines = io.StringIO()
    csv.writer(lines, lineterminator="\n").writerows([table.columns, *table.rows])
    name = name.removeprefix("table-")
    return [
        ("CSV", f"{name}.csv", text("text/csv", lines.getvalue())),
        ("LaTeX", f"{name}.tex", text("text/x-tex", latex_table(table))),
    ]


def text(kind: str, content: str) -> str:
    """The shorter of two ways to write it: most tables are readable as they are, LaTeX is not."""
    packed = f"data:{kind};charset=utf-8;base64,{base64.b64encode(content.encode()).decode()}"
    return min(readable(kind, content), packed, key=len)


def readable(kind: str, content: str) -> str:
    """Characters stay as they are, but for those that an address may not have; the page's script reads it."""
    return f"data:{kind};charset=utf-8,{quote(content, safe=',./:;()=+-_*$!?@|[]{}^~`')}"

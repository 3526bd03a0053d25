"""Fills a template: pages of HTML that need no other file, and their Markdown."""

import functools
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from report.analysis.families import Family
from report.analysis.numbers import grouped, span
from report.draw.svg import RULES
from report.page.claims.overview import Overview
from report.page.downloads import figure_files, table_files
from report.page.gather import Report
from report.page.markdown import fenced, markdown, plain
from report.page.placement import ExperimentPlacement
from report.page.tables import Table
from suite.machine.words import count
from suite.records.placement import PlacementRecord

TEMPLATES = Path(__file__).parent / "templates"
ADDRESS = re.compile(r"https?://[^\s,;)]+")


def page(report: Report) -> str:
    """The whole of index.html."""
    template = templates(autoescape=True).get_template("index.html.jinja")
    return template.render(report=report, rules=Markup(RULES), rules_json=Markup(json.dumps(RULES)))


def markdown_page(report: Report) -> str:
    """The whole of report.md: the same content without the drawings."""
    return templates(autoescape=False, finalize=plain).get_template("report.md.jinja").render(report=report)


def placement_page(placement: PlacementRecord, found: Sequence[ExperimentPlacement]) -> str:
    """The whole page of a placement."""
    jinja = templates(autoescape=True)
    task = jinja.get_template("placement-task.jinja")
    parts = [Markup(task.render(report=each.report, placed=each.placed, tasks=each.tasks)) for each in found]
    template = jinja.get_template("placement.html.jinja")
    script = Markup(json.dumps(RULES))
    return template.render(placement=placement, parts=parts, rules=Markup(RULES), rules_json=script)


def placement_markdown(placement: PlacementRecord, found: Sequence[ExperimentPlacement]) -> str:
    """The same content without the drawings."""
    template = templates(autoescape=False, finalize=plain).get_template("placement.md.jinja")
    return template.render(placement=placement, found=found)


def claims_page(overview: Overview) -> str:
    """The whole page of all claims."""
    template = templates(autoescape=True).get_template("claims.html.jinja")
    return template.render(page=overview, rules=Markup(RULES))


def claims_markdown(overview: Overview, picture: str = "") -> str:
    """The same content without the drawings. picture: the name of a file with the top of the page."""
    template = templates(autoescape=False, finalize=plain).get_template("claims.md.jinja")
    return template.render(page=overview, picture=picture)


@functools.cache
def templates(autoescape: bool, finalize: Callable[[Any], Any] | None = None) -> Environment:
    """The templates with their filters; `finalize` is applied to every value that they insert."""
    jinja = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=autoescape,
        finalize=finalize,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters.update(
        linked=linked,
        stressed=stressed,
        breakable=breakable,
        safe_svg=Markup,
        markdown=markdown,
        fenced=fenced,
        count=count,
        grouped=grouped,
        span=span,
        rows_of=rows_of,
        figure_files=figure_files,
        table_files=table_files,
    )
    return jinja


def rows_of(table: Table, family: Family) -> list[tuple[int, list[str]]]:
    """The rows of a family's methods, the best first, each with its number in the table."""
    return [
        (number, row)
        for method in family.methods
        for number, row in enumerate(table.rows)
        if row[0] == method
    ]


def linked(text: str) -> Markup:
    """The text with its web addresses as links."""
    pieces, end = [], 0
    for found in ADDRESS.finditer(text):
        address = escape(found.group())
        pieces += [escape(text[end : found.start()]), Markup(f'<a href="{address}">{address}</a>')]
        end = found.end()
    return Markup("").join([*pieces, escape(text[end:])])


def stressed(text: str, word: str | None) -> Markup:
    """The text with the first occurrence of a name in bold, where it is no part of a longer word."""
    found = re.search(rf"(?<![\w+-]){re.escape(word)}(?![\w+-])", text) if word else None
    if found is None:
        return escape(text)
    strong = Markup("<strong>{}</strong>").format(found.group())
    return escape(text[: found.start()]) + strong + escape(text[found.end() :])


def breakable(name: str) -> Markup:
    """A name that may be broken after an underscore."""
    return Markup("_<wbr>").join(escape(part) for part in name.split("_"))

"""Markdown that shows a value and nothing else: text, code and tables."""

import re

from markupsafe import Markup

from report.page.tables import Table


def plain(value: object) -> Markup:
    """A value as Markdown that shows it and is nothing else: no HTML, no line, link or picture of its own."""
    if isinstance(value, Markup):
        return value
    text = re.sub(r"\s*[\r\n]+\s*", " ", str(value))
    text = re.sub(r"&(?=#?\w+;)", "&amp;", text).replace("<", "&lt;")
    text = text.replace("![", "!\\[").replace("](", "]\\(")
    return Markup(re.sub(r"^(\s*)([#>*+=|-])", r"\1\\\2", text))


def fenced(text: str, language: str) -> Markup:
    """A block of code, between fences that its text cannot close."""
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return Markup(f"{fence}{language}\n{text.rstrip()}\n{fence}")


def markdown(table: Table) -> Markup:
    """A pipe table."""
    rules = ["---" if column in table.text else "---:" for column in range(len(table.columns))]
    lines = [[_cell(cell) for cell in line] for line in (table.columns, *table.rows)]
    lines.insert(1, rules)
    return Markup("\n".join(f"| {' | '.join(line)} |" for line in lines))


def _cell(text: str) -> str:
    """The text of a cell: a pipe in it is no border, whatever stands before it."""
    return re.sub(r"(\\*)\|", lambda found: rf"{found[1] * 2}\|", plain(text))

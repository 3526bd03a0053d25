"""Measured rows as a CSV file, as Markdown, and as tables on the terminal."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from rich import box
from rich.table import Table

from bench.race import Row

HEAD = ("case", "variant", "median", "faster", "of the limit", "rounds")


def as_csv(rows: Sequence[Row]) -> str:
    """Every field in full precision; an absent one is empty."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows(rows)
    return buffer.getvalue()


def as_markdown(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    """The machine, then one table for each part."""
    lines = ["# Measured by `make bench`", ""]
    lines += [f"* {name}: {value}" for name, value in machine.items()]
    lines += [
        "",
        "Medians over rounds in which the variants of a case took turns. `faster` is the median of the",
        "ratios within a round; a limit is measured on this machine in the same rounds.",
        "",
    ]
    for part, of_part in groupby(rows, lambda row: row.part):
        lines += [f"## {part}", "", _line(HEAD), _line("---" for _ in HEAD)]
        lines += [_line(cells(row)) for row in of_part]
        lines.append("")
    return "\n".join(lines)


def as_tables(rows: Sequence[Row]) -> list[Table]:
    """One table for each part."""
    tables = []
    for part, of_part in groupby(rows, lambda row: row.part):
        table = Table(*HEAD, title=part, title_justify="left", box=box.SIMPLE)
        for row in of_part:
            table.add_row(*cells(row))
        tables.append(table)
    return tables


def cells(row: Row) -> list[str]:
    """The texts of one row, in the order of HEAD."""
    ratio = "" if row.ratio is None else f"{row.ratio:.2f} x {row.baseline}"
    share = "" if row.share is None else f"{100 * row.share:.0f} % of {row.limit}"
    return [row.case, row.variant, f"{number(row.value)} {row.unit}", ratio, share, str(row.rounds)]


def number(value: float) -> str:
    """A number with three significant digits, or whole with its thousands separated."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _line(texts: Iterable[str]) -> str:
    return "| " + " | ".join(texts) + " |"

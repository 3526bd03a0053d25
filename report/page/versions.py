"""The comparison of two experiments for the terminal and for a program."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from report.analysis.numbers import NONE, percent, points
from report.analysis.versions import Row, conditional
from report.read.records import Records


@dataclass(frozen=True)
class Versions:
    """Two experiments and their rows side by side."""

    first: Records
    second: Records
    rows: list[Row]

    @property
    def table(self) -> Table:
        return versions_table(self.first, self.second, self.rows)

    @property
    def json(self) -> dict[str, Any]:
        return versions_json(self.first, self.second, self.rows)

    @property
    def notes(self) -> list[str]:
        return version_notes(self.first, self.second)


def versions_table(first: Records, second: Records, rows: list[Row]) -> Table:
    """A row for each method, the changed ones in bold."""
    changed, both = (
        sum(row.changed for row in rows),
        sum(min(row.first_units, row.second_units) > 0 for row in rows),
    )
    how_many = f"{changed} of {len(rows)} rows changed" if both else "no row has runs in both"
    given = ", given one draw of the tuning" if conditional(first) or conditional(second) else ""
    table = Table(
        title=f"{how_many}{given}: test top-1 accuracy, %",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        caption="first: "
        + title(first)
        + "; second: "
        + title(second)
        + ". Intervals of second - first: 95 % for "
        "all rows at once (Welch, Bonferroni), over studies where there are several, else over runs.",
        caption_justify="left",
    )
    table.add_column("task", overflow="fold")
    table.add_column("method", overflow="fold")
    for heading in ("first", "n", "second", "n", "change", "95 %"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("reading", overflow="fold")
    for row in rows:
        interval = f"[{points(row.interval.low)}, {points(row.interval.high)}]" if row.interval else NONE
        table.add_row(
            f"{row.data} \u00d7 {row.model}",
            row.method,
            percent(row.first),
            f"{row.first_units}",
            percent(row.second),
            f"{row.second_units}",
            points(row.difference),
            interval,
            row.reading,
            style="bold" if row.changed else "",
        )
    return table


def title(records: Records) -> str:
    return f"{records.plan.experiment} (protocol {records.plan.protocol})"


def versions_json(first: Records, second: Records, rows: list[Row]) -> dict[str, Any]:
    return {
        "first": first.plan.experiment,
        "second": second.plan.experiment,
        "one_draw_of_tuning": conditional(first) or conditional(second),
        "notes": version_notes(first, second),
        "rows": [
            {
                **{key: known(value) for key, value in asdict(row).items() if key != "interval"},
                "difference": known(row.difference),
                "low": row.interval.low if row.interval else None,
                "high": row.interval.high if row.interval else None,
            }
            for row in rows
        ],
    }


def known(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value


def version_notes(first: Records, second: Records) -> list[str]:
    """What makes the two less comparable than their rows look."""
    notes = []
    for name in first.plan.data:
        if name not in second.plan.data:
            continue
        one, other = first.data[name].record, second.data[name].record
        sizes = [each.plan.data[name].test for each in (first, second)]
        if sizes[0] != sizes[1]:
            notes.append(f"{name}: {sizes[0]} test images in the first, {sizes[1]} in the second")
        elif one and other and one.sha256 != other.sha256:
            notes.append(f"{name}: the images of the two differ")
    if first.plan.protocol != second.plan.protocol:
        notes.append(f"the protocols differ: {first.plan.protocol} and {second.plan.protocol}")
    return notes

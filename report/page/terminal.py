"""The result of a sweep for the terminal."""

from collections.abc import Sequence

from rich.box import SIMPLE
from rich.table import Table

from report.analysis.comparison import Comparison, conditional, over
from report.analysis.numbers import NONE, gap, p_value, spread


def console(comparisons: Sequence[Comparison]) -> Table:
    """The result for the terminal, narrow enough for 80 columns."""
    given = ", given one draw of the tuning" if conditional(comparisons) else ""
    table = Table(
        title=f"Test top-1 accuracy, %: mean ± 95 % interval over {over(comparisons)}{given}",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        caption=diverged_note(comparisons),
        caption_justify="left",
    )
    table.add_column("method", overflow="fold")
    for heading in ("top-1", "runs", "behind", "p"):
        table.add_column(heading, justify="right", overflow="fold")
    table.add_column("reading", overflow="fold")
    for comparison in comparisons:
        table.add_row(comparison.task.title, style="italic")
        for each in comparison.standings:
            judged = each.judged
            table.add_row(
                each.method,
                spread(judged),
                f"{judged.runs}/{judged.planned_runs}",
                gap(judged.reading.gap),
                p_value(judged.behind.p) if judged.behind else NONE,
                judged.reading.short,
                style="bold" if judged.may_be_best else "",
                end_section=each is comparison.standings[-1],
            )
    return table


def diverged_note(comparisons: Sequence[Comparison]) -> str | None:
    """Which runs diverged, over all tasks; None if none did."""
    notes = [
        f"{each.judged.diverged} of {each.method} on {comparison.task.title}"
        for comparison in comparisons
        for each in comparison.standings
        if each.judged.diverged
    ]
    return f"Diverged, counted at chance level: {', '.join(notes)}" if notes else None

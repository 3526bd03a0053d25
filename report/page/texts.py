"""The report as Markdown and its main table as LaTeX and for the terminal."""

from rich.box import SIMPLE
from rich.table import Table as RichTable

from report.analysis.comparison import BEST, Comparison
from report.analysis.numbers import p_value, points, spread
from report.page.tables import Table

LATEX = str.maketrans(
    {
        "_": r"\_",
        "%": r"\%",
        "&": r"\&",
        "#": r"\#",
        "$": r"\$",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "\\": r"\textbackslash{}",
        "±": r"$\pm$",
        "\u00d7": r"$\times$",
        "<": "$<$",
        "—": "--",
        "\u00a0": "~",
    }
)


def markdown(table: Table) -> str:
    """A pipe table."""
    rules = ["---" if column in table.text else "---:" for column in range(len(table.columns))]
    lines = [table.columns, rules, *table.rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def latex(comparisons: list[Comparison]) -> str:
    """A booktabs table of all tasks; needs \\usepackage{booktabs}."""
    lines = [
        "% Test top-1 accuracy, mean and 95 % t-interval over seeds; p: paired t-test, Holm-corrected.",
        r"\begin{tabular}{llrrrl}",
        r"\toprule",
        r"task & method & test top-1, \% & runs & $p$ & reading \\",
    ]
    for comparison in comparisons:
        lines.append(r"\midrule")
        for each in comparison.standings:
            cells = [
                comparison.task.title,
                each.method,
                spread(each),
                f"{len(each.scores)}/{each.planned}",
                p_value(each.p),
                each.mark,
            ]
            cells = [cell.translate(LATEX) for cell in cells]
            if each.mark == BEST:
                cells[2] = rf"\textbf{{{cells[2]}}}"
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def console(comparisons: list[Comparison]) -> RichTable:
    """The result for the terminal, narrow enough for 80 columns."""
    table = RichTable(
        title="Test top-1 accuracy, %: mean ± 95 % interval over seeds",
        title_justify="left",
        box=SIMPLE,
        pad_edge=False,
        caption=diverged_note(comparisons),
        caption_justify="left",
    )
    table.add_column("method", overflow="fold")
    for heading in ("top-1", "runs", "Δ to best", "p"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("reading", no_wrap=True)
    for comparison in comparisons:
        table.add_row(comparison.task.title, style="italic")
        for each in comparison.standings:
            table.add_row(
                each.method,
                spread(each),
                f"{len(each.scores)}/{each.planned}",
                points(each.difference),
                p_value(each.p),
                each.short_mark,
                style="bold" if each.mark == BEST else "",
                end_section=each is comparison.standings[-1],
            )
    return table


def diverged_note(comparisons: list[Comparison]) -> str | None:
    """Which runs diverged, over all tasks; None if none did."""
    notes = [
        f"{each.diverged} of {each.method} on {comparison.task.title}"
        for comparison in comparisons
        for each in comparison.standings
        if each.diverged
    ]
    return f"Diverged, counted at chance level: {', '.join(notes)}" if notes else None

"""The report as Markdown and its main table as LaTeX and for the terminal."""

import re

from markupsafe import Markup
from rich.box import SIMPLE
from rich.table import Table as RichTable

from report.analysis.comparison import Comparison
from report.analysis.numbers import NONE, gap, p_value, plural, spread
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
        "\u2212": "$-$",
        "\u00a0": "~",
    }
)


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


def latex(comparisons: list[Comparison]) -> str:
    """A booktabs table of all tasks; needs \\usepackage{booktabs}."""
    lines = [
        f"% Test top-1 accuracy in percent: mean and 95 % t-interval over {over(comparisons)}.",
        "% Readings: 95 % for all pairs of a task at once; d: points behind the highest mean.",
        "% Bold: not excluded as the best.",
        *(["% All statements are given one draw of the tuning."] if conditional(comparisons) else []),
        r"\begin{tabular}{llrrrl}",
        r"\toprule",
        r"task & method & test top-1, \% & runs & $p$ & reading \\",
    ]
    for comparison in comparisons:
        lines.append(r"\midrule")
        for each in comparison.standings:
            judged = each.judged
            cells = [
                comparison.task.title,
                each.method,
                spread(judged),
                f"{judged.runs}/{judged.planned_runs}",
                p_value(judged.behind.p) if judged.behind else NONE,
                judged.reading.words,
            ]
            cells = [cell.translate(LATEX) for cell in cells]
            if judged.may_be_best:
                cells[2] = rf"\textbf{{{cells[2]}}}"
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def over(comparisons: list[Comparison]) -> str:
    """What the interval next to the mean is over."""
    return " or ".join(dict.fromkeys(plural(2, each.judgement.unit) for each in comparisons)) or "runs"


def conditional(comparisons: list[Comparison]) -> bool:
    return any(each.judgement.conditional for each in comparisons)


def console(comparisons: list[Comparison]) -> RichTable:
    """The result for the terminal, narrow enough for 80 columns."""
    given = ", given one draw of the tuning" if conditional(comparisons) else ""
    table = RichTable(
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


def diverged_note(comparisons: list[Comparison]) -> str | None:
    """Which runs diverged, over all tasks; None if none did."""
    notes = [
        f"{each.judged.diverged} of {each.method} on {comparison.task.title}"
        for comparison in comparisons
        for each in comparison.standings
        if each.judged.diverged
    ]
    return f"Diverged, counted at chance level: {', '.join(notes)}" if notes else None

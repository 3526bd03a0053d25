"""The tables for a paper: LaTeX with booktabs."""

from collections.abc import Iterable, Sequence

from report.analysis.comparison import Comparison, conditional, over
from report.analysis.numbers import NONE, p_value, spread
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
        "\u202f": r"\,",
        "\u2011": "-",
        "Δ": r"$\Delta$",
        "π": r"$\pi$",
        "→": r"$\to$",
        "…": r"\dots{}",
        "∞": r"$\infty$",
        ">": "$>$",
        "≥": r"$\ge$",
        "≤": r"$\le$",
        "δ": r"$\delta$",
        "|": r"$|$",
    }
)


def latex(comparisons: Sequence[Comparison]) -> str:
    """A booktabs table of all tasks; needs \\usepackage{booktabs}."""
    any_may_be_best = any(each.judged.may_be_best for found in comparisons for each in found.standings)
    lines = [
        f"% Test top-1 accuracy in percent: mean and 95 % t-interval over {over(comparisons)}.",
        "% Readings: 95 % for all pairs of a task at once; d: points behind the highest mean.",
        *(["% Bold: not excluded as the best."] if any_may_be_best else []),
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


def latex_table(table: Table) -> str:
    """One table; needs \\usepackage{booktabs}."""
    return latex_tables([("", table)])


def latex_tables(tables: Iterable[tuple[str, Table]]) -> str:
    """The same table of several tasks below one another, each under its title."""
    lines: list[str] = []
    for title, table in tables:
        width = len(table.columns)
        if not lines:
            sides = "".join("l" if column in table.text else "r" for column in range(width))
            lines = [rf"\begin{{tabular}}{{{sides}}}", r"\toprule", line(table.columns)]
        lines.append(r"\midrule")
        if title:
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{title.translate(LATEX)}}}}} \\")
        for number, row in enumerate(table.rows):
            cells = [cell.translate(LATEX) for cell in row]
            if number in table.strong:
                cells[:2] = [rf"\textbf{{{cell}}}" for cell in cells[:2]]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def line(cells: list[str]) -> str:
    return " & ".join(cell.translate(LATEX) for cell in cells) + r" \\"

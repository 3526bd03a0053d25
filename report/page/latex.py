"""The tables for a paper: LaTeX with booktabs."""

from collections.abc import Iterable

from report.page.tables import Table
from report.page.texts import LATEX

MORE = LATEX | str.maketrans(
    {
        "\u2212": "$-$",
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
            lines.append(rf"\multicolumn{{{width}}}{{l}}{{\emph{{{title.translate(MORE)}}}}} \\")
        for number, row in enumerate(table.rows):
            cells = [cell.translate(MORE) for cell in row]
            if number in table.strong:
                cells[:2] = [rf"\textbf{{{cell}}}" for cell in cells[:2]]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def line(cells: list[str]) -> str:
    return " & ".join(cell.translate(MORE) for cell in cells) + r" \\"

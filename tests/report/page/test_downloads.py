"""Tables as LaTeX and as CSV in a link."""

from urllib.parse import unquote

from report.page.downloads import table_files
from report.page.latex import latex_tables
from report.page.tables import Table

TABLE = Table(["method", "gain, %"], [["a_b", "\u22120.50"], ["c|d & e", "—"]], strong=(0,))


def test_a_latex_table_has_rules_titles_and_nothing_that_latex_would_read() -> None:
    assert latex_tables([("digits \u00d7 mlp", TABLE), ("other", TABLE)]).splitlines() == [
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"method & gain, \% \\",
        r"\midrule",
        r"\multicolumn{2}{l}{\emph{digits $\times$ mlp}} \\",
        r"\textbf{a\_b} & \textbf{$-$0.50} \\",
        r"c$|$d \& e & -- \\",
        r"\midrule",
        r"\multicolumn{2}{l}{\emph{other}} \\",
        r"\textbf{a\_b} & \textbf{$-$0.50} \\",
        r"c$|$d \& e & -- \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_the_link_of_a_table_holds_its_cells() -> None:
    (kind, name, address), tex = table_files(TABLE, "table-gain")
    assert (kind, name, tex[:2]) == ("CSV", "gain.csv", ("LaTeX", "gain.tex"))
    head, content = address.split(",", 1)
    assert head == "data:text/csv;charset=utf-8" and not set(address) & set('<>"# \n&')
    assert unquote(content) == 'method,"gain, %"\na_b,\u22120.50\nc|d & e,—\n'

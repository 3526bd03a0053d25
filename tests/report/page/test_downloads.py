"""Tables as LaTeX and as CSV in a link."""

from base64 import b64decode
from urllib.parse import unquote

from report.page.downloads import readable, table_files, text
from report.page.latex import latex_table, latex_tables
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


def content_of(address: str) -> str:
    """What a browser writes to the file: a data URL is base64 if it says so, else text with %."""
    head, content = address.split(",", 1)
    assert head.startswith("data:text/") and not set(address) & set('<>"# \n&')
    return b64decode(content).decode() if head.endswith(";base64") else unquote(content)


def test_the_link_of_a_table_holds_its_cells() -> None:
    (kind, name, address), tex = table_files(TABLE, "table-gain")
    assert (kind, name, tex[:2]) == ("CSV", "gain.csv", ("LaTeX", "gain.tex"))
    assert content_of(address) == 'method,"gain, %"\na_b,\u22120.50\nc|d & e,—\n'
    assert content_of(tex[2]) == latex_table(TABLE)


def test_a_link_is_written_in_the_shorter_way() -> None:
    assert text("text/csv", "a,b\n1,2\n") == "data:text/csv;charset=utf-8,a,b%0A1,2%0A"
    assert readable("text/csv", "\u2212\n") == "data:text/csv;charset=utf-8,%E2%88%92%0A"  # for a script
    assert text("text/x-tex", 3 * "\\\\\n") == "data:text/x-tex;charset=utf-8;base64,XFwKXFwKXFwK"

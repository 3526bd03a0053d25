"""What commands print reaches the user as it was meant: nothing is cut off, and no text is read as markup."""

import io
import os

import pytest
from rich.console import Console

from suite.cli import console
from suite.cli.console import complain, say, table

TEXT = "/a/[b]/[/z] :smile: [bold]" + 100 * "c"


def printed(width: int, *things: object) -> str:
    """What a console of this width prints, without spaces and line ends."""
    ours: Console = console._console(None, stderr=False)
    ours.file, ours.width = io.StringIO(), width
    for thing in things:
        ours.print(thing)
    return "".join(ours.file.getvalue().split())


@pytest.mark.parametrize("width", [20, 80, console.WIDE])
def test_every_text_is_printed_as_it_is(width: int) -> None:
    rows = table(f"head-{TEXT}", box=None)
    rows.add_row(TEXT)
    bare = TEXT.replace(" ", "")
    assert printed(width, TEXT, rows) == f"{bare}head-{bare}{bare}"


def test_a_width_of_zero_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "0")
    assert console._console(None, stderr=False).width == console.WIDE
    assert "COLUMNS" not in os.environ


def test_a_path_is_not_cut_into_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    ours: Console = console._console(None, stderr=False)
    ours.file, ours.width = io.StringIO(), 80
    monkeypatch.setattr(console, "err", ours)
    say(ours, TEXT)
    complain("error:", TEXT)
    assert ours.file.getvalue() == f"{TEXT}\nerror: {TEXT}\n"


def test_json_needs_no_letter_that_an_encoding_may_lack(capsys: pytest.CaptureFixture) -> None:
    console.print_json({"± \udcff": "Δ"})
    assert capsys.readouterr().out.isascii()

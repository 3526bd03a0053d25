"""What commands print reaches the user as it was meant."""

import io

from rich.console import Console

from suite.cli.console import say


def test_a_path_is_not_cut_and_not_read_as_markup() -> None:
    path = "/a/[b]/" + 100 * "c"
    console = Console(file=io.StringIO(), width=80)
    say(console, path)
    assert isinstance(console.file, io.StringIO) and console.file.getvalue() == f"{path}\n"

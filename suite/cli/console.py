"""Where commands print: results on stdout, everything else on stderr.

These consoles print every text as it is: none of them reads markup or names of emoji, so no path, name or
message has to be escaped. Where something is to stand out, it is a rich Text with a style.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

SHOWN = 10  # problems, of however many
WIDE = 10_000  # columns where no terminal sets a limit: a line of a table stays a line


def _console(stream: TextIO | None, *, stderr: bool) -> Console:
    if os.environ.get("COLUMNS") == "0":  # as some containers say that they know no width: nothing would show
        del os.environ["COLUMNS"]
    narrow = "COLUMNS" in os.environ or (stream is not None and stream.isatty())
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=None if narrow else WIDE)


out, err = _console(sys.stdout, stderr=False), _console(sys.stderr, stderr=True)


def say(console: Console, text: str) -> None:
    """Print a text of which no line may be cut: it holds a path."""
    console.print(text, soft_wrap=True)


def complain(word: str, text: str) -> None:
    """Print a problem on stderr, its first word in red."""
    err.print(Text.assemble((word, "bold red"), f" {text}"), soft_wrap=True)


def end_if_damaged(problems: Sequence[str]) -> None:
    """End with exit code 2 if a reader of the records has found problems; the first of them are named."""
    for problem in problems[:SHOWN]:
        say(err, f"damaged: {problem}")
    if problems:
        say(err, f"{len(problems)} damaged or contradictory records; `flipbench verify` names all of them")
        raise typer.Exit(2)


def duration(seconds: float) -> str:
    """A time that a person waits: in the unit that suits it, and not more exact than that."""
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min" if minutes < 48 * 60 else f"{minutes / 1440:,.0f} days"


def more_studies(studies: Mapping[str, int]) -> str:
    """`5 of bop, frozen`, for each number of studies that some methods have instead of the common one."""
    return "; ".join(
        f"{number} of {', '.join(name for name, other in studies.items() if other == number)}"
        for number in dict.fromkeys(studies.values())
    )


def table(*columns: Column | str, **settings: Any) -> Table:
    """A table that folds the texts which are too long for the terminal: nothing is cut off."""
    made = Table(*columns, **settings)
    for column in made.columns:
        column.overflow = "fold"
    return made


def print_json(value: Any) -> None:
    """The result for a program, in characters that every encoding has."""
    print(json.dumps(value, indent=1))

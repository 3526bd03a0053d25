"""Where commands print: results on stdout, everything else on stderr."""

import json
from typing import Any

from rich.console import Console

out, err = Console(), Console(stderr=True)


def say(console: Console, text: str) -> None:
    """Print the text as it is: a path must not be cut into lines or be read as markup."""
    console.print(text, markup=False, soft_wrap=True, highlight=False)


def print_json(value: Any) -> None:
    """The result for a program."""
    print(json.dumps(value, indent=1, ensure_ascii=False))

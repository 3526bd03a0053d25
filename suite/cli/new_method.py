"""`flipbench new-method`: a commented file of a method that works, to begin one's own with."""

import ast
import builtins
import keyword
import os
import re
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.catalogue import catalogue
from suite.cli.console import err, out, say
from suite.machine.errors import UserError
from suite.records.files import write_atomically

TEMPLATE = Path(__file__).parent / "templates" / "my_method.py"


def new_method(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Of the method, for example my-method.")],
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="The folder of the file.")] = Path("."),
) -> None:
    """Write NAME.py, a commented method that trains and passes `check`: make it your own."""
    text, identifier = TEMPLATE.read_text(), name.replace("-", "_")
    if problem := _problem(identifier, text):
        raise UserError(f"{name!r} cannot be the name of a method: {problem}")
    path = to / f"{identifier}.py"
    if os.path.lexists(path):
        raise UserError(f"{path} exists already: choose another name, or another folder with --to")
    if not to.is_dir():
        raise UserError(f"--to {to}: there is no such folder")
    write_atomically(path, _named(text, identifier).encode())
    file, method = shlex.quote(str(path)), identifier.replace("_", "-")
    say(err, f"wrote {path}. Next:")
    say(out, f"flipbench check {file}")
    say(out, f'make demo ARGS="--plugin {file} --set methods.1={method}"')
    say(out, f"flipbench place {file}")


def _problem(identifier: str, template: str) -> str:
    """Why no file, function and method can have this name, or nothing."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,59}", identifier):
        return "it has small letters, digits, '-' and '_', a letter first, 60 at most"
    if keyword.iskeyword(identifier) or hasattr(builtins, identifier):
        return "it means something else in Python"
    if identifier in sys.stdlib_module_names or {identifier, _class(identifier)} & _imported(template):
        return "a module or a function that its file needs is called so"
    if identifier.replace("_", "-") in catalogue()["methods"]:
        return "there is a method of this name"
    return ""


def _imported(template: str) -> set[str]:
    nodes = [node for node in ast.walk(ast.parse(template)) if isinstance(node, ast.Import | ast.ImportFrom)]
    return {alias.name for node in nodes for alias in node.names} | {"optimizers"}


def _class(identifier: str) -> str:
    return "".join(word.capitalize() for word in identifier.split("_"))


def _named(text: str, identifier: str) -> str:
    """The template with this name in place of its own."""
    title = identifier.replace("_", " ").capitalize()
    named = text.replace("my_method", identifier).replace("MyMethod", _class(identifier))
    return named.replace("My method:", f"{title}:")

"""The file of a plugin, before it is executed: whether it can be one, and the hash that stands for it."""

import ast
import contextlib
import hashlib
from pathlib import Path

from suite.machine.errors import UserError


def require_python(path: Path) -> None:
    """UserError unless the path is that of a Python file."""
    if not path.exists():
        raise UserError(f"{path}: there is no such file")
    if not path.is_file() or path.suffix != ".py":
        what = "a folder" if path.is_dir() else "no Python file: its name does not end in .py"
        raise UserError(f"{path}: it is {what}")


def source_of(path: Path) -> str:
    """A hash of the content of a plugin's file, which its trials hold; UserError as `require_python`."""
    require_python(path)
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


DECORATORS = {"method", "model", "dataset"}


def names_in(path: Path) -> list[str]:
    """The names that a file registers, as far as its text shows them: nothing is executed."""
    tree = ast.Module([], [])
    with contextlib.suppress(OSError, SyntaxError, ValueError):
        tree = ast.parse(path.read_bytes())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    return [
        function.name.replace("_", "-")
        for function in functions
        if DECORATORS & {ast.unparse(each).partition("(")[0] for each in function.decorator_list}
    ]

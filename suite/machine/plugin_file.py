"""The file of a plugin, before it is executed: whether it can be one, and the hash that stands for it."""

import ast
import contextlib
import hashlib
import importlib.util
import sysconfig
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


def loose_import(path: Path) -> str:
    """The other file that this one imports, or nothing; it is in no run's name, unlike what is installed."""
    with contextlib.suppress(SyntaxError, ValueError):  # whoever executes the file says so
        for name in sorted(imported(ast.parse(path.read_bytes()))):
            if home := _home_of_loose(name, path.parent):
                return (
                    f"it imports {name} from {home}. A plugin is one file, whose hash is in the names of its "
                    f"runs: a change of {name} would not make new ones. Put its code into the file, or "
                    "install it as a package"
                )
    return ""


def imported(tree: ast.Module) -> set[str]:
    """The packages and modules that some statement of a file imports, without what is inside them."""
    nodes = [*ast.walk(tree)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level]
    return {name.partition(".")[0] for name in names} - {""}


def _home_of_loose(name: str, beside: Path) -> Path | None:
    """Where a module lies that is neither installed nor part of Python or flipbench; None for all others."""
    try:
        found = importlib.util.find_spec(name)
    except ValueError:  # a module that was made at run time
        return None
    if found is None:
        loose = [beside / f"{name}.py", beside / name / "__init__.py"]
        return next((path for path in loose if path.exists()), None)
    folders = list(found.submodule_search_locations or ())  # of a package, or of a folder without __init__.py
    place = found.origin if found.has_location else next(iter(folders), None)
    if place is None:
        return None
    home = Path(place).resolve()
    installed = {Path(place).resolve() for place in sysconfig.get_paths().values()} | {FLIPBENCH}
    parts = {"site-packages", "dist-packages"}
    return None if parts & set(home.parts) or installed & set(home.parents) else home


FLIPBENCH = Path(__file__).resolve().parents[2]
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

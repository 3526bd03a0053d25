"""What a file says before it is executed: whether it can be read, and what it imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

from suite.checks.contract.remark import Remark
from suite.machine.errors import UserError
from suite.machine.plugin_file import require_python

IMPORTERS = {"importlib.import_module", "import_module", "__import__"}
DATA = (
    "suite",
    "report",
    "torchvision.datasets",
    "sklearn.datasets",
)  # from these the test set can be reached
BUT = ("suite.models",)  # building blocks of networks
OF_DATA_SETS = tuple(
    f"suite.data.{name}" for name in ("dataset", "Dataset", "Images", "Source", "DataError", "data_root")
)


def parsed(path: Path) -> ast.Module:
    """The syntax of a file; UserError with the line if it cannot be read or is no Python."""
    require_python(path)
    try:
        return ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise UserError(f"{path}{line}: {error.msg if isinstance(error, SyntaxError) else error}") from None
    except (OSError, RecursionError, MemoryError) as error:
        raise UserError(f"{path}: {error}") from None


def imports_no_data(tree: ast.Module, *, with_data: bool) -> Iterator[Remark]:
    """A method and a model get their tensors from the training: they import nothing that can read images.

    with_data: a data set is in the same file, and may use the parts that one is made of.
    """
    allowed = (*BUT, *(OF_DATA_SETS if with_data else ()))
    hint = "; a data set that needs it belongs in a file of its own" if with_data else ""
    for node in ast.walk(tree):
        for name in _names(node):
            if any(_within(name, module) for module in DATA) and not any(_within(name, m) for m in allowed):
                line = getattr(node, "lineno", None)
                yield Remark(
                    f"it uses {name}: a method needs torch and optimizers.core, a model suite.models in "
                    f"addition, and from there it could reach the test set{hint}",
                    line,
                )
                break


def _within(name: str, module: str) -> bool:
    return name == module or name.startswith(f"{module}.")


def _names(node: ast.AST) -> Iterator[str]:
    """The modules that a node imports, with the name that it takes from them."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
        yield from (f"{node.module}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in IMPORTERS:
        yield from (
            argument.value
            for argument in node.args[:1]
            if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
        )

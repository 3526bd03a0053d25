"""The files that `--plugin` names."""

from collections.abc import Iterable
from pathlib import Path

from suite.machine.errors import UserError


def load_plugins(plugins: Iterable[Path] | None) -> list[str]:
    """Register the methods of these files and return their absolute paths; they are executed.

    Raises UserError for a file that cannot be read or executed, or that holds no method.
    """
    from optimizers import load_plugin

    paths = list(plugins or ())
    for path in paths:
        try:
            load_plugin(path)
        except Exception as error:  # a plugin is a user's code: it may raise anything
            raise UserError(f"--plugin {path}: {type(error).__name__}: {error}") from None
    return [str(path.resolve()) for path in paths]

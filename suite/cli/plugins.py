"""The files that `--plugin` names. Their code runs in processes of its own: see suite/machine/apart.py."""

from collections.abc import Iterable
from pathlib import Path

from suite.machine.errors import UserError, described


def load_plugins(plugins: Iterable[Path] | None) -> None:
    """Register what these files hold; they are executed, and stay loaded.

    Raises UserError for a file that cannot be read or executed, or that holds nothing to register.
    """
    from suite.plugins import load_plugin

    for path in plugins or ():
        try:
            load_plugin(path)
        except UserError as error:
            raise UserError(f"--plugin {path}: {error}") from None
        except BaseException as error:  # a plugin is a user's code: it may raise anything, also SystemExit
            raise UserError(f"--plugin {path}: {described(error)}") from None

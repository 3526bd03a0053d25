"""`flipbench --version`: the package's version and, in a checkout, its commit."""

from importlib.metadata import version

import typer

from suite.machine.repository import git_state


def print_version(wanted: bool) -> None:
    """Print, for example, `flipbench 0.1.0 (commit 85e0de4)`, and end."""
    if wanted:
        commit, _ = git_state()
        print(f"flipbench {version('flipbench')}{f' (commit {commit[:7]})' if commit else ''}")
        raise typer.Exit

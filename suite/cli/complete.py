"""The words that a shell completes: names that are known without importing torch."""

from pathlib import Path

import typer

from suite.experiment.files import archived, experiments, recorded
from suite.machine.plugin_file import names_in


def complete_experiment(incomplete: str) -> list[str]:
    """Names of experiments."""
    return [name for name in experiments() if name.startswith(incomplete)]


def complete_folder(incomplete: str) -> list[str]:
    """Paths below results/ of the folders that hold a plan."""
    return [name for name in recorded(Path("results")) if name.startswith(incomplete)]


def complete_records(incomplete: str) -> list[str]:
    """The same, and the names of published archives."""
    results = Path("results")
    names = {*recorded(results), *archived(results)}
    return sorted(name for name in names if name.startswith(incomplete))


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of experiments, of what the `--plugin` files hold, and, once `list` has kept its cards, of
    methods, models, data sets and probes.
    """
    from suite.cli.catalogue import kept_cards

    names = {name for cards in (kept_cards() or {}).values() for name in cards} | set(experiments())
    names |= {name for file in ctx.params.get("plugin") or () for name in names_in(Path(file))}
    return sorted(name for name in names if name.startswith(incomplete))

"""The words that a shell completes: names that are known without importing torch."""

import os
from pathlib import Path

import typer

from suite.experiment.files import PARTS, PUBLISHED, experiments
from suite.machine.plugin_file import names_in
from suite.records.archive import ARCHIVE


def complete_experiment(incomplete: str) -> list[str]:
    """Names of experiments."""
    return [name for name in experiments() if name.startswith(incomplete)]


def complete_folder(incomplete: str) -> list[str]:
    """Paths below results/ of the folders that hold a plan."""
    names = []
    for folder, below, files in os.walk("results"):
        names += [os.path.relpath(folder, "results")] if "plan.json" in files else []
        below[:] = set(below) - {PUBLISHED, *PARTS}
    return [name for name in sorted(names) if name.startswith(incomplete)]


def complete_records(incomplete: str) -> list[str]:
    """The same, and the names of published archives."""
    published = Path("results", PUBLISHED)
    archived = [str(path.parent.relative_to(published)) for path in published.rglob(ARCHIVE)]
    return sorted({*complete_folder(incomplete), *(n for n in archived if n.startswith(incomplete))})


def complete_name(ctx: typer.Context, incomplete: str) -> list[str]:
    """Names of experiments, of what the `--plugin` files hold, and, once `list` has kept its cards, of
    methods, models, data sets and probes.
    """
    from suite.cli.catalogue import kept_cards

    names = {name for cards in (kept_cards() or {}).values() for name in cards} | set(experiments())
    names |= {name for file in ctx.params.get("plugin") or () for name in names_in(Path(file))}
    return sorted(name for name in names if name.startswith(incomplete))

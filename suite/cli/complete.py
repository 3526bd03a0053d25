"""The words that a shell completes: names that are known without importing torch."""

from pathlib import Path

from suite.experiment.files import experiments


def complete_experiment(incomplete: str) -> list[str]:
    """Names of experiments."""
    return [name for name in experiments() if name.startswith(incomplete)]


def complete_folder(incomplete: str) -> list[str]:
    """Names in results/ that hold a plan."""
    names = sorted(plan.parent.name for plan in Path("results").glob("*/plan.json"))
    return [name for name in names if name.startswith(incomplete)]


def complete_name(incomplete: str) -> list[str]:
    """Names of experiments and, once `list` has kept its cards, of methods, models and data sets."""
    from suite.cli.catalogue import kept_cards

    names = {name for cards in (kept_cards() or {}).values() for name in cards} | set(experiments())
    return sorted(name for name in names if name.startswith(incomplete))

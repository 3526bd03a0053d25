"""`flipbench list`: the methods, models, data sets, probes and experiments that there are."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from suite.cli.catalogue import catalogue
from suite.cli.console import out, print_json
from suite.cli.options import AsJson, Plugin
from suite.experiment.files import experiments
from suite.machine.errors import UserError

Kind = Literal["methods", "models", "data", "probes", "experiments"]
LISTED = {  # `show` prints the rest
    "models": ("summary", "options"),
    "data": ("summary", "classes", "shape"),
    "probes": ("summary", "options"),
}


def list_(
    kind: Annotated[
        Kind | None,
        typer.Argument(
            metavar="KIND",
            help="Only this: methods, models, data, probes or experiments.",
            show_default="all",
        ),
    ] = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """List methods with their hyperparameters and ranges, models, data sets, probes, experiments."""
    from suite.cli.views.list import tables

    found = _found(kind, plugin)
    if as_json:
        print_json(found)
        return
    for table in tables(found):
        out.print(table)


def _found(kind: Kind | None, plugins: list[Path] | None) -> dict[str, Any]:
    """The cards, and the experiments with their summaries, of one kind or of all."""
    found: dict[str, Any] = {}
    if kind != "experiments":
        found = {name: cards for name, cards in catalogue(plugins).items() if kind in (None, name)}
        for name in LISTED.keys() & found.keys():
            found[name] = {
                each: {key: card[key] for key in LISTED[name]} for each, card in found[name].items()
            }
    if kind in (None, "experiments"):
        found["experiments"] = {name: _summary(path) for name, path in experiments().items()}
    return found


def _summary(path: Path) -> str:
    from suite.experiment.spec import ExperimentFile

    try:
        values = ExperimentFile(path).values
    except UserError as error:  # one broken file must not hide the others
        return str(error)
    return str(values.get("summary", "")) if isinstance(values, dict) else ""

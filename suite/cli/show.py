"""`flipbench show`: all about one method, model, data set, probe or experiment."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from suite.cli.catalogue import Cards, catalogue
from suite.cli.complete import complete_name
from suite.cli.console import out, print_json
from suite.cli.options import AsJson, Plugin
from suite.experiment.files import SUFFIXES, experiments
from suite.machine.errors import UserError, one_of

Kind = Literal["method", "model", "data", "probe", "experiment"]
IN_CATALOGUE: dict[Kind, str] = {"method": "methods", "model": "models", "data": "data", "probe": "probes"}


def show(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="A method, model, data set, probe or experiment, as `list` names it; or a YAML file's path.",
            autocompletion=complete_name,
        ),
    ],
    kind: Annotated[
        Kind | None, typer.Option(help="What NAME is, where several things have this name.")
    ] = None,
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """Show all about one method, model, data set, probe or experiment: its options, its file, its texts."""
    from suite.cli.views.show import VIEWS

    if name.endswith(SUFFIXES):
        if kind not in (None, "experiment"):
            raise UserError(f"{name} is the file of an experiment: leave out --kind {kind}")
        found: Kind = "experiment"
        card = _experiment_card(Path(name))
    else:
        cards = {} if kind == "experiment" else catalogue(plugin)
        found = _kind_of(name, kind, cards)
        card = _card(name, found, cards)
    if as_json:
        print_json({"name": name, **card})
    else:
        out.print(VIEWS[found](name, card))


def _kind_of(name: str, wanted: Kind | None, cards: Cards) -> Kind:
    """The kind of thing that has this name; UserError with the choices if there is none, or more than one."""
    names: dict[Kind, set[str]] = {kind: set(cards.get(key, ())) for kind, key in IN_CATALOGUE.items()}
    names["experiment"] = set(experiments())
    if wanted:
        names = {wanted: names[wanted]}
    found: list[Kind] = [kind for kind, known in names.items() if name in known]
    if not found:
        what = wanted or "method, model, data set, probe or experiment"
        raise UserError(f"there is no {what} {name!r}{one_of(name, sorted(set().union(*names.values())))}")
    if len(found) > 1:
        choices = " or ".join(f"--kind {kind}" for kind in found)
        raise UserError(f"several things are called {name!r}: choose with {choices}")
    return found[0]


def _card(name: str, kind: Kind, cards: Cards) -> dict[str, Any]:
    if kind == "experiment":
        return _experiment_card(experiments()[name])
    card = cards[IN_CATALOGUE[kind]][name]
    return {**card, **_places(card)} if kind == "data" else card


def _places(card: dict[str, Any]) -> dict[str, Any]:
    """Where a data set's files are looked for, as the environment is now."""
    from suite.data.files import data_root

    return {"folder": str(data_root()), "present": [(data_root() / file).is_file() for file in card["files"]]}


def _experiment_card(path: Path) -> dict[str, Any]:
    """An experiment as its file says it; SpecError names every problem in the file."""
    from suite.experiment.spec import ExperimentFile
    from suite.records.codec import encode

    source = ExperimentFile(path)
    experiment = source.experiment()
    return {
        "summary": experiment.summary,
        "file": str(path),
        "comments": _head_comments(source.text),
        "tasks": [
            {"data": [data.called for data in task.data], "model": [model.called for model in task.model]}
            for task in experiment.tasks
        ],
        "methods": [entry.called for entry in experiment.methods],
        "more_studies": {entry.called: entry.studies for entry in experiment.methods if entry.studies},
        "epochs": experiment.train.epochs,
        "tuning": [encode(track) for track in experiment.budget.tracks],
        "transfer": experiment.tuning.transfer,
        "seeds": experiment.seeds,
        "plugins": experiment.plugins,
        "probes": [{"name": probe.name, **probe.options} for probe in experiment.probes],
    }


def _head_comments(text: str) -> str:
    """The comment at the top of a file, without its marks."""
    lines: list[str] = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line[1:].removeprefix(" "))
    return "\n".join(lines)

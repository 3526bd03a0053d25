"""The catalogue as tables, one for each kind of thing."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from suite.cli.console import table
from suite.cli.views.hypers import default_cell, range_cell, yes_or_no

Card = Mapping[str, Any]


def tables(found: Mapping[str, Mapping[str, Any]]) -> Iterator[Table]:
    """The tables of these kinds: methods, models, data, probes, experiments."""
    if methods := found.get("methods"):
        yield _methods(methods)
        yield _hypers(methods)
    if models := found.get("models"):
        yield _pairs("Models", {name: f"{card['summary']} {_options(card)}" for name, card in models.items()})
    if data := found.get("data"):
        yield _pairs("Data sets", {name: card["summary"] for name, card in data.items()})
    if probes := found.get("probes"):
        yield _pairs("Probes", {name: f"{card['summary']} {_options(card)}" for name, card in probes.items()})
    if "experiments" in found:
        yield _pairs("Experiments", found["experiments"])


def _pairs(title: str, rows: Mapping[str, str]) -> Table:
    pairs = table("name", "", title=title, title_justify="left", show_header=False)
    for name, text in rows.items():
        pairs.add_row(name, text)
    return pairs


def _methods(methods: Mapping[str, Card]) -> Table:
    each = table("method", "latent-free", "state", "", title="Methods", title_justify="left")
    each.caption = (
        "latent-free: the layers hold signs and nothing else; "
        "state: floats that the optimizer keeps for each binary weight; both measured"
    )
    for name, card in methods.items():
        text = Text.assemble(card["summary"], "\n", (card["paper"], "dim"))
        each.add_row(name, yes_or_no(card["latent_free"]), f"{card['state_floats']:g}", text)
    return each


def _hypers(methods: Mapping[str, Card]) -> Table:
    columns = ("method", "hyperparameter", "default", "range")
    hypers = table(*columns, title="Hyperparameters", title_justify="left")
    for name, card in methods.items():
        hypers.add_section()
        searched = {hyper: values for hyper, values in card["hypers"].items() if not values["optional"]}
        for row, (hyper, values) in enumerate(searched.items()):
            hypers.add_row(name if row == 0 else "", hyper, default_cell(values), range_cell(values))
        if optional := [hyper for hyper in card["hypers"] if hyper not in searched]:
            hypers.add_row(
                "", f"{len(optional)} optional", "off", f"flipbench show {name}: {', '.join(optional)}"
            )
    return hypers


def _options(card: Card) -> str:
    options = ", ".join(f"{name}: {value}" for name, value in card["options"].items())
    return f"({options})" if options else ""

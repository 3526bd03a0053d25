"""The catalogue as a person reads it."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.markup import escape
from rich.table import Table

Card = Mapping[str, Any]


def tables(cards: Mapping[str, Mapping[str, Card]], experiments: Mapping[str, str]) -> Iterator[Table]:
    """Everything there is, one table for each kind."""
    yield _methods(cards["methods"])
    yield _hypers(cards["methods"])
    for title, rows in (
        ("Models", {name: f"{card['summary']} {_options(card)}" for name, card in cards["models"].items()}),
        ("Data sets", {name: card["summary"] for name, card in cards["data"].items()}),
        ("Experiments", experiments),
    ):
        table = Table("name", "", title=title, title_justify="left", show_header=False)
        for name, text in rows.items():
            table.add_row(name, escape(text))
        yield table


def _methods(methods: Mapping[str, Card]) -> Table:
    table = Table("method", "latent-free", "state", "", title="Methods", title_justify="left")
    table.caption = (
        "latent-free: the layers hold signs and nothing else; "
        "state: floats that the optimizer keeps for each binary weight; both measured"
    )
    for name, card in methods.items():
        told = f"{escape(card['summary'])}\n[dim]{escape(card['paper'])}[/]"
        table.add_row(name, _yes(card["latent_free"]), f"{card['state_floats']:g}", told)
    return table


def _hypers(methods: Mapping[str, Card]) -> Table:
    columns = ("method", "hyperparameter", "default", "range")
    table = Table(*columns, title="Hyperparameters", title_justify="left")
    for name, card in methods.items():
        table.add_section()
        searched = {hyper: values for hyper, values in card["hypers"].items() if not values["optional"]}
        for row, (hyper, values) in enumerate(searched.items()):
            table.add_row(name if row == 0 else "", hyper, _default(values), escape(_range(values)))
        if optional := [hyper for hyper in card["hypers"] if hyper not in searched]:
            table.add_row(
                "", f"{len(optional)} optional", "off", f"flipbench show {name}: {', '.join(optional)}"
            )
    return table


def method_card(name: str, card: Card) -> Group:
    """All about one method."""
    facts = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    facts.add_row("paper", escape(card["paper"]))
    facts.add_row("latent-free", _yes(card["latent_free"]))
    facts.add_row("floats of state", f"{card['state_floats']:g} for each binary weight, beside the weight")
    facts.add_row("file", escape(card["file"]))
    hypers = Table("hyperparameter", "default", "range", box=box.SIMPLE_HEAD)
    for hyper, values in card["hypers"].items():
        hypers.add_row(hyper, _default(values), escape(_range(values)))
    told = (escape(reflowed(card[part])) for part in ("description", "file_description"))
    texts = (f"[bold]{name}[/]", *(part for text in told for part in (text, "")))
    return Group(*texts, facts, hypers, *([_presets(card["presets"])] if card["presets"] else []))


def reflowed(text: str) -> str:
    """A docstring without its line breaks, which are the terminal's to make; lists and indents keep them."""
    lines: list[str] = []
    for line in text.splitlines():
        begins = not lines or not lines[-1] or not line or line.startswith(("* ", "    "))
        if begins:
            lines.append(line)
        else:
            lines[-1] += f" {line.strip()}"
    return "\n".join(lines)


def _presets(presets: Mapping[str, Mapping[str, Any]]) -> Table:
    """Published settings, as an experiment may name them or write them out."""
    table = Table("preset", "hyperparameter", "value", box=box.SIMPLE_HEAD)
    for name, values in presets.items():
        for row, (hyper, value) in enumerate(values.items()):
            table.add_row(name if row == 0 else "", hyper, escape(json.dumps(value).replace('"', "")))
    return table


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def _default(values: Card) -> str:
    if values["optional"]:
        return "off"
    return "none" if values["default"] is None else str(values["default"])


def _range(values: Card) -> str:
    """The range; of what is off unless asked for also the published value."""
    is_number = isinstance(values["default"], float) and values["optional"]
    return f"{values['range']}, published {values['default']:g}" if is_number else values["range"]


def _options(card: Card) -> str:
    return "(" + ", ".join(f"{name}: {value}" for name, value in card["options"].items()) + ")"

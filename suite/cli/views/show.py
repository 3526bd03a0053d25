"""All about one method, model, data set, probe or experiment, as a person reads it."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from suite.cli.console import more_studies, table
from suite.cli.views.hypers import default_cell, range_cell, yes_or_no

Card = Mapping[str, Any]


def method_view(name: str, card: Card) -> Group:
    """A method: its texts, its facts, every hyperparameter, its published settings."""
    facts = _facts(
        {
            "paper": card["paper"],
            "latent-free": yes_or_no(card["latent_free"]),
            "floats of state": f"{card['state_floats']:g} for each binary weight, without the weight itself",
            "file": card["file"],
        }
    )
    hypers = table("hyperparameter", "default", "range", box=box.SIMPLE_HEAD)
    for hyper, values in card["hypers"].items():
        hypers.add_row(hyper, default_cell(values), range_cell(values))
    additions = [_additions(card["additions"])] if card["additions"] else []
    presets = [_presets(card["presets"])] if card["presets"] else []
    return Group(*_texts(name, card), facts, hypers, *additions, *presets)


def model_view(name: str, card: Card) -> Group:
    """An architecture: its texts, its file, its options."""
    return Group(*_texts(name, card), _facts({"file": card["file"]}), _options(card["options"]))


def probe_view(name: str, card: Card) -> Group:
    """A probe: its texts, its file, its options."""
    facts = _facts({"file": card["file"], "needs latent weights": yes_or_no(card["needs_latents"])})
    options = [_options(card["options"])] if card["options"] else []
    return Group(*_texts(name, card), facts, *options)


def data_view(name: str, card: Card) -> Group:
    """A data set: its sizes, its augmentations, its options, and the place of its files."""
    depends = "depends on the files"
    shape = f"{'x'.join(map(str, card['shape']))} (channels, height, width)" if card["shape"] else depends
    facts = {
        "classes": card["classes"] or depends,
        "shape": shape,
        "training images": f"{card['train']:,}, validation included" if card["train"] else depends,
        "test images": f"{card['test']:,}" if card["test"] else depends,
        "augmentations": ", ".join(
            f"{each} (the default)" if each == card["augment"] else each for each in card["augmentations"]
        ),
        "files": _place(card),
        "defined in": card["file"],
    }
    options = {option: f"needed: {kind}" for option, kind in card["required"].items()} | card["options"]
    files = table("file", "", box=box.SIMPLE_HEAD)
    for file, present in zip(card["files"], card["present"], strict=True):
        files.add_row(file, "present" if present else "absent")
    tables = [_options(options), *([files] if card["files"] else [])]
    return Group(Text(name, style="bold"), card["summary"], "", _facts(facts), *tables)


def experiment_view(name: str, card: Card) -> Group:
    """An experiment: its summary, the comment at the top of its file, its tasks and its budget."""
    tracks = [
        f"{track['name']}: {track['studies']} x {track['trials']} trials for each cell"
        for track in card["tuning"]
    ]
    facts = {
        "file": card["file"],
        **{
            f"task {number}": f"{', '.join(task['data'])} with {', '.join(task['model'])}"
            for number, task in enumerate(card["tasks"], 1)
        },
        "methods": ", ".join(card["methods"]),
        "tuning": "; ".join(tracks) or "none",
        **({"more studies": more_studies(card["more_studies"])} if card["more_studies"] else {}),
        "final runs": f"{card['seeds']} seeds for each winner, and for the published default"
        + "; the winners also on the other tasks" * card["transfer"],
        "epochs": f"{card['epochs']}, where a task does not say otherwise",
        **({"plugins": ", ".join(card["plugins"])} if card["plugins"] else {}),
        **({"probes": ", ".join(map(_as_yaml, card["probes"]))} if card["probes"] else {}),
    }
    comments = [card["comments"], ""] if card["comments"] else []
    return Group(Text(name, style="bold"), card["summary"], "", *comments, _facts(facts))


VIEWS: dict[str, Callable[[str, Card], Group]] = {
    "method": method_view,
    "model": model_view,
    "data": data_view,
    "probe": probe_view,
    "experiment": experiment_view,
}


def reflowed(text: str) -> str:
    """A docstring without its line breaks, which the terminal makes again; lists and indents keep them."""
    lines: list[str] = []
    for line in text.splitlines():
        begins = not lines or not lines[-1] or not line or line.startswith(("* ", "    "))
        if begins:
            lines.append(line)
        else:
            lines[-1] += f" {line.strip()}"
    return "\n".join(lines)


def _texts(name: str, card: Card) -> list[str | Text]:
    """The name, the docstring of the function, and that of its file."""
    texts = [reflowed(card[part]) for part in ("description", "file_description")]
    return [Text(name, style="bold"), *(line for text in texts for line in (text, ""))]


def _facts(facts: Mapping[str, Any]) -> Table:
    rows = table("", "", box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in facts.items():
        rows.add_row(name, str(value))
    return rows


def _options(options: Mapping[str, Any]) -> Table:
    rows = table("option", "default", box=box.SIMPLE_HEAD)
    for name, value in options.items():
        rows.add_row(name, _as_yaml(value))
    return rows


def _place(card: Card) -> str:
    """Where the files of a data set are looked for."""
    folder = f"{card['folder']} (FLIPBENCH_DATA, by default ./data)"
    if card["files"]:
        return f"in {folder}"
    if "folder" in card["required"]:
        return f"in the option folder, absolute or below {folder}"
    return "none: its code makes them, or finds them in an installed package"


def _additions(additions: Iterable[Card]) -> Table:
    """What settings of hyperparameters add to the method, each with its paper."""
    rows = table("setting", "adds", box=box.SIMPLE_HEAD)
    for each in additions:
        setting = each["hyper"] if each["value"] is None else f"{each['hyper']}: {_as_yaml(each['value'])}"
        rows.add_row(setting, Text.assemble(each["phrase"], "\n", (each["paper"], "dim")))
    return rows


def _presets(presets: Mapping[str, Mapping[str, Any]]) -> Table:
    """Published settings, which an experiment names as `preset` or writes out."""
    rows = table("preset", "hyperparameter", "value", box=box.SIMPLE_HEAD)
    for name, values in presets.items():
        for row, (hyper, value) in enumerate(values.items()):
            rows.add_row(name if row == 0 else "", hyper, _as_yaml(value))
    return rows


def _as_yaml(value: Any) -> str:
    """A value as an experiment would set it."""
    return value if isinstance(value, str) else json.dumps(value).replace('"', "")

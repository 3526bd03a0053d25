"""Plugins: a file of a user's own holds methods, models and data sets, in any mixture.

Their code runs in processes of its own: see suite/machine/apart.py.
"""

import importlib.util
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, NamedTuple, get_args

from optimizers import METHODS
from optimizers.core import Method
from suite.data import DATASETS, Dataset
from suite.machine.errors import UserError
from suite.machine.plugin_file import loose_import, require_python, source_of
from suite.models import MODELS
from suite.models.model import Model
from suite.records.trial import Part, Trial

Kind = Literal["method", "model", "data"]
Entry = Method | Model | Dataset

REGISTRIES: Mapping[Kind, dict[str, Any]] = {"method": METHODS, "model": MODELS, "data": DATASETS}
WORDS: Mapping[Kind, str] = {"method": "method", "model": "model", "data": "data set"}
PARTS: tuple[Part, ...] = get_args(Part)
NAME = r"[A-Za-z0-9_+-]{1,60}"  # a part of file names
NOTHING = (
    "no method, model or data set in it: decorate a function with @method (optimizers.core), @model "
    "(suite.models.model) or @dataset (suite.data)"
)


class Plugin(NamedTuple):
    """The origin of something from outside the catalogue: its file, and a hash of the content."""

    path: Path
    source: str


class PluginError(UserError):
    """A file cannot be a plugin; the message begins with its path."""


PLUGINS: dict[tuple[Kind, str], Plugin] = {}


def load_plugin(path: Path) -> list[Entry]:
    """Register the methods, models and data sets of a Python file, and return them in the file's order.

    The file is executed, so load only files that you trust. PluginError if it holds none of them, or one
    whose name is impossible or taken by another file; then nothing is registered.
    """
    path = path.resolve()
    require_python(path)
    if problem := loose_import(path):
        raise PluginError(f"{path}: {problem}")
    source = source_of(path)
    specification = importlib.util.spec_from_file_location(f"flipbench_plugin_{path.stem}", path)
    assert specification is not None and specification.loader is not None  # of a name that ends in .py
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    found = dict[tuple[Kind, str], Entry]()
    for entry in _entries(module):
        kind = kind_of(entry)
        if not re.fullmatch(NAME, entry.name):
            letters = "letters, digits, '_', '+' and '-', up to 60"
            raise PluginError(f"{path}: the {WORDS[kind]} {entry.name!r} needs a name of {letters}")
        known = PLUGINS.get((kind, entry.name))
        taken = entry.name in REGISTRIES[kind] and (known is None or known.path != path)
        if taken or (kind, entry.name) in found:
            raise PluginError(f"{path}: a {WORDS[kind]} called {entry.name!r} exists already")
        found[kind, entry.name] = entry
    if not found:
        raise PluginError(f"{path}: {NOTHING}")
    for (kind, name), entry in found.items():
        REGISTRIES[kind][name] = entry
        PLUGINS[kind, name] = Plugin(path, source)
    return list(found.values())


def _entries(module: ModuleType) -> Iterator[Entry]:
    """What a module defines, without what it imports."""
    values = {id(value): value for value in vars(module).values() if isinstance(value, Entry)}
    yield from (value for value in values.values() if home_of(value).__module__ == module.__name__)


def kind_of(entry: Entry) -> Kind:
    """What an entry is."""
    return "method" if isinstance(entry, Method) else "model" if isinstance(entry, Model) else "data"


def home_of(entry: Entry) -> Callable[..., Any]:
    """The function in the file of an entry that it is made from."""
    if isinstance(entry, Method):
        return entry.rule
    return entry.build if isinstance(entry, Model) else inspect.unwrap(entry.open)


def hash_of(kind: Kind, name: str) -> str | None:
    """The hash of the file of something from outside the catalogue; None for what is in it, or unknown."""
    plugin = PLUGINS.get((kind, name))
    return plugin.source if plugin else None


def hashes_of(model: str, data: str) -> dict[Part, str]:
    """What a trial holds as its `plugins`: the hashes of the files of its model and of its data set."""
    found = {"model": hash_of("model", model), "data": hash_of("data", data)}
    return {part: source for part in PARTS if (source := found[part])}


def own_files(trial: Trial) -> dict[Part, Path]:
    """The files of a trial's model and data set, if they are from outside the catalogue."""
    names: dict[Part, str] = {"model": trial.model.name, "data": trial.data.name}
    return {part: PLUGINS[part, name].path for part, name in names.items() if (part, name) in PLUGINS}


def not_here(trial: Trial, *kinds: Kind) -> str:
    """Why the parts of these kinds are not those that a trial was made with, or nothing."""
    names: dict[Kind, str] = {"method": trial.method.name, "model": trial.model.name, "data": trial.data.name}
    made_with: dict[Kind, str | None] = {"method": trial.plugin}
    made_with |= {part: trial.plugins.get(part) for part in PARTS}
    for kind in kinds:
        name, what = names[kind], WORDS[kind]
        if name not in REGISTRIES[kind]:
            return f"there is no {what} {name!r} here; if it is one of your own, name its file with --plugin"
        if made_with[kind] != (here := hash_of(kind, name)):
            return (
                f"the {what} {name!r} was made from a plugin with hash {made_with[kind]}, the one here has "
                f"{here}: it would be another run"
            )
    return ""

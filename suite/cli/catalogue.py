"""The catalogue's cards: facts about all methods, models, data sets and probes, as JSON values.

To make them, all of these are imported, torch with them, and each method takes a step: many seconds. So they
are kept in the user's cache folder with a hash of the source that they were made from: `flipbench list` then
starts at once, and every edit is noticed.
"""

import contextlib
import hashlib
import inspect
import json
import os
import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.cli.plugins import load_plugins
from suite.machine.errors import UserError, described
from suite.machine.repository import ROOT
from suite.records.files import DamagedRecord, digest, read_json, write_json

if TYPE_CHECKING:
    from optimizers.core import Addition, Hyper, Method, WeightRule
    from suite.data import Dataset
    from suite.models.model import Model
    from suite.probes.probe import Probe

NO_CACHE = (OSError, DamagedRecord, RuntimeError)  # the last: the home folder is unknown
Card = dict[str, Any]
Cards = dict[str, dict[str, Card]]  # "methods", "models", "data" and "probes", each by name


def catalogue(plugins: Iterable[Path] | None = None) -> Cards:
    """Cards of methods, models, data sets and probes by name. With plugins they are made, and not kept."""
    if plugins:
        from suite.machine.apart import apart

        return apart(plugins, _cards_with, list(plugins))
    cards = kept_cards()
    if cards is None:
        cards = _make_cards()
        with contextlib.suppress(*NO_CACHE):
            cache_file().parent.mkdir(parents=True, exist_ok=True)
            write_json(cache_file(), {"key": source_key(ROOT), "cards": cards})
    return cards


def _cards_with(plugins: Iterable[Path]) -> Cards:
    load_plugins(plugins)
    return _make_cards()


def kept_cards() -> Cards | None:
    """The cards of an earlier call, unless the source has changed since."""
    with contextlib.suppress(*NO_CACHE):
        kept = read_json(cache_file())
        if kept.get("key") == source_key(ROOT):
            return kept["cards"]
    return None


def cache_file() -> Path:
    """One file for each copy of the source, below $XDG_CACHE_HOME or ~/.cache."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = named if named.is_absolute() else Path.home() / ".cache"
    return folder / "flipbench" / f"catalogue-{digest(str(ROOT))[:8]}.json"


def source_key(root: Path) -> str:
    """A hash of every source file of optimizers/ and suite/ below `root`, and of the versions it runs on."""
    files = sorted(path for part in ("optimizers", "suite") for path in (root / part).rglob("*.py"))
    return digest(
        {
            "files": {
                str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
            },
            "versions": [platform.python_version(), version("torch"), version("optuna")],
        }
    )


def _make_cards() -> Cards:
    from optimizers import METHODS
    from suite.data import DATASETS
    from suite.models import MODELS
    from suite.probes import PROBES

    cards = {
        "methods": {method.name: _method_card(method) for method in METHODS.values()},
        "models": {model.name: _model_card(model) for model in MODELS.values()},
        "data": {dataset.name: _data_card(dataset) for dataset in DATASETS.values()},
        "probes": {probe.name: _probe_card(probe) for probe in PROBES.values()},
    }
    return json.loads(json.dumps(cards))  # as they will be read: JSON has no tuples


def _method_card(method: "Method") -> Card:
    from suite.experiment.plan import is_latent_free
    from suite.experiment.ranges import range_of

    source = _source(method.rule)
    try:
        measured = {"latent_free": is_latent_free(method()), "state_floats": state_floats(method())}
    except Exception as error:  # a plugin's method is a user's code: it may raise anything
        raise UserError(f"{source}: {method.name}: {described(error)}") from None
    return {
        "summary": method.summary,
        "paper": method.paper,
        "control": method.control,
        "hypers": {
            name: {"default": hyper.default, "range": str(range_of(hyper)), "optional": hyper.optional}
            for name, hyper in method.hypers.items()
        },
        "additions": [
            {"hyper": name, "value": value, **addition._asdict()}
            for name, hyper in method.hypers.items()
            for value, addition in _additions(hyper)
        ],
        "presets": method.presets,
        **measured,
        **_texts(method.rule),
    }


def _additions(hyper: "Hyper") -> list[tuple[Any, "Addition"]]:
    """What a hyperparameter adds: for each of its values, or for all of them, which None stands for."""
    if hyper.adds is None:
        return []
    return list(hyper.adds.items()) if isinstance(hyper.adds, Mapping) else [(None, hyper.adds)]


def _model_card(model: "Model") -> Card:
    return {"summary": model.summary, "options": model.options, **_texts(model.build)}


def _probe_card(probe: "Probe") -> Card:
    return {
        "summary": probe.summary,
        "options": probe.options,
        "needs_latents": probe.needs_latents,
        **_texts(probe.measure),
    }


def _data_card(dataset: "Dataset") -> Card:
    return {
        "summary": dataset.summary,
        "classes": dataset.classes,
        "shape": dataset.shape,
        "train": dataset.train,
        "test": dataset.test,
        "augment": dataset.augment,
        "augmentations": dataset.augmentations,
        "required": {name: kind.__name__ for name, kind in dataset.required.items()},
        "options": {"validation": dataset.validation, "train_limit": None, **dataset.optional},
        "files": dataset.files,
        **_texts(inspect.unwrap(dataset.open)),
    }


def _texts(function: Callable[..., Any]) -> Card:
    """The file of a function, its docstring, and that of its file."""
    source = _source(function)
    return {
        "file": str(source.relative_to(ROOT) if source.is_relative_to(ROOT) else source),
        "description": inspect.getdoc(function) or "",
        "file_description": inspect.cleandoc(function.__globals__["__doc__"] or ""),
    }


def _source(function: Callable[..., Any]) -> Path:
    return Path(inspect.getfile(function)).resolve()


def state_floats(rule: "WeightRule") -> float:
    """The optimizer's state for each binary weight, in float32s: measured after one step."""
    import torch

    from optimizers.core import run_step
    from suite.training.step import state_tensors

    weight = rule.start(torch.linspace(-1.0, 1.0, 4096).reshape(64, 64)).detach().requires_grad_()
    optimizer = rule.optimizer([weight])
    weight.grad = torch.full_like(weight, 1e-3)
    run_step(optimizer)
    return round(sum(tensor.nbytes for tensor in state_tensors(optimizer)) / 4 / weight.numel(), 2)

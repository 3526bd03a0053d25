"""The catalogue's cards: what there is, ready to print.

To make them, all methods, models and data sets are imported, and torch with them. So they are kept in the
user's cache folder, with a hash of the source they were made from: `flipbench list` starts at once, and an
edit is always noticed.
"""

import contextlib
import hashlib
import inspect
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from suite.machine.errors import UserError
from suite.records.files import DamagedRecord, digest, read_json, write_json

if TYPE_CHECKING:
    from optimizers.core import Method, WeightRule

ROOT = Path(__file__).resolve().parents[2]
NO_CACHE = (OSError, DamagedRecord, RuntimeError)  # the last: nobody knows where the home is
Cards = dict[str, Any]


def catalogue(*, afresh: bool = False) -> Cards:
    """Cards of all methods, models and data sets by name; `afresh` when plugins are loaded."""
    if afresh:
        return _made()
    key = source_key(ROOT)
    with contextlib.suppress(*NO_CACHE):
        kept = read_json(cache_file())
        if kept.get("key") == key:
            return kept["cards"]
    cards = _made()
    with contextlib.suppress(*NO_CACHE):
        cache_file().parent.mkdir(parents=True, exist_ok=True)
        write_json(cache_file(), {"key": key, "cards": cards})
    return cards


def cache_file() -> Path:
    """Where the cards are kept: one file for each copy of the source, below $XDG_CACHE_HOME or ~/.cache."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = named if named.is_absolute() else Path.home() / ".cache"
    return folder / "flipbench" / f"catalogue-{digest(str(ROOT))[:8]}.json"


def source_key(root: Path) -> str:
    """A hash of every source file of optimizers/ and suite/ below `root`, and of what they run on."""
    files = sorted(path for part in ("optimizers", "suite") for path in (root / part).rglob("*.py"))
    return digest(
        {
            "files": {
                str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files
            },
            "versions": [platform.python_version(), version("torch"), version("optuna")],
        }
    )


def _made() -> Cards:
    from optimizers import METHODS
    from suite.data import DATASETS
    from suite.models import MODELS

    cards = {
        "methods": {method.name: _method_card(method) for method in METHODS.values()},
        "models": {m.name: {"summary": m.summary, "options": m.options} for m in MODELS.values()},
        "data": {
            d.name: {"summary": d.summary, "classes": d.classes, "shape": d.shape} for d in DATASETS.values()
        },
    }
    return json.loads(json.dumps(cards))  # as they will be read: JSON knows no tuples


def _method_card(method: "Method") -> dict[str, Any]:
    from suite.experiment.plan import is_latent_free

    source = Path(inspect.getfile(method.rule)).resolve()
    try:
        measured = {"latent_free": is_latent_free(method()), "state_floats": state_floats(method())}
    except Exception as error:  # a plugin's method is a user's code: anything may come out of it
        raise UserError(f"{source}: {method.name}: {type(error).__name__}: {error}") from None
    return {
        "summary": method.summary,
        "paper": method.paper,
        "control": method.control,
        "hypers": {
            n: {"default": h.default, "range": str(h), "optional": h.optional}
            for n, h in method.hypers.items()
        },
        "presets": method.presets,
        **measured,
        "file": str(source.relative_to(ROOT) if source.is_relative_to(ROOT) else source),
        "description": inspect.getdoc(method.rule) or "",
        "file_description": inspect.cleandoc(method.rule.__globals__["__doc__"] or ""),
    }


def state_floats(rule: "WeightRule") -> float:
    """What the optimizer keeps per binary weight beside it, in float32s: measured after one step."""
    import torch

    from suite.training.loop import state_tensors

    weight = rule.start(torch.linspace(-1.0, 1.0, 4096).reshape(64, 64)).detach().requires_grad_()
    optimizer = rule.optimizer([weight])
    weight.grad = torch.full_like(weight, 1e-3)
    optimizer.step()
    return round(sum(tensor.nbytes for tensor in state_tensors(optimizer)) / 4 / weight.numel(), 2)

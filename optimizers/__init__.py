"""The catalogue: each file in this folder holds a method or a family, and `METHODS` lists them by name."""

import hashlib
import importlib
import importlib.util
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

from optimizers.core import Method


def methods_in(module: ModuleType) -> list[Method]:
    """The methods that a module defines, in order, without the methods that it imports."""
    found = [value for value in vars(module).values() if isinstance(value, Method)]
    return [method for method in found if method.rule.__module__ == module.__name__]


def collect(modules: Iterable[ModuleType]) -> dict[str, Method]:
    """All methods of these modules by name. Raises ValueError if two share a name."""
    found: dict[str, Method] = {}
    for module in modules:
        for method in methods_in(module):
            if method.name in found:
                raise ValueError(f"{module.__name__}: a method called {method.name!r} exists already")
            found[method.name] = method
    return found


def load_plugin(path: Path) -> list[Method]:
    """Register the methods of a Python file outside this folder, and return them.

    The file is executed, so load only files that you trust. Raises ValueError if the file holds no method,
    or a method whose name another file has taken.
    """
    path = path.resolve()
    specification = importlib.util.spec_from_file_location(f"flipbench_plugin_{path.stem}", path)
    if specification is None or specification.loader is None or not path.is_file():
        raise ValueError(f"{path}: no such Python file")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    source = source_of(path)
    methods = methods_in(module)
    if not methods:
        raise ValueError(f"{path}: no method in it; decorate a function with @method (optimizers.core)")
    for method in methods:
        if method.name in METHODS and (method.name not in PLUGINS or PLUGINS[method.name].path != path):
            raise ValueError(f"{path}: a method called {method.name!r} exists already")
    METHODS.update({method.name: method for method in methods})
    PLUGINS.update({method.name: Plugin(path, source) for method in methods})
    return methods


def source_of(path: Path) -> str:
    """A hash of the content of a plugin's file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


class Plugin(NamedTuple):
    """The origin of a method from outside the catalogue: its file and a hash of the content."""

    path: Path
    source: str


PLUGINS: dict[str, Plugin] = {}
METHODS: dict[str, Method] = collect(
    importlib.import_module(f"{__name__}.{entry.name}")
    for entry in pkgutil.iter_modules(__path__)
    if not entry.ispkg
)

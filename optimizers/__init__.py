"""The catalogue: each file in this folder holds a method or a family, and `METHODS` lists them by name."""

import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

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


METHODS: dict[str, Method] = collect(
    importlib.import_module(f"{__name__}.{entry.name}")
    for entry in pkgutil.iter_modules(__path__)
    if not entry.ispkg
)

"""The plugins of the shipped experiments, as modules: their methods are not registered."""

import functools
import importlib.util
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

CLAIMS = ROOT / "experiments" / "claims"


@functools.cache
def plugin(path: Path) -> Any:
    """The module of a plugin's file."""
    specification = importlib.util.spec_from_file_location(f"tested_{path.stem}", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module

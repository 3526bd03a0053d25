"""The probes: each file in this folder holds one, and `PROBES` lists them by name."""

import importlib
import pkgutil

from suite.probes.probe import Probe

PROBES: dict[str, Probe] = {
    value.name: value
    for entry in pkgutil.iter_modules(__path__)
    for value in vars(importlib.import_module(f"{__name__}.{entry.name}")).values()
    if isinstance(value, Probe)
}

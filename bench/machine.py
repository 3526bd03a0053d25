"""The machine in words: figures mean nothing without it."""

import platform

import torch

from optimizers import METHODS
from suite.machine.environment import environment


def machine(device: torch.device) -> dict[str, str]:
    """Processor or GPU, cores, threads of the measurements, versions, code."""
    here = environment(device, METHODS["bop"])
    git = here["git"]
    return {
        "device": here["device_name"],
        "threads": str(torch.get_num_threads()),
        "system": here["platform"],
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": f"{git['commit']}{' with changes' if git['dirty'] else ''}",
    }

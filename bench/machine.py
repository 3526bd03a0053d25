"""A description of the machine, which every figure depends on."""

import platform

import torch

from optimizers import METHODS
from suite.records.schema import GitState
from suite.training.provenance import environment


def machine(device: torch.device) -> dict[str, str]:
    """Device, threads, system, versions and commit, each under its name, as a page shows them."""
    here = environment(device, METHODS["bop"])
    return {
        "device": here.device_name,
        "threads": str(here.threads),
        "system": here.platform,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "commit": commit(here.git),
    }


def commit(git: GitState) -> str:
    """The commit of the measured code, and whether it was changed since."""
    return f"{git.commit}{' with changes' if git.dirty else ''}"

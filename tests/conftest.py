"""All tests run with one torch thread, as another number gives other bits, and write to memory."""

import os
import shutil
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

MEMORY = Path("/dev/shm")
ENOUGH = 2 << 30  # bytes; all tests together need much less


def pytest_configure() -> None:
    """The suite waits for the disk after each file that it writes; a kill is the same in memory."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The sweeps first: they take longest, and what is short fills up the processes at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/suite/sweep"))

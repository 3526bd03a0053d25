"""All tests run with one torch thread, as another number gives other bits, and write to memory."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.support.warm import Warm

torch.set_num_threads(1)

MEMORY = Path("/dev/shm")
ENOUGH = 2 << 30  # bytes; all tests together need much less


def pytest_configure() -> None:
    """The suite waits for the disk after each file that it writes; a kill is the same in memory."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ENOUGH:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """For what needs a process of its own: a fork of this one has imported everything."""
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes longest first, so that short files fill up the processes at the end."""
    longest = ("tests/suite/sweep", "tests/suite/training")
    items.sort(key=lambda item: not item.nodeid.startswith(longest))

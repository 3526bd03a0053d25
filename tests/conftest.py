"""All tests run with one torch thread: another number gives other bits."""

import pytest
import torch

torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The sweeps first: they take longest, and what is short fills up the processes at the end."""
    items.sort(key=lambda item: not item.nodeid.startswith("tests/suite/sweep"))

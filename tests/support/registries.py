"""The registries as they were, after a test that loads plugins into this process."""

import contextlib
from collections.abc import Iterator
from unittest.mock import patch

from suite.plugins import PLUGINS, REGISTRIES


@contextlib.contextmanager
def restored() -> Iterator[None]:
    """What is registered in this block is forgotten after it."""
    with contextlib.ExitStack() as stack:
        for registry in (*REGISTRIES.values(), PLUGINS):
            stack.enter_context(patch.dict(registry))
        yield

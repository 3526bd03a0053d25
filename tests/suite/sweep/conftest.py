"""What the tests of kills, errors and damage share: a warm process, and sweeps that nothing disturbed."""

from collections.abc import Iterator

import pytest

from tests.support.attempts import RANDOM, TPE, Unbroken, unbroken
from tests.support.warm import Warm


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()


@pytest.fixture(scope="session")
def rights(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Unbroken]:
    """The unbroken sweep with either sampler."""
    changes = {"random": RANDOM, "tpe": TPE}
    return {name: unbroken(warm, tmp_path_factory.mktemp(name), changes[name]) for name in changes}

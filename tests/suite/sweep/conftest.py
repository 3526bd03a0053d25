"""What the tests of kills, errors and damage share: sweeps that nothing disturbed."""

import pytest

from tests.support.attempts import RANDOM, TPE, Unbroken, unbroken
from tests.support.warm import Warm


@pytest.fixture(scope="session")
def rights(warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Unbroken]:
    """The unbroken sweep with either sampler."""
    changes = {"random": RANDOM, "tpe": TPE}
    return {name: unbroken(warm, tmp_path_factory.mktemp(name), changes[name]) for name in changes}

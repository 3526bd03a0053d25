"""A worker keeps the memory that it frees."""

import platform
import resource

import pytest
import torch

from suite.machine.environment import use_device
from tests.support.tiny import CPU
from tests.support.warm import Warm


def page_faults() -> int:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(10_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def fewest() -> int:
    return min(page_faults() for _ in range(2))


def before_and_after() -> tuple[int, int]:
    before = fewest()
    use_device(CPU, 1)
    return before, fewest()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has to be told")
def test_memory_that_is_needed_again_is_not_fetched_again(warm: Warm) -> None:
    before, after = warm.run(before_and_after).value
    assert before > 100 and after < before / 10

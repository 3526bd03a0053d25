"""A worker keeps the memory that it frees; a processor has a name that says which one it is."""

import platform
import resource

import pytest
import torch

from suite.machine.environment import processor_name, use_device
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


CPUINFO = """processor	: 0
vendor_id	: AuthenticAMD
cpu family	: 25
model		: 17
model name	: AMD EPYC
stepping	: 1

processor	: 1
model		: 99
model name	: Another
"""


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (CPUINFO, "AMD EPYC (family 25, model 17, stepping 1)"),
        ("processor\t: 0\nmodel name\t: ARMv7 Processor rev 4: v7l\n", "ARMv7 Processor rev 4: v7l"),
        ("processor\t: 0\nCPU architecture: 8\nCPU part\t: 0xd0c\n", ""),
        ("", ""),
    ],
)
def test_a_processor_is_named_by_model_and_generation(cpuinfo: str, name: str) -> None:
    assert processor_name(cpuinfo) == name

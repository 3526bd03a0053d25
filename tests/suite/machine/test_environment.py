"""A worker keeps the memory that it frees."""

import platform
import subprocess
import sys

import pytest

from tests.support.paths import ROOT

FAULTS = """
import resource, sys
import torch
from suite.machine.environment import use_device

def page_faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(20_000_000).fill_(1.0)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def fewest():
    return min(page_faults() for _ in range(3))

before = fewest()
use_device(torch.device("cpu"), 1)
print(before, fewest())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's allocator has to be told")
def test_memory_that_is_needed_again_is_not_fetched_again() -> None:
    command = [sys.executable, "-c", FAULTS]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    before, after = map(int, told.stdout.split())
    assert before > 100 and after < before / 10

"""This machine: its devices, cores and memory."""

import contextlib
import ctypes
import functools
import os
import platform
import resource
from pathlib import Path

import torch

from suite.machine.errors import UserError


def memory_bytes() -> int:
    """The memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def choose_device(wanted: str) -> torch.device:
    """`auto`, or a device by name; raises UserError if it is unavailable on this machine."""
    if wanted == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(name)
    choices = "the choices are auto, cpu, cuda, cuda:N, mps"
    try:
        device = torch.device(wanted)
    except (RuntimeError, ImportError):
        raise UserError(f"there is no device {wanted!r}; {choices}") from None
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"nothing can be trained on {wanted!r}; {choices}")
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"no {wanted} on this machine ({reason}); {choices}") from None
    return device


def cores() -> int:
    """The number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_device(device: torch.device, threads: int) -> None:
    """Fix what changes bits: the number of threads, and on a GPU the choice of algorithms."""
    torch.set_num_threads(threads)
    keep_freed_memory()
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees: each step needs it again, and asking for it costs time.

    It is a setting of glibc's allocator; elsewhere this does nothing.
    """
    try:
        allocator = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    for parameter, value in MALLOPT.items():
        allocator(parameter, value)


# From malloc.h: M_MMAP_MAX (no large block of its own), M_TRIM_THRESHOLD (give nothing back), M_TOP_PAD.
MALLOPT = {-4: 0, -1: 2**31 - 1, -2: 256 * 2**20}


@functools.cache
def device_name(device: torch.device) -> str:
    """The name of a GPU, else of the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = ""
    with contextlib.suppress(OSError):
        cpuinfo = Path("/proc/cpuinfo").read_text()
    return processor_name(cpuinfo) or platform.processor() or platform.machine()


def maker(device: torch.device) -> str:
    """What decides the bits of a training beside its trial: the device by name, and the version of torch."""
    return f"{device_name(device)}, torch {torch.__version__}"


def processor_name(cpuinfo: str) -> str:
    """The model name in the text of /proc/cpuinfo, with the numbers that tell generations of one name apart.

    A rented machine often says no more than "AMD EPYC", of processors that round differently. Empty if there
    is no name.
    """
    first, _, _ = cpuinfo.partition("\n\n")
    fields = {
        key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())
    }
    numbers = [
        f"{word} {fields[key]}"
        for key, word in (("cpu family", "family"), ("model", "model"), ("stepping", "stepping"))
        if key in fields
    ]
    name = fields.get("model name", "")
    return f"{name} ({', '.join(numbers)})" if name and numbers else name


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of `peak_memory`."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with contextlib.suppress(OSError):  # not Linux: the mark stays that of the process' whole life
        Path("/proc/self/clear_refs").write_text("5")  # forget the high-water mark


def peak_memory(device: torch.device) -> int:
    """Bytes: allocated on a GPU, else the resident memory of this process, libraries included."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    except (OSError, IndexError):
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if platform.system() == "Darwin" else peak * 1024

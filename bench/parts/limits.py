"""The limits of the machine: products of large matrices, and copies of memory."""

from collections.abc import Callable

import torch

from bench.race import Bench, Race, Row

COPIED = 14_000_000  # float32 numbers, about as many as a large binary network has weights
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def matmuls(bench: Bench) -> dict[str, Callable[[], object]]:
    """Two variants of a race: `matmul float32` and `matmul bfloat16`."""
    size = matrix_size(bench)

    def product(dtype: torch.dtype) -> Callable[[], object]:
        a, b = (torch.randn(size, size, device=bench.device).to(dtype) for _ in range(2))
        out = torch.empty_like(a)
        return lambda: torch.mm(a, b, out=out)

    return {f"matmul {name}": product(dtype) for name, dtype in DTYPES.items()}


def copy(bench: Bench) -> Callable[[], object]:
    """A variant of a race: a copy of `COPIED` float32 numbers, which reads and writes four bytes of each."""
    source = torch.zeros(copied(bench), device=bench.device)
    target = torch.zeros_like(source)
    return lambda: target.copy_(source)


def matrix_size(bench: Bench) -> int:
    return 64 if bench.quick else 8192 if bench.device.type == "cuda" else 1536


def copied(bench: Bench) -> int:
    return 10_000 if bench.quick else COPIED


def peak_flops(bench: Bench, race: Race, precision: str) -> float:
    """Floating-point operations per second of the fastest product in a race with `matmuls`."""
    return 2 * matrix_size(bench) ** 3 / min(race.seconds[f"matmul {precision}"])


def bandwidth(bench: Bench, race: Race) -> float:
    """Bytes per second, read and written, of the median copy in a race with `copy`."""
    return 8 * copied(bench) / race.median("copy")


def measure(bench: Bench) -> list[Row]:
    """The speed of the fastest matrix product, and the bandwidth of a copy."""
    race = bench.race("limits", {**matmuls(bench), "copy": copy(bench)})
    rows = [
        Row("limits", "matrix product", name, peak_flops(bench, race, name) / 1e9, "GFLOP/s", race.rounds)
        for name in DTYPES
    ]
    return [*rows, Row("limits", "memory", "copy", bandwidth(bench, race) / 1e9, "GB/s", race.rounds)]

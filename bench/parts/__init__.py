"""The parts of `make bench`: each is one file with a function `measure`."""

from collections.abc import Callable

from bench.parts import (
    birealnet,
    data,
    images,
    limits,
    memory,
    optimizer_step,
    overhead,
    scale,
    start,
    step,
    sweep,
)
from bench.race import Bench, Row

PARTS: dict[str, Callable[[Bench], list[Row]]] = {
    "limits": limits.measure,
    "step": step.measure,
    "optimizer": optimizer_step.measure,
    "memory": memory.measure,
    "data": data.measure,
    "images": images.measure,
    "birealnet": birealnet.measure,
    "overhead": overhead.measure,
    "sweep": sweep.measure,
    "start": start.measure,
    "scale": scale.measure,
}

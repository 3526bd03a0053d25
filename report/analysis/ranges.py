"""Reads the range texts of a plan, such as `log 1e-06 … 0.01`, to warn when a winner sits at an edge."""

import math
from typing import Any

EDGE = 0.05  # share of the range, on its own scale


def at_edge(value: Any, text: str) -> str | None:
    """`lower` or `upper` if a number lies within 5 % of that end of a log or uniform range, else None."""
    kind, _, rest = text.partition(" ")
    if kind not in ("log", "uniform") or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    low, high = (float(end) for end in rest.split(" … "))
    if kind == "log":
        if value <= 0:
            return "lower"
        low, high, value = math.log(low), math.log(high), math.log(value)
    place = (value - low) / (high - low)
    if place <= EDGE:
        return "lower"
    return "upper" if place >= 1 - EDGE else None

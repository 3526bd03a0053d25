"""One look per method, the same in every figure: colour, marker and line style, so that no method is told by
colour alone."""

from dataclasses import dataclass

from report.draw.svg import SERIES

# Seven markers and eight colours: 56 methods before a pair repeats.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))


@dataclass(frozen=True)
class Look:
    color: str
    marker: str
    dashes: str | tuple[float, tuple[float, ...]]


Looks = dict[str, Look]


def looks_of(methods: list[str]) -> Looks:
    """A look for each method, by its place in the plan."""
    return {
        method: Look(SERIES[i % len(SERIES)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)])
        for i, method in enumerate(methods)
    }

"""One look per method, the same in every figure: colour, marker and line style.

A few methods have a colour each; many share that of their family. No method is recognised by colour alone.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from report.analysis.comparison import MANY_METHODS
from report.draw.svg import SERIES

# Seven markers and four dashes: 28 methods of one colour before a pair repeats.
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", (0, (5, 1.6)), (0, (1.2, 1.4)), (0, (6, 1.6, 1.2, 1.6)))


@dataclass(frozen=True)
class Look:
    color: str
    marker: str
    dashes: str | tuple[float, tuple[float, ...]]


Looks = dict[str, Look]


def looks_of(families: Mapping[str, str]) -> Looks:
    """A look for each method, by its place in the plan and, where they are many, by its family."""
    if len(families) <= MANY_METHODS:
        return {method: look(place, place) for place, method in enumerate(families)}
    colors = {family: place for place, family in enumerate(dict.fromkeys(families.values()))}
    looks, seen = {}, Counter[str]()
    for method, family in families.items():
        looks[method] = look(colors[family], seen[family])
        seen[family] += 1
    return looks


def look(color: int, shape: int) -> Look:
    return Look(SERIES[color % len(SERIES)], MARKERS[shape % len(MARKERS)], DASHES[shape % len(DASHES)])


SHAPES = {  # of the markers, around the middle of a glyph
    "o": "M19.5 7a2.5 2.5 0 1 1 5 0a2.5 2.5 0 1 1 -5 0z",
    "s": "M19.5 4.5h5v5h-5z",
    "^": "M22 4l3 5.5h-6z",
    "D": "M22 3.5l3.5 3.5l-3.5 3.5l-3.5 -3.5z",
    "v": "M22 10l3 -5.5h-6z",
    "P": "M21 4h2v2h2v2h-2v2h-2v-2h-2v-2h2z",
    "X": "M19.5 6l1.5 -1.5l1 1l1 -1l1.5 1.5l-1 1l1 1l-1.5 1.5l-1 -1l-1 1l-1.5 -1.5l1 -1z",
}


def glyph(look: Look) -> str:
    """The line and mark of a method alone, as SVG, for the list of methods."""
    dashes = "" if isinstance(look.dashes, str) else " ".join(f"{1.8 * each:g}" for each in look.dashes[1])
    return (
        '<svg viewBox="0 0 44 14" aria-hidden="true">'
        f'<path d="M1 7H43" stroke-width="1.8" stroke-dasharray="{dashes}" style="stroke: {look.color}"/>'
        f'<path d="{SHAPES[look.marker]}" style="fill: {look.color}"/></svg>'
    )

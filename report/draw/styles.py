"""One look per method, the same in every figure: colour, marker and line style.

No method is recognised by colour alone.
"""

from dataclasses import dataclass

from matplotlib.figure import Figure

from report.draw.svg import SERIES, draw

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


def glyph(look: Look) -> str:
    """The line and mark of a method alone, for the list of methods."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.plot(
            [0, 1, 2], [0, 0, 0], color=look.color, linestyle=look.dashes, marker=look.marker, markevery=[1]
        )

    return draw(f"glyph-{look.color[1:]}-{look.marker}", 44, 14, paint)

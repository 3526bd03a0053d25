"""The pictures of the benchmarks, drawn as the report draws its own."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.race import Row
from report.draw.svg import MUTED, SERIES, TEXT, draw, standalone

WIDTH = 860  # CSS pixels
BAR = 26  # height of a bar with its gap


def ratios(rows: Sequence[Row]) -> str:
    """An SVG file with one bar for each row that has a ratio; the line at 1 is the row's baseline."""
    shown = [row for row in rows if row.ratio is not None and row.variant != row.baseline]

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes = figure.subplots()
        bars = axes.barh(range(len(shown)), [row.ratio or 0.0 for row in shown], color=SERIES[0])
        axes.bar_label(bars, fmt="%.2f", padding=3)
        axes.set_yticks(range(len(shown)), [f"{row.part}: {row.case}, {row.variant}" for row in shown])
        axes.tick_params(axis="y", length=0, labelcolor=TEXT)
        axes.set_ylim(len(shown) - 0.4, -0.6)
        axes.set_xlabel("times as fast as its baseline")
        axes.grid(False, axis="y")
        axes.axvline(1.0, color=MUTED, linewidth=1)

    return standalone(draw("bench", WIDTH, 80 + BAR * len(shown), paint).svg)


def grouped(groups: Sequence[str], heights: Mapping[str, Sequence[float]], label: str) -> str:
    """An SVG file with one bar of each entry in each group, in the order of the groups; the line is at 1."""

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        axes: Axes = figure.subplots()
        width = 0.8 / len(heights)
        for n, (entry, values) in enumerate(heights.items()):
            places = [group + (n - (len(heights) - 1) / 2) * width for group in range(len(groups))]
            bars = axes.bar(places, values, width, color=SERIES[n], label=entry)
            axes.bar_label(bars, fmt="%.2f", fontsize=9)
        axes.set_xticks(range(len(groups)), groups)
        axes.tick_params(axis="x", length=0, labelcolor=TEXT)
        axes.set_ylabel(label)
        axes.grid(False, axis="x")
        axes.axhline(1.0, color=MUTED, linewidth=1)
        figure.legend(loc="outside upper center", ncols=len(heights))

    return standalone(draw("peers", WIDTH, 340, paint).svg)

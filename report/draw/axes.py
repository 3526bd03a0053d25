"""What the figures share: sizes, axes, lines against the epoch, and labels at the ends of lines."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from report.draw.styles import Look, Looks
from report.draw.svg import marks

WIDTH = 430  # CSS pixels: two figures side by side on a desktop, one on a phone with its text still legible
LETTER = 7.2  # widest mean width of a letter at the label size
POINTS = 300  # of one line: a panel is hardly more pixels wide
ALL_POINTS, FEWEST = 2400, 40  # of all lines of a figure, and of one of very many
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def evenly(count: int, most: int) -> np.ndarray:
    """At most so many of the positions 0 … count - 1, the first and the last among them, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


@dataclass(frozen=True)
class Line:
    """A method against the epoch: the mean, and the lowest and the highest seed."""

    epochs: np.ndarray
    mean: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    log: bool = False

    @property
    def drawn(self) -> np.ndarray:
        """The mean, NaN where it is not above zero and the axis is logarithmic."""
        return np.where(self.mean > 0, self.mean, math.nan) if self.log else self.mean

    @property
    def end(self) -> float:
        """The last mean; NaN without any."""
        return last(self.mean)

    @property
    def drawn_end(self) -> float:
        """The last mean that has a place on the axis; NaN without any."""
        return last(self.drawn)


def last(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known[-1]) if len(known) else math.nan


def lines_of(rows: pd.DataFrame, column: str, *, scale: float = 1.0, log: bool = False) -> dict[str, Line]:
    """The line of each method."""
    table = (rows[column] * scale).groupby([rows["method"], rows["epoch"]]).agg(["mean", "min", "max"])
    lines = {}
    points = max(FEWEST, min(POINTS, ALL_POINTS // max(1, rows["method"].nunique())))
    for method, of_method in table.groupby(level=0, sort=False):
        few = of_method.iloc[evenly(len(of_method), points)]
        epochs = few.index.get_level_values(1).to_numpy()
        mean, lowest, highest = (few[name].to_numpy() for name in ("mean", "min", "max"))
        lines[str(method)] = Line(epochs, mean, lowest, highest, log)
    return lines


def curve_line(axes: Axes, line: Line, look: Look, place: int = 0, band: bool = True) -> None:
    """Draw a line and its band; `place` keeps the marks of different methods apart."""
    if band:
        axes.fill_between(line.epochs, line.lowest, line.highest, color=look.color, alpha=0.14, linewidth=0)
    every = max(1, len(line.epochs) // 6)
    axes.plot(
        line.epochs,
        line.drawn,
        color=look.color,
        linestyle=look.dashes,
        marker=look.marker,
        markevery=(place % every, every),
    )


def hide_beyond(used: int, grid: np.ndarray) -> None:
    """Hide the panels of a grid after the first ones."""
    for axes in list(grid.flat)[used:]:
        axes.set_visible(False)


def label_ends(axes: Axes, ends: list[tuple[str, float]], looks: Looks, whole: bool = False) -> None:
    """Write each method next to the end of its line, moved apart where the lines end close together.

    whole: no name takes two lines. A line that ends outside the panel is named at its edge, with an arrow.
    """
    axes.set_ylim(axes.get_ylim())  # fixes the limits, which matplotlib otherwise computes when it draws
    to_pixels = axes.transData.transform
    wanted = sorted((float(to_pixels((0, end))[1]), method) for method, end in ends)
    box = axes.get_window_extent()
    written = {method: method if whole else fold(method) for _, method in wanted}
    gap = 28 if any("\n" in name for name in written.values()) else 15
    slack = gap / 2 - 7
    places = apart([y for y, _ in wanted], gap, low=box.y0 + slack, high=box.y1 - slack)
    for (y, method), place in zip(wanted, places, strict=True):
        ends_at, text_at = ((at - box.y0) / box.height for at in (y, place))
        arrow = " ↓" if ends_at < -0.001 else " ↑" if ends_at > 1.001 else ""
        color = looks[method].color
        with marks(axes, method):
            if not arrow:
                axes.plot(
                    [1.0, 1.035],
                    [ends_at, text_at],
                    color=color,
                    linewidth=0.8,
                    clip_on=False,
                    transform=axes.transAxes,
                )
            axes.text(
                1.045, text_at, written[method] + arrow, color=color, va="center", transform=axes.transAxes
            )


def apart(wanted: list[float], gap: float, low: float, high: float) -> list[float]:
    """The ascending places nearest to the wanted ones that keep this gap and, if possible, these limits."""
    groups: list[list[float]] = []  # [centre, members]: a group is spread evenly around its centre
    for place in wanted:
        groups.append([min(max(place, low), high), 1])
        while len(groups) > 1 and overlap(groups[-2], groups[-1], gap):
            (first, n), (second, m) = groups[-2:]
            groups[-2:] = [[(first * n + second * m) / (n + m), n + m]]
            half = gap * (n + m - 1) / 2
            groups[-1][0] = max(low + half, min(high - half, groups[-1][0]))
    return [centre + gap * (i - (n - 1) / 2) for centre, n in groups for i in range(int(n))]


def overlap(below: list[float], above: list[float], gap: float) -> bool:
    return above[0] - gap * (above[1] - 1) / 2 - (below[0] + gap * (below[1] - 1) / 2) < gap


FAR = 10.0  # times the median distance from the median: a method so far off may squeeze the others
SQUEEZED = 1 / 3  # of the axis: with more left to the others, every method stays on it


def without_outliers(values: np.ndarray) -> np.ndarray:
    """Which of the methods' values decide the limits of an axis: those that no other would squeeze."""
    known = np.isfinite(values)
    if known.sum() < 3:
        return known
    distances = np.abs(values - np.median(values[known]))
    near = known & (distances <= FAR * np.median(distances[known]))
    squeezed = near.sum() > 1 and np.ptp(values[near]) < SQUEEZED * np.ptp(values[known])
    return near if squeezed else known


def epoch_axis(axes: Axes, epochs: int) -> None:
    axes.set_xlim(1 if epochs > 1 else 0, max(epochs, 2))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_xlabel("epoch")


def log_axis(axes: Axes, labels: int = 8) -> None:
    """A logarithmic axis with at most so many labels, also where it spans less than two decades."""
    axes.set_yscale("log")
    if axes.get_ylim()[0] <= 0:  # every value is zero, which has no place on this axis
        axes.set_ylim(0.1, 1)
        axes.text(0.5, 0.5, "zero throughout", ha="center", va="center", transform=axes.transAxes)
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(
        LogLocator(10, subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0), numticks=labels + 1)
    )
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def scientific(value: float) -> str:
    """0.01 as 10⁻² and 0.02 as 2·10⁻²; numbers near one as they are."""
    if value <= 0:
        return ""
    if 0.1 <= value < 100:
        return f"{value:g}"
    exponent = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10**exponent)
    return f"{'' if factor == 1 else f'{factor}·'}10{str(exponent).translate(SUPERSCRIPTS)}"


def margin(labels: Sequence[str], whole: bool = False) -> float:
    """Pixels that the longest label needs, at most 40 % of the figure; `whole` labels take one line."""
    lines = [line for label in labels for line in ([label] if whole else fold(label).split("\n"))]
    return min((0.5 if whole else 0.4) * WIDTH, 14 + LETTER * max(map(len, lines), default=0))


def fold(label: str) -> str:
    """A long method name on two lines, broken after the underscore nearest to its middle."""
    breaks = [at + 1 for at, letter in enumerate(label) if letter in "_-. "]
    if len(label) <= 18 or not breaks:
        return label
    middle = min(breaks, key=lambda at: abs(at - len(label) / 2))
    return f"{label[:middle]}\n{label[middle:]}"

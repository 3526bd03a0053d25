"""What the figures share: sizes, axes, lines against the epoch, and labels at the ends of lines."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from report.draw.styles import Look, Looks

WIDTH = 430  # CSS pixels: two figures side by side on a desktop, one on a phone with its text still legible
LETTER = 7.2  # widest mean width of a letter at the label size
POINTS = 300  # of one line: a panel is hardly more pixels wide
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def evenly(count: int, most: int) -> np.ndarray:
    """At most so many of the positions 0 … count - 1, the first and the last among them, evenly spaced."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))


def curve_line(
    axes: Axes,
    rows: pd.DataFrame,
    column: str,
    look: Look,
    place: int = 0,
    *,
    scale: float = 1.0,
    log: bool = False,
) -> float:
    """Draw a column of one method's rows against the epoch: the mean, and a band from lowest to highest.

    `place` keeps the marks of different methods apart. Returns the end of the line, NaN if it is empty.
    """
    values = rows[column].where(rows[column] > 0) if log else rows[column]
    by_epoch = (values * scale).groupby(rows["epoch"]).agg(["mean", "min", "max"])
    by_epoch = by_epoch.iloc[evenly(len(by_epoch), POINTS)]
    epochs = by_epoch.index.to_numpy()
    axes.fill_between(epochs, by_epoch["min"], by_epoch["max"], color=look.color, alpha=0.14, linewidth=0)
    every = max(1, len(epochs) // 6)
    axes.plot(
        epochs,
        by_epoch["mean"],
        color=look.color,
        linestyle=look.dashes,
        marker=look.marker,
        markevery=(place % every, every),
    )
    last = by_epoch["mean"].dropna()
    return float(last.iloc[-1]) if len(last) else math.nan


def hide_beyond(used: int, grid: np.ndarray) -> None:
    """Hide the panels of a grid after the first ones."""
    for axes in list(grid.flat)[used:]:
        axes.set_visible(False)


def label_ends(axes: Axes, ends: list[tuple[str, float]], looks: Looks) -> None:
    """Write each method next to the end of its line, moved apart where the lines end close together."""
    axes.set_ylim(axes.get_ylim())  # fixes the limits, which matplotlib otherwise computes when it draws
    to_pixels = axes.transData.transform
    wanted = sorted((float(to_pixels((0, end))[1]), method) for method, end in ends)
    box = axes.get_window_extent()
    gap = 28 if any("\n" in fold(method) for _, method in wanted) else 15
    slack = gap / 2 - 7
    places = apart([y for y, _ in wanted], gap, low=box.y0 + slack, high=box.y1 - slack)
    for (y, method), place in zip(wanted, places, strict=True):
        ends_at, text_at = ((at - box.y0) / box.height for at in (y, place))
        axes.plot(
            [1.0, 1.035],
            [ends_at, text_at],
            color=looks[method].color,
            linewidth=0.8,
            clip_on=False,
            transform=axes.transAxes,
        )
        axes.text(
            1.045, text_at, fold(method), color=looks[method].color, va="center", transform=axes.transAxes
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


def margin(labels: list[str]) -> float:
    """Pixels that the longest label needs, at most 40 % of the figure."""
    lines = [line for label in labels for line in fold(label).split("\n")]
    return min(0.4 * WIDTH, 14 + LETTER * max(map(len, lines), default=0))


def fold(label: str) -> str:
    """A long method name on two lines, broken after the underscore nearest to its middle."""
    breaks = [at + 1 for at, letter in enumerate(label) if letter in "_-. "]
    if len(label) <= 18 or not breaks:
        return label
    middle = min(breaks, key=lambda at: abs(at - len(label) / 2))
    return f"{label[:middle]}\n{label[middle:]}"

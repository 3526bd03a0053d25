"""The figure of other tasks' winners: beside each method's own winners and its published default."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.numbers import percent, points
from report.analysis.transfer import Transfer
from report.draw.axes import WIDTH, fold, margin, without_outliers
from report.draw.drawing import Drawing
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, draw, marks
from report.read.records import Task

ROW, HEAD, FOOT = 30, 30, 46  # pixels: of a method, above a panel, below the last one


def transfer_drawing(task: Task, found: Sequence[Transfer], looks: Looks) -> Drawing | None:
    """A panel for each other task, a row for each method; none without a score."""
    known = [each for each in found if not math.isnan(each.moved)]
    if not known:
        return None
    name = f"transfer-{task.key}"
    sources = list(dict.fromkeys(each.source for each in known))
    panels = [[each for each in known if each.source == source] for source in sources]
    heights = [HEAD + ROW * len(rows) for rows in panels]
    height = sum(heights) + FOOT
    low, high = limits(known)

    def paint(figure: Figure) -> None:
        left, top = margin([each.method for each in known]) / WIDTH, height
        for rows, tall in zip(panels, heights, strict=True):
            top -= tall
            axes = figure.add_axes((left, (top + 4) / height, 1 - left - 60 / WIDTH, (tall - HEAD) / height))
            axes.set_title(f"tuned on {rows[0].source.title}", fontsize=12, pad=6)
            axes.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5))
            for number, each in enumerate(rows):
                row(axes, number, each, looks[each.method], low)
            axes.set_yticks(range(len(rows)), [fold(each.method) for each in rows])
            axes.tick_params(axis="y", length=0, labelcolor=TEXT)
            axes.xaxis.set_major_locator(MaxNLocator(5))
            axes.spines["left"].set_visible(False)
            axes.grid(False, axis="y")
            if rows is not panels[-1]:
                axes.tick_params(axis="x", labelbottom=False, length=0)
        figure.supxlabel("test top-1 accuracy, %", fontsize=12, color=MUTED, y=6 / height)

    words = "; ".join(
        f"{each.method} tuned on {each.source.title} {percent(each.moved)}, tuned here {percent(each.own)}, "
        f"default {percent(each.default)}"
        for each in known
    )
    caption = (
        f"Settings that won elsewhere, on {task.title} (filled mark), and those that won here (open mark); "
        "stroke: the published default. At the right: the filled mark minus the open one, in points. Means "
        "of all final runs; the table has the intervals."
    )
    if any(100 * value < low for each in known for value in (each.moved, each.own, each.default)):
        caption += " ◂: further to the left."
    return Drawing(
        name, draw(name, WIDTH, height, paint), f"Test accuracy in percent: {words}.", caption, "transfer.csv"
    )


def limits(known: Sequence[Transfer]) -> tuple[float, float]:
    """In percent; a setting that fails does not squeeze the others."""
    values = np.array([value for each in known for value in (each.moved, each.own, each.default)])
    lowest, highest = float(values[without_outliers(values)].min()), float(np.nanmax(values))
    pad = 0.06 * (highest - lowest) or 0.005
    return 100 * max(0.0, lowest - pad), 100 * min(1.0, highest + pad)


def row(axes: Axes, number: int, each: Transfer, look: Look, low: float) -> None:
    """A row of a panel; a mark to the left of it is named at its edge. NaN is no mark."""
    moved, own, default = (100 * value for value in (each.moved, each.own, each.default))
    right = axes.get_yaxis_transform()
    axes.axhline(number, color=RULE, linewidth=0.6, zorder=0)
    words = ", ".join(map(percent, (each.moved, each.own, each.default)))
    with marks(axes, each.method, f"{each.method}: tuned there, tuned here, default: {words}"):
        ends = [max(value, low) for value in (moved, own) if not math.isnan(value)]
        axes.plot(ends, [number] * len(ends), color=look.color, linewidth=1.4)
        if default >= low:
            axes.plot([default], [number], "|", color=MUTED, markersize=15, markeredgewidth=2)
        if own >= low:
            style = {"color": look.color, "markersize": 8, "markerfacecolor": "none", "markeredgewidth": 1.6}
            axes.plot([own], [number], look.marker, **style)
        if moved >= low:
            axes.plot([moved], [number], look.marker, color=look.color, markersize=8)
        beyond = [f"{value:.1f}" for value in (moved,) if value < low]
        beyond += [f"default {value:.1f}" for value in (default,) if value < low]
        if beyond:
            text = f"◂ {', '.join(beyond)}"
            axes.text(0.015, number - 0.28, text, transform=right, va="center", color=TEXT, fontsize=10.5)
        axes.text(1.04, number, points(each.over_own.value), transform=right, va="center", color=TEXT)

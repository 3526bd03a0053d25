"""Accuracy, and its gap to training, against the share of flips that are soon undone, by method."""

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.oscillation import Association, Oscillation, association
from report.analysis.readings import MINUS
from report.draw.axes import WIDTH, without_outliers
from report.draw.claims import limits
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.draw.svg import draw, marks
from report.read.records import Task

HEIGHT = 300
SMALL_LETTER, LINE, GAP = 6.0, 12, 7  # pixels: of a letter, of a line of text, between a mark and its name
SHIFTS = sorted(range(-96, 97, LINE // 2), key=abs)
UNDONE = "flips undone within 10 steps, %"


def oscillation_drawings(
    task: Task, found: Sequence[Oscillation], looks: Looks, named: Collection[str]
) -> list[Drawing]:
    """Two figures with names beside the marks of `named` methods; none for fewer than eight methods."""
    undone = [each.undone for each in found]
    drawings = []
    for kind, title, values in (
        ("accuracy", "test accuracy, %", [each.accuracy for each in found]),
        ("gap", "training minus test accuracy, points", [each.gap for each in found]),
    ):
        related = association(undone, values)
        if related is None:
            return []
        drawings.append(
            scatter(f"undone-{kind}-{task.key}", task, title, found, values, looks, named, related)
        )
    return drawings


def scatter(
    name: str,
    task: Task,
    title: str,
    found: Sequence[Oscillation],
    values: Sequence[float],
    looks: Looks,
    named: Collection[str],
    related: Association,
) -> Drawing:
    """What squeezes the others is drawn at the edge of the panel, with its name and number."""
    heights = np.array(values)
    inside = without_outliers(heights)
    low, high = float(heights[inside].min()), float(heights[inside].max())
    middle, half = (low + high) / 2, 0.58 * (high - low) or 1.0

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((52 / WIDTH, 44 / HEIGHT, 1 - 70 / WIDTH, 1 - 78 / HEIGHT))
        axes.set_title(title, pad=9)
        axes.set(
            xlabel=UNDONE, xlim=limits([each.undone for each in found]), ylim=(middle - half, middle + half)
        )
        drawn = []
        for each, value in zip(found, values, strict=True):
            mark = mark_of(each, value, middle - half, middle + half, each.method in named)
            look = looks[each.method]
            with marks(axes, each.method, f"{each.undone:.1f} % undone, {minus(value)}"):
                axes.plot(
                    [mark.x],
                    [mark.y],
                    look.marker,
                    color=look.color,
                    markersize=7,
                    clip_on=False,
                    alpha=0.85,
                )
            drawn.append(mark)
        name_marks(axes, drawn, looks)
        axes.xaxis.set_major_locator(MaxNLocator(6))
        axes.yaxis.set_major_locator(MaxNLocator(6))

    ends = related.interval
    caption = (
        f"Each mark is a method with its finished final runs. Rank correlation over {related.methods} "
        f"methods: {minus(related.rho)} [{minus(ends.low)}, {minus(ends.high)}]. "
        "They differ in much else: no cause is shown."
    )
    words = [f"{each.method} {each.undone:.1f}, {minus(y)}" for each, y in zip(found, values, strict=True)]
    numbers = pd.DataFrame(
        {"method": each.method, "undone_10": each.undone, "value": value, "runs": each.runs}
        for each, value in zip(found, values, strict=True)
    )
    return Drawing(
        name,
        draw(name, WIDTH, HEIGHT, paint),
        f"{title} against {UNDONE} on {task.title}. {'; '.join(words)}.",
        caption,
        "curves.csv, runs.csv",
        numbers,
    )


def minus(value: float, digits: int = 2) -> str:
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", MINUS)


class Mark(NamedTuple):
    """The place of a method in the panel, and the text beside it; empty if it has none."""

    method: str
    x: float
    y: float
    text: str


def mark_of(found: Oscillation, value: float, low: float, high: float, named: bool) -> Mark:
    """A value beyond the panel is at its edge, and its text has the name and the number in any case."""
    y = min(max(value, low), high)
    if y == value:
        return Mark(found.method, found.undone, y, found.method if named else "")
    return Mark(
        found.method, found.undone, y, f"{found.method} {'↓' if value < y else '↑'} {minus(value, 1)}"
    )


def name_marks(axes: Axes, drawn: Sequence[Mark], looks: Looks) -> None:
    """Each text right or left of its mark; moved up or down, at the end of a line, if something is there."""
    panel = axes.get_window_extent()
    places = axes.transData.transform([(mark.x, mark.y) for mark in drawn])
    # Left and right end and height of each mark and name, in pixels.
    taken = [(float(x) - GAP, float(x) + GAP, float(y)) for x, y in places]

    def free(start: float, end: float, height: float) -> bool:
        inside = panel.x0 < start and end < panel.x1 + 2 * GAP
        inside &= panel.y0 + LINE / 2 < height < panel.y1
        return inside and not any(
            start < right and left < end and abs(height - y) < LINE for left, right, y in taken
        )

    for mark, (x, y) in sorted(zip(drawn, places, strict=True), key=lambda pair: -pair[0].y):
        if not mark.text:
            continue
        width = SMALL_LETTER * len(mark.text)
        sides = {"left": x + GAP + 1, "right": x - GAP - 1 - width}  # where a name starts, by its alignment
        candidates = [(side, shift) for shift in SHIFTS for side in sides]
        side, shift = next(
            (
                (side, shift)
                for side, shift in candidates
                if free(sides[side], sides[side] + width, y + shift)
            ),
            candidates[0],
        )
        taken.append((sides[side], sides[side] + width, y + shift))
        color = looks[mark.method].color
        with marks(axes, mark.method):
            axes.annotate(
                mark.text,
                (mark.x, mark.y),
                xytext=(GAP + 1 if side == "left" else -GAP - 1, shift),
                textcoords="offset points",
                ha=side,
                va="center",
                color=color,
                fontsize=10,
                arrowprops=line_to_mark(color, side) if abs(shift) >= LINE else None,
            )


def line_to_mark(color: str, side: str) -> dict[str, Any]:
    """From the end of a text that is next to its mark."""
    end = (0.0 if side == "left" else 1.0, 0.5)
    return {
        "arrowstyle": "-",
        "color": color,
        "linewidth": 0.8,
        "relpos": end,
        "shrinkA": 0,
        "shrinkB": 4,
    }

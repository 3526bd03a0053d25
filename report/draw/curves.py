"""The figures of the learning and flip curves: a column of curves.csv against the epoch."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.families import Family
from report.draw.axes import (
    WIDTH,
    Line,
    curve_line,
    epoch_axis,
    label_ends,
    lines_of,
    log_axis,
    margin,
    without_outliers,
)
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.draw.svg import FAINT, MUTED, RULE, Picture, draw, mark_epochs, marks
from report.read.records import Task


@dataclass(frozen=True)
class Curve:
    """A column of curves.csv, and how it is drawn.

    floor: a level to mark. late: the first epochs may lie below the panel, so that the ends spread out.
    """

    kind: str
    column: str
    title: str
    note: str
    scale: float = 1.0
    log: bool = False
    floor: float | None = None
    late: bool = False


BAND = "Mean over the finished seeds; the band runs from the lowest to the highest seed."
LEARNING = (
    Curve(
        "validation",
        "val_top1",
        "validation top-1 accuracy, %",
        "",
        scale=100.0,
        late=True,
    ),
    Curve("loss", "train_loss", "training loss, nats (log scale)", "", log=True),
)
FLIPS = (
    Curve(
        "flips",
        "flip_rate",
        "flips per weight and step",
        "Sign changes of the effective binary weights, per weight and step, averaged over each epoch. "
        "A mean without a flip has no place on a log axis and is left out; an arrow down names a last one.",
        log=True,
    ),
    Curve(
        "undone",
        "undone_share_10",
        "flips undone within 10 steps, %",
        "Share of an epoch's flips that reverse a flip of the same weight at most 10 steps earlier.",
        scale=100.0,
    ),
    Curve(
        "pi",
        "pi",
        "π of the last binary layer",
        "The paper's π (Eq. 7): ln(flipped share + e⁻⁹) of the last binary layer at each step, averaged "
        "over the epoch. The dotted line at \u22129 is a step without a flip.",
        floor=-9.0,
    ),
)


def curve_drawing(
    curve: Curve,
    task: Task,
    curves: pd.DataFrame,
    looks: Looks,
    shown: Sequence[str],
    families: Sequence[Family],
) -> Drawing:
    """The figure; of many methods those `shown` in colour before the others in grey, then all by family."""
    lines = lines_of(curves, curve.column, scale=curve.scale, log=curve.log)
    colored = [method for method in shown if method in lines]
    name = f"{curve.kind}-{task.key}"
    ends = "; ".join(f"{method} {lines[method].end:.4g}" for method in looks if method in lines)
    label = f"{curve.title} against the epoch on {task.title}. At the last epoch: {ends}."
    numbers = curve_numbers(lines)
    limits = curve_limits(curve, lines)
    cut = "Parts of some lines lie outside the panel." if leaves(lines, limits) else ""
    note = " ".join(filter(None, (curve.note, cut)))
    caption = f"{BAND} {note}".strip()
    picture = curve_figure(name, curve, lines, looks, colored, limits)
    if len(colored) == len(lines):
        return Drawing(name, picture, label, caption, "curves.csv", numbers)
    panels = {family.name: [method for method in family.methods if method in lines] for family in families}
    whole = family_figure(f"{name}-all", curve, lines, looks, panels, limits)
    return Drawing(
        name,
        picture,
        label,
        f"Top and bottom. {caption} Thin and pale: the other methods.",
        "curves.csv",
        numbers,
        Drawing(
            f"{name}-all",
            whole,
            label,
            f"The means of all methods, by family. {note} Pale: their range.".replace("  ", " "),
            "curves.csv",
        ),
    )


def curve_numbers(lines: Mapping[str, Line]) -> pd.DataFrame:
    """What the figure shows: mean, lowest and highest seed of each method and epoch."""
    tables = [
        pd.DataFrame(
            {
                "method": method,
                "epoch": line.epochs,
                "mean": line.mean,
                "lowest": line.lowest,
                "highest": line.highest,
            }
        )
        for method, line in lines.items()
    ]
    return pd.concat(tables, ignore_index=True)


def curve_figure(
    name: str,
    curve: Curve,
    lines: Mapping[str, Line],
    looks: Looks,
    colored: Sequence[str],
    limits: tuple[float, float],
) -> Picture:
    """All methods in one panel, those that are not coloured as thin grey lines."""
    tall = max(228, 18 * len(colored) + 12)
    height = 72 + tall

    def paint(figure: Figure) -> None:
        right = 22 + margin(colored)
        axes = figure.add_axes((52 / WIDTH, 44 / height, 1 - (52 + right) / WIDTH, tall / height))
        axes.set_title(curve.title, pad=9)
        for method, line in lines.items():
            if method not in colored:
                with marks(axes, method, words(method, line)):
                    axes.plot(line.epochs, line.drawn, color=FAINT, linewidth=0.9, zorder=1.5)
        curve_panel(axes, curve, lines, looks, colored, limits)

    return draw(name, WIDTH, height, paint)


def family_figure(
    name: str,
    curve: Curve,
    lines: Mapping[str, Line],
    looks: Looks,
    panels: Mapping[str, Sequence[str]],
    limits: tuple[float, float],
) -> Picture:
    """A panel for each family, one above the other on common axes, the range of all means in grey."""
    drawn = {title: panel for title, panel in panels.items() if panel}
    tall = [max(90, 15 * len(panel) + 12) for panel in drawn.values()]
    gap = 34
    height = 94 + sum(tall) + gap * (len(tall) - 1)
    longest = max(lines.values(), key=lambda line: len(line.epochs))
    means = [np.interp(longest.epochs, line.epochs, line.drawn, right=np.nan) for line in lines.values()]

    def paint(figure: Figure) -> None:
        right = 12 + margin([method for panel in drawn.values() for method in panel], whole=True)
        top = height - 50
        figure.suptitle(curve.title, x=0.02, y=1 - 6 / height, ha="left", va="top", fontsize=13)
        for (title, panel), size in zip(drawn.items(), tall, strict=True):
            box = (52 / WIDTH, (top - size) / height, 1 - (52 + right) / WIDTH, size / height)
            axes = figure.add_axes(box)
            axes.set_title(title, pad=4, fontsize=11.5)
            axes.fill_between(
                longest.epochs, np.nanmin(means, axis=0), np.nanmax(means, axis=0), color=RULE, linewidth=0
            )
            curve_panel(axes, curve, lines, looks, panel, limits, small=True)
            top -= size + gap
        for axes in figure.axes[:-1]:
            axes.set_xlabel("")

    return draw(name, WIDTH, height, paint)


def curve_panel(
    axes: Axes,
    curve: Curve,
    lines: Mapping[str, Line],
    looks: Looks,
    methods: Sequence[str],
    limits: tuple[float, float],
    small: bool = False,
) -> None:
    """The lines of these methods, with their names at the ends; small: of one panel of many."""
    for place, method in enumerate(methods):
        with marks(axes, method, words(method, lines[method])):
            curve_line(axes, lines[method], looks[method], place, band=not small)
    epoch_axis(axes, max(int(line.epochs.max()) for line in lines.values()))
    if curve.log:
        log_axis(axes, labels=3 if small else 8)
    else:
        axes.yaxis.set_major_locator(MaxNLocator(3 if small else 5))
    if limits[0] < limits[1]:
        axes.set_ylim(*limits)
    if curve.floor is not None:
        axes.axhline(curve.floor, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
    ends = [(method, lines[method].end) for method in methods]
    label_ends(axes, [(method, end) for method, end in ends if math.isfinite(end)], looks, whole=small)
    mark_epochs(axes)


def words(method: str, line: Line) -> str:
    return f"{method}: {line.end:.4g} at the last epoch"


def curve_limits(curve: Curve, lines: Mapping[str, Line]) -> tuple[float, float]:
    """Limits that no single method squeezes: one whose end is far from all others may leave the panel.

    Of a `late` curve the first sixth of the training may lie below it. (0, 0) without a value.
    """
    ends = np.array([line.drawn_end for line in lines.values()])
    inside = without_outliers(np.log(ends) if curve.log else ends)
    lows, highs = [], []
    for line in itertools.compress(lines.values(), inside):
        late = line.epochs > line.epochs.max() / 6 if curve.late else np.full(len(line.epochs), True)
        lowest = line.lowest[late]
        lows.append(np.nanmin(lowest[lowest > 0] if curve.log else lowest, initial=np.inf))
        highs.append(np.nanmax(line.highest[late], initial=-np.inf))
    if not lows:
        return 0.0, 0.0
    low, high = float(min(lows)), float(max(highs))
    if curve.floor is not None:
        low = min(low, curve.floor)
    if curve.log:
        pad = (high / low) ** 0.05
        return low / pad, high * pad
    pad = 0.05 * (high - low)
    return low - pad, high + pad


def leaves(lines: Mapping[str, Line], limits: tuple[float, float]) -> bool:
    """Whether a value of a mean that is drawn lies outside the limits."""
    low, high = limits
    return low < high and any(
        bool(((line.drawn < low) | (line.drawn > high)).any()) for line in lines.values()
    )

"""The figures of the learning and flip curves: a column of curves.csv against the epoch."""

import math
from dataclasses import dataclass

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.analysis.comparison import MANY_METHODS
from report.draw.axes import (
    WIDTH,
    curve_line,
    epoch_axis,
    fold,
    hide_beyond,
    label_ends,
    log_axis,
    margin,
)
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.draw.svg import MUTED, RULE, draw
from report.read.records import Task


@dataclass(frozen=True)
class Curve:
    """A column of curves.csv, and how it is drawn.

    floor: a level to mark. late: the first epochs may lie below the panel, so that the ends spread out.
    """

    kind: str
    column: str
    title: str
    caption: str
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
        f"{BAND} The first epochs may lie below the panel.",
        scale=100.0,
        late=True,
    ),
    Curve("loss", "train_loss", "training loss, nats (log scale)", BAND, log=True),
)
FLIPS = (
    Curve(
        "flips",
        "flip_rate",
        "flips per weight and step",
        "Sign changes of the effective binary weights, per weight and step, averaged over each epoch. "
        "Epochs without a flip have no place on a log axis and are left out.",
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


def curve_drawing(curve: Curve, task: Task, curves: pd.DataFrame, looks: Looks) -> Drawing:
    name = f"{curve.kind}-{task.key}"
    last = curves[curves["epoch"] == curves["epoch"].max()].groupby("method", sort=False)[curve.column].mean()
    ends = "; ".join(f"{method} {curve.scale * value:.4g}" for method, value in last.items())
    many = curves["method"].nunique() > MANY_METHODS
    return Drawing(
        name,
        (curve_panels if many else curve_figure)(name, curve, curves, looks),
        f"{curve.title} against the epoch on {task.title}. At the last epoch: {ends}.",
        f"{curve.caption} Grey: the range of all methods' means." if many else curve.caption,
        "curves.csv",
    )


def curve_figure(name: str, curve: Curve, curves: pd.DataFrame, looks: Looks) -> str:
    """All methods in one panel: mean over the seeds, band from the lowest to the highest."""
    rows_of = dict(iter(curves.groupby("method")))
    methods = [method for method in looks if method in rows_of]
    height = max(300, 90 + 17 * len(methods))

    def paint(figure: Figure) -> None:
        right = 16 + margin(methods)
        axes = figure.add_axes((52 / WIDTH, 44 / height, 1 - (52 + right) / WIDTH, 1 - 72 / height))
        axes.set_title(curve.title, pad=9)
        ends = []
        for place, method in enumerate(methods):
            rows, look = rows_of[method], looks[method]
            end = curve_line(axes, rows, curve.column, look, place, scale=curve.scale, log=curve.log)
            ends.append((method, end))
        epoch_axis(axes, int(curves["epoch"].max()))
        if curve.log:
            log_axis(axes)
        start_late(axes, curve, curves)
        mark_floor(axes, curve)
        label_ends(axes, [(method, end) for method, end in ends if math.isfinite(end)], looks)

    return draw(name, WIDTH, height, paint)


def curve_panels(name: str, curve: Curve, curves: pd.DataFrame, looks: Looks) -> str:
    """For more methods than a panel can hold: one panel each, the range of all in grey."""
    rows_of = dict(iter(curves.groupby("method")))
    methods = [method for method in looks if method in rows_of]
    means = (curves.groupby(["method", "epoch"])[curve.column].mean() * curve.scale).unstack()
    if curve.log:
        means = means.where(means > 0)
    rows = math.ceil(len(methods) / 3)
    height = 70 + 96 * rows

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(0.125, 40 / height, 0.98, 1 - 52 / height, wspace=0.1, hspace=0.62)
        figure.suptitle(curve.title, y=1 - 8 / height, fontsize=13)
        for axes, method in zip(grid.flat, methods, strict=False):
            axes.fill_between(means.columns, means.min(), means.max(), color=RULE, linewidth=0, zorder=1)
            curve_line(axes, rows_of[method], curve.column, looks[method], scale=curve.scale, log=curve.log)
            axes.set_title(fold(method), color=looks[method].color, fontsize=10, pad=3)
        hide_beyond(len(methods), grid)
        for axes in grid.flat:
            axes.grid(False)
            mark_floor(axes, curve)
        first = grid.flat[0]  # the panels share its axes, so what is set here is set for all
        epoch_axis(first, int(curves["epoch"].max()))
        first.set_xlabel("")
        if curve.log:
            log_axis(first, labels=3)
        first.minorticks_off()
        start_late(first, curve, curves)
        figure.supxlabel("epoch", fontsize=12, color=MUTED, y=6 / height)

    return draw(name, WIDTH, height, paint)


def mark_floor(axes: Axes, curve: Curve) -> None:
    if curve.floor is not None:
        axes.axhline(curve.floor, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))


def start_late(axes: Axes, curve: Curve, curves: pd.DataFrame) -> None:
    """Let the panel begin at the lowest value after the first sixth of the training."""
    if curve.late:
        late = curves[curves["epoch"] > curves["epoch"].max() / 6]
        axes.set_ylim(bottom=float(late[curve.column].min()) * curve.scale)

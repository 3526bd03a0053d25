"""The figures of the report: each function returns one drawing as SVG text."""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.comparison import CONTROL, Comparison, Standing
from report.analysis.numbers import spread
from report.analysis.statistics import evenly
from report.draw.axes import LETTER, WIDTH, epoch_axis, fold, label_ends, log_axis, margin
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, draw

MANY_SEEDS = 30  # from here on their dots would run into one another
POINTS = 300  # of one line: a panel is hardly more pixels wide


def accuracy_figure(name: str, comparison: Comparison, looks: Looks) -> str:
    """Mean, 95 % t-interval and every seed of each method, with the numbers written at the right."""
    standings = comparison.standings
    height = 56 + 44 * len(standings)

    def paint(figure: Figure) -> None:
        left = margin([each.method for each in standings]) / WIDTH
        axes = figure.add_axes((left, 40 / height, 1 - left - 128 / WIDTH, 1 - 46 / height))
        low, high = accuracy_limits(standings)
        axes.set(xlim=(low, high), ylim=(len(standings) - 0.45, -0.55), xlabel="test top-1 accuracy, %")
        for row, standing in enumerate(standings):
            accuracy_row(axes, row, standing, looks[standing.method], low)
        axes.set_yticks(range(len(standings)), [fold(each.method) for each in standings])
        axes.tick_params(axis="y", length=0, labelcolor=TEXT)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")

    return draw(name, WIDTH, height, paint)


def accuracy_limits(standings: list[Standing]) -> tuple[float, float]:
    """Limits in percent that hold every interval, but let no diverged run and no floor squeeze the others."""
    ends: list[float] = []
    competing = [each for each in standings if each.mark != CONTROL]
    for each in competing:
        stable = each.scores if not each.diverged else each.stable_scores
        ends += stable
        if each.scores and not each.diverged and not math.isnan(each.half_width):
            ends += [each.mean - each.half_width, each.mean + each.half_width]
    ends = ends or [score for each in standings for score in each.scores]
    ends += [
        score for each in standings if each.mark == CONTROL for score in each.scores if score > min(ends)
    ]
    pad = 0.06 * (max(ends) - min(ends)) or 0.005
    return 100 * max(0.0, min(ends) - pad), 100 * min(1.0, max(ends) + pad)


def accuracy_row(axes: Axes, row: int, standing: Standing, look: Look, low: float) -> None:
    right = axes.get_yaxis_transform()
    axes.axhline(row, color=RULE, linewidth=0.6, zorder=0)
    if not standing.scores:
        axes.text(1.04, row, "no score yet", transform=right, va="center", color=MUTED)
        return
    mean, half = 100 * standing.mean, 100 * standing.half_width
    scores = 100 * np.array(standing.scores)
    inside = scores[scores >= low]
    if len(inside) > MANY_SEEDS:
        seed_strip(axes, row + 0.2, inside, look)
    else:
        axes.plot(
            inside,
            np.full(len(inside), row + 0.2),
            "o",
            color=look.color,
            markersize=4,
            alpha=0.6,
            markeredgewidth=0,
        )
    if not math.isnan(half):
        axes.plot(
            [mean - half, mean + half], [row, row], color=look.color, linewidth=2.4, solid_capstyle="butt"
        )
    axes.plot([mean], [row], look.marker, color=look.color, markersize=8)
    if len(inside) < len(scores) or mean < low:
        why = "diverged" if standing.diverged else "below"
        outside = f"◂ {len(scores) - len(inside)} {why}"
        axes.text(0.015, row - 0.26, outside, transform=right, va="center", color=TEXT, fontsize=10.5)
    axes.text(1.04, row - 0.17, spread(standing), transform=right, va="center", color=TEXT, weight="bold")
    axes.text(1.04, row + 0.21, standing.short_mark, transform=right, va="center", color=MUTED, fontsize=10.5)


def seed_strip(axes: Axes, y: float, scores: np.ndarray, look: Look) -> None:
    """Many seeds as a thin line from the lowest to the highest and a thick one over their middle half."""
    low, first, third, high = np.quantile(scores, [0, 0.25, 0.75, 1])
    axes.plot([low, high], [y, y], color=look.color, linewidth=1, alpha=0.6)
    axes.plot([first, third], [y, y], color=look.color, linewidth=4, alpha=0.6, solid_capstyle="butt")


def curve_figure(
    name: str,
    curves: pd.DataFrame,
    column: str,
    title: str,
    looks: Looks,
    *,
    scale: float = 1.0,
    log: bool = False,
    floor: float | None = None,
    late: bool = False,
) -> str:
    """One column of the curves against the epoch: mean over the seeds, band from the lowest to the highest.

    `floor` draws a level; `late` lets the first epochs lie below the panel, so that the ends spread out.
    """
    curve_of = dict(iter(curves.groupby("method")))
    methods = [method for method in looks if method in curve_of]
    height = max(300, 90 + 17 * len(methods))

    def paint(figure: Figure) -> None:
        right = 16 + margin(methods)
        axes = figure.add_axes((52 / WIDTH, 44 / height, 1 - (52 + right) / WIDTH, 1 - 72 / height))
        axes.set_title(title, pad=9)
        ends = [
            (method, curve_line(axes, curve_of[method], column, scale, log, looks[method], place))
            for place, method in enumerate(methods)
        ]
        epoch_axis(axes, int(curves["epoch"].max()))
        if log:
            log_axis(axes)
        if late:
            axes.set_ylim(bottom=late_start(curves, column) * scale)
        if floor is not None:
            axes.axhline(floor, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        label_ends(axes, [(m, end) for m, end in ends if math.isfinite(end)], looks)

    return draw(name, WIDTH, height, paint)


def curve_line(
    axes: Axes, curve: pd.DataFrame, column: str, scale: float, log: bool, look: Look, place: int
) -> float:
    """Draw one method's curve; returns where it ends. `place` keeps the marks of different methods apart."""
    values = curve[column].where(curve[column] > 0) if log else curve[column]
    by_epoch = (values * scale).groupby(curve["epoch"]).agg(["mean", "min", "max"])
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


def curve_panels(
    name: str,
    curves: pd.DataFrame,
    column: str,
    title: str,
    looks: Looks,
    *,
    scale: float = 1.0,
    log: bool = False,
    floor: float | None = None,
    late: bool = False,
) -> str:
    """`curve_figure` for more methods than a panel can hold: one panel each, the range of all in grey."""
    curve_of = dict(iter(curves.groupby("method")))
    methods = [method for method in looks if method in curve_of]
    means = (curves.groupby(["method", "epoch"])[column].mean() * scale).unstack()
    if log:
        means = means.where(means > 0)
    rows = math.ceil(len(methods) / 3)
    height = 70 + 96 * rows

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, 3, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(0.125, 40 / height, 0.98, 1 - 52 / height, wspace=0.1, hspace=0.62)
        figure.suptitle(title, y=1 - 8 / height, fontsize=13)
        for axes, method in zip(grid.flat, methods, strict=False):
            axes.fill_between(means.columns, means.min(), means.max(), color=RULE, linewidth=0, zorder=1)
            curve_line(axes, curve_of[method], column, scale, log, looks[method], 0)
            axes.set_title(fold(method), color=looks[method].color, fontsize=10, pad=3)
        for axes in list(grid.flat)[len(methods) :]:
            axes.set_visible(False)
        for axes in grid.flat:
            axes.grid(False)
            if floor is not None:
                axes.axhline(floor, color=MUTED, linewidth=1, linestyle=(0, (2, 2)))
        first = grid.flat[0]  # the panels share its axes, so what is set here is set for all
        epoch_axis(first, int(curves["epoch"].max()))
        first.set_xlabel("")
        if log:
            log_axis(first, labels=3)
        first.minorticks_off()
        if late:
            first.set_ylim(bottom=late_start(curves, column) * scale)
        figure.supxlabel("epoch", fontsize=12, color=MUTED, y=6 / height)

    return draw(name, WIDTH, height, paint)


def late_start(curves: pd.DataFrame, column: str) -> float:
    """The lowest value after the first sixth of the training."""
    late = curves[curves["epoch"] > curves["epoch"].max() / 6]
    return float(late[column].min())


def layers_figure(name: str, layers: pd.DataFrame, looks: Looks) -> str:
    """Flips per weight per step of every binary layer, one small panel each, on common axes."""
    names = list(dict.fromkeys(layers["layer"]))
    present = set(layers["method"])
    methods = [method for method in looks if method in present]
    panel_of = dict(iter(layers.groupby("layer")))
    rows = math.ceil(len(names) / 2)
    columns = 1 if any("\n" in fold(method) for method in methods) else 2
    legend = 20 * math.ceil(len(methods) / columns)
    height = 58 + legend + 150 * rows

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(0.125, 42 / height, 0.97, 1 - (26 + legend) / height, wspace=0.1, hspace=0.32)
        for axes, layer in zip(grid.flat, names, strict=False):
            panel = panel_of[layer]
            weights = int(panel["weights"].iloc[0])
            called = f"layer {layer}" if layer.isdigit() else layer
            title = f"{called} · {weights:,} weights".replace(",", "\u202f")
            axes.set_title(title, fontsize=11, pad=5, weight="normal")
            for place, method in enumerate(methods):
                curve_line(
                    axes, panel[panel["method"] == method], "flip_rate", 1.0, True, looks[method], place
                )
            log_axis(axes)
        for axes in list(grid.flat)[len(names) :]:
            axes.set_visible(False)
        for axes in (each for row in grid for each in row if each.get_visible()):
            epoch_axis(axes, int(layers["epoch"].max()))
        for upper, lower in zip(grid[:-1].flat, grid[1:].flat, strict=True):
            if lower.get_visible():
                upper.set_xlabel("")
            upper.tick_params(labelbottom=not lower.get_visible())
        lines = grid.flat[0].get_lines()[: len(methods)]
        figure.legend(
            lines, methods, loc="upper left", ncols=columns, bbox_to_anchor=(0.1, 1.0), handlelength=3
        )

    return draw(name, WIDTH, height, paint)


def layers_map(name: str, layers: pd.DataFrame, looks: Looks) -> str:
    """`layers_figure` for many methods: log10 of the mean flip rate, a row each, a column for every layer."""
    names = list(dict.fromkeys(layers["layer"]))
    rates = layers.groupby(["method", "layer"])["flip_rate"].mean().unstack()[names]
    methods = [method for method in looks if method in rates.index]
    exponents = np.log10(rates.loc[methods].where(rates > 0).to_numpy())
    height = 64 + 26 * len(methods)

    def paint(figure: Figure) -> None:
        left = min(0.42, (14 + LETTER * max(map(len, methods))) / WIDTH)
        axes = figure.add_axes((left, 8 / height, 1 - left - 0.02, 1 - 56 / height))
        mesh = axes.pcolormesh(exponents, cmap="cividis")
        middle = float(np.nanmean(mesh.get_clim()))
        for row, column in np.ndindex(*exponents.shape):
            value = exponents[row, column]
            text = "\u2013" if math.isnan(value) else f"{value:.1f}".replace("-", "\u2212")
            color = TEXT if math.isnan(value) else "#ffffff" if value < middle else "#000000"
            axes.text(column + 0.5, row + 0.5, text, ha="center", va="center", color=color, fontsize=10.5)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(len(methods)) + 0.5, methods)
        labels = [f"layer {each}" if each.isdigit() else each for each in names]
        axes.set_xticks(np.arange(len(names)) + 0.5, labels)
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=TEXT)
        axes.grid(False)

    return draw(name, WIDTH, height, paint)


def glyph(look: Look) -> str:
    """The line and mark of a method alone, for the list of methods."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.plot(
            [0, 1, 2], [0, 0, 0], color=look.color, linestyle=look.dashes, marker=look.marker, markevery=[1]
        )

    return draw(f"glyph-{look.color[1:]}-{look.marker}", 44, 14, paint)

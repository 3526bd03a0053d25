"""The two figures of a tuning study: how many settings are good, and what a budget of draws buys.

With many methods both show the easiest and the hardest ones; the tables and tuning.csv have all.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from report.analysis.ease import DELTAS, POINT
from report.analysis.study import MethodStudy, TaskStudy
from report.analysis.study_frame import tuning_frame
from report.draw.axes import WIDTH, fold, hide_beyond
from report.draw.drawing import Drawing
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, Picture, draw, mark

EASIEST, HARDEST = 8, 4  # methods that are drawn, of however many
TICKS = (0.5, 1.0, 2.0, 5.0)  # points
BAND = 0.16  # opacity
EASE, BUDGETS = ("share within", "draws needed"), ("best of", "mean best of")  # kinds of numbers


def tuning_drawings(study: TaskStudy, looks: Looks) -> list[Drawing]:
    """The figures that the draws carry: none without random draws."""
    rows = study.competing
    if not any(row.search.scores for row in rows):
        return []
    numbers = tuning_frame([study])
    drawings = [ease_drawing(study, shown(rows), looks, numbers[numbers["kind"].isin(EASE)])]
    if carried := [row for row in shown(rows) if row.budget.carried > 1]:
        drawings.append(budget_drawing(study, carried, looks, numbers[numbers["kind"].isin(BUDGETS)]))
    return drawings


def shown(rows: list[MethodStudy]) -> list[MethodStudy]:
    """All rows, of many the first and the last ones: the easiest and the hardest to tune."""
    return rows if len(rows) <= EASIEST + HARDEST else [*rows[:EASIEST], *rows[-HARDEST:]]


def left_out(study: TaskStudy, drawn: Sequence[MethodStudy]) -> str:
    if len(drawn) == len(study.competing):
        return ""
    return (
        f" Shown are the {EASIEST} easiest and the {HARDEST} hardest to tune of {len(study.competing)} rows."
    )


def ease_drawing(study: TaskStudy, rows: list[MethodStudy], looks: Looks, numbers: pd.DataFrame) -> Drawing:
    name = f"ease-{study.task.key}"
    at_one = "; ".join(
        f"{row.method} {100 * row.near.share:.0f}" for row in rows if row.near and row.near.draws
    )
    caption = (
        "Random settings whose validation accuracy lies within δ points of the best known setting, in "
        "percent of all random draws, with Wilson's 95 % interval (band). Dotted: 1 point. Pale: other rows."
    )
    return Drawing(
        name,
        panels(
            name, rows, looks, ease_panel, ease_axes, "δ, points below the best known setting (log scale)"
        ),
        f"Share of good random settings on {study.task.title}. Within 1 point, in percent: {at_one}.",
        caption + left_out(study, rows),
        "tuning.csv",
        numbers,
    )


def ease_panel(axes: Axes, row: MethodStudy, look: Look | None) -> None:
    deltas = [100 * share.delta for share in row.shares]
    values = [100 * share.share for share in row.shares]
    if look is None:
        axes.plot(deltas[::3], values[::3], color=RULE, linewidth=1.2, zorder=1)
        return
    axes.axvline(100 * POINT, color=MUTED, linewidth=1, linestyle=(0, (2, 2)), zorder=1)
    low, high = [100 * share.low for share in row.shares], [100 * share.high for share in row.shares]
    axes.fill_between(deltas, low, high, color=look.color, alpha=BAND, linewidth=0)
    axes.plot(deltas, values, color=look.color, linestyle=look.dashes, marker=look.marker, markevery=(2, 7))


def ease_axes(axes: Axes, rows: list[MethodStudy]) -> None:
    axes.set_xscale("log")
    axes.set(xlim=(100 * DELTAS[0], 100 * DELTAS[-1]), ylim=(0, 100))
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_locator(FixedLocator((0, 25, 50, 75, 100)))


def budget_drawing(study: TaskStudy, rows: list[MethodStudy], looks: Looks, numbers: pd.DataFrame) -> Drawing:
    name = f"budget-{study.task.key}"
    ends = "; ".join(
        f"{row.method} {100 * row.budget.median[row.budget.informed - 1]:.2f} of {row.budget.carried}"
        for row in rows
    )
    caption = (
        "Median best validation accuracy (%) of n random draws, with an 80 % band that holds for the whole "
        "curve (Lourie et al. 2024). A curve ends where its band would say nothing: more draws carry it "
        "further. The published default was chosen and not drawn: its validation accuracy is the dotted "
        "line, where it lies in the panel. Pale: the other rows."
    )
    return Drawing(
        name,
        panels(name, rows, looks, budget_panel, budget_axes, "n random draws"),
        f"The best of n random draws on {study.task.title}. Median best in percent: {ends}.",
        caption + left_out(study, rows),
        "tuning.csv",
        numbers,
    )


def budget_panel(axes: Axes, row: MethodStudy, look: Look | None) -> None:
    curve, end = row.budget, row.budget.informed
    budgets, median = curve.budgets[:end], 100 * curve.median[:end]
    if look is None:
        axes.plot(budgets, median, color=RULE, linewidth=1.2, zorder=1)
        return
    low, high = 100 * curve.low[:end], 100 * curve.high[:end]
    axes.fill_between(budgets, low, high, color=look.color, alpha=BAND, linewidth=0)
    every = max(1, end // 5)
    axes.plot(budgets, median, color=look.color, linestyle=look.dashes, marker=look.marker, markevery=every)
    if not math.isnan(row.default_validation):
        axes.axhline(100 * row.default_validation, color=TEXT, linewidth=1, linestyle=(0, (2, 2)))


def budget_axes(axes: Axes, rows: list[MethodStudy]) -> None:
    """Limits from the curves and half of their bands; the rest of a band may leave the panel."""
    medians = np.concatenate([row.budget.median[: row.budget.informed] for row in rows])
    low, high = float(medians.min()), float(medians.max())
    pad = 0.25 * (high - low) or 0.02
    axes.set_ylim(100 * max(0.0, low - pad), 100 * min(1.0, high + pad))
    axes.set_xlim(1, max(row.budget.carried for row in rows))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def panels(
    name: str,
    rows: list[MethodStudy],
    looks: Looks,
    paint_row: Callable[[Axes, MethodStudy, Look | None], None],
    set_axes: Callable[[Axes, list[MethodStudy]], None],
    horizontal: str,
) -> Picture:
    """A panel for each row on common axes, the other rows in grey behind it."""
    across = 2 if len(rows) <= 6 else 3
    down = math.ceil(len(rows) / across)
    top = 40 if any("\n" in fold(row.method) for row in rows[:across]) else 26
    height = top + 44 + (140 if across == 2 else 108) * down

    def paint(figure: Figure) -> None:
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(0.105, 46 / height, 0.97, 1 - top / height, wspace=0.12, hspace=0.42)
        for axes, row in zip(grid.flat, rows, strict=False):
            for other in rows:
                if other is not row:
                    paint_row(axes, other, None)
            paint_row(axes, row, looks[row.method])
            mark(axes, row.method)
            axes.set_title(
                fold(row.method), color=looks[row.method].color, fontsize=12 if across == 2 else 10.5, pad=4
            )
        hide_beyond(len(rows), grid)
        set_axes(grid.flat[0], rows)
        figure.supxlabel(horizontal, fontsize=12, color=MUTED, y=6 / height)

    return draw(name, WIDTH, height, paint)

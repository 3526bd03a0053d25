"""The figures of the flips in every binary layer."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from report.analysis.comparison import MANY_METHODS
from report.analysis.numbers import grouped
from report.draw.axes import LETTER, WIDTH, curve_line, epoch_axis, fold, hide_beyond, log_axis
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.draw.svg import TEXT, draw
from report.read.records import Task


def layers_drawing(task: Task, layers: pd.DataFrame, looks: Looks) -> Drawing:
    name = f"layers-{task.key}"
    panels = layers["layer"].nunique()
    if layers["method"].nunique() > MANY_METHODS:
        return Drawing(
            name,
            layers_map(name, layers, looks),
            f"Flips per weight and step of every method in every binary layer on {task.title}.",
            "Log10 of the flips per weight and step, mean over the whole training and all seeds, for every "
            "binary layer. A dash: no flip at all.",
            "flips.csv",
        )
    return Drawing(
        name,
        layers_figure(name, layers, looks),
        f"Flips per weight and step in every binary layer on {task.title}, {panels} panels.",
        "Flips per weight and step, layer by layer, on common axes.",
        "flips.csv",
    )


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
            title = f"{title_of(layer)} · {grouped(weights)} weights"
            axes.set_title(title, fontsize=11, pad=5, weight="normal")
            for place, method in enumerate(methods):
                rows_of = panel[panel["method"] == method]
                curve_line(axes, rows_of, "flip_rate", looks[method], place, log=True)
            log_axis(axes)
        hide_beyond(len(names), grid)
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
        axes.set_xticks(np.arange(len(names)) + 0.5, [title_of(layer) for layer in names])
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=TEXT)
        axes.grid(False)

    return draw(name, WIDTH, height, paint)


def title_of(layer: str) -> str:
    """A layer's name; one that is only a number gets a word."""
    return f"layer {layer}" if layer.isdigit() else layer

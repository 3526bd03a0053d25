"""The figures of the flips in every binary layer."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.transforms import blended_transform_factory

from report.analysis.comparison import MANY_METHODS
from report.analysis.families import Family
from report.analysis.numbers import grouped
from report.draw.axes import (
    LETTER,
    WIDTH,
    Line,
    curve_line,
    epoch_axis,
    fold,
    hide_beyond,
    lines_of,
    log_axis,
)
from report.draw.curves import curve_numbers
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.draw.svg import MUTED, TEXT, Picture, draw, mark, mark_epochs, marks
from report.read.records import Task


def layers_drawing(
    task: Task, layers: pd.DataFrame, looks: Looks, kinds: Sequence[str], families: Sequence[Family]
) -> Drawing:
    """The flips of every layer against the epoch; of many methods their mean over the training alone."""
    name = f"layers-{task.key}"
    titles = layer_titles(list(dict.fromkeys(layers["layer"])), kinds)
    if layers["method"].nunique() > MANY_METHODS:
        rates = mean_rates(layers)
        return Drawing(
            name,
            layers_map(name, rates, titles, families),
            f"Flips per weight and step of every method in every binary layer on {task.title}.",
            "Log10 of the flips per weight and step, mean over the whole training and all seeds, for every "
            "binary layer. A dash: no flip at all.",
            "flips.csv",
            rates.reset_index(),
        )
    lines = {str(layer): lines_of(panel, "flip_rate", log=True) for layer, panel in layers.groupby("layer")}
    numbers = pd.concat([curve_numbers(lines[layer]).assign(layer=title) for layer, title in titles.items()])
    return Drawing(
        name,
        layers_figure(name, layers, lines, looks, titles),
        f"Flips per weight and step in every binary layer on {task.title}, {len(titles)} panels.",
        "Flips per weight and step, layer by layer, on common axes. Layers are numbered from the input. "
        "A mean without a flip is left out.",
        "flips.csv",
        numbers,
    )


def layer_titles(names: Sequence[str], kinds: Sequence[str]) -> dict[str, str]:
    """Every layer by its kind and number, as `conv 1`; a plan may not know the kinds."""
    known = kinds if len(kinds) == len(names) else ["layer"] * len(names)
    pairs = zip(names, known, strict=True)
    return {name: f"{kind} {number}" for number, (name, kind) in enumerate(pairs, 1)}


def mean_rates(layers: pd.DataFrame) -> pd.DataFrame:
    """The mean flip rate over the training: a row for each method, a column for each layer."""
    names = list(dict.fromkeys(layers["layer"]))
    return layers.groupby(["method", "layer"])["flip_rate"].mean().unstack()[names]


def layers_figure(
    name: str,
    layers: pd.DataFrame,
    lines: Mapping[str, Mapping[str, Line]],
    looks: Looks,
    titles: dict[str, str],
) -> Picture:
    """Flips per weight per step of every binary layer, one small panel each, on common axes."""
    present = set(layers["method"])
    methods = [method for method in looks if method in present]
    weights = layers.groupby("layer")["weights"].first()
    rows = math.ceil(len(titles) / 2)
    columns = 1 if any("\n" in fold(method) for method in methods) else 2
    legend = 20 * math.ceil(len(methods) / columns)
    height = 58 + legend + 150 * rows

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(0.125, 42 / height, 0.97, 1 - (26 + legend) / height, wspace=0.1, hspace=0.32)
        for axes, (layer, title) in zip(grid.flat, titles.items(), strict=False):
            words = f"{title} · {grouped(float(weights[layer]))} weights"
            axes.set_title(words, fontsize=11, pad=5, weight="normal")
            for place, method in enumerate(methods):
                with marks(axes, method, f"{method}, {title}"):
                    curve_line(axes, lines[layer][method], looks[method], place)
            log_axis(axes)
        hide_beyond(len(titles), grid)
        for axes in (each for row in grid for each in row if each.get_visible()):
            epoch_axis(axes, int(layers["epoch"].max()))
            mark_epochs(axes)
        for upper, lower in zip(grid[:-1].flat, grid[1:].flat, strict=True):
            if lower.get_visible():
                upper.set_xlabel("")
            upper.tick_params(labelbottom=not lower.get_visible())
        legend_of = figure.legend(
            grid.flat[0].get_lines()[: len(methods)],
            methods,
            loc="upper left",
            ncols=columns,
            bbox_to_anchor=(0.1, 1.0),
            handlelength=3,
        )
        for text, method in zip(legend_of.get_texts(), methods, strict=True):
            mark(text, method)

    return draw(name, WIDTH, height, paint)


def layers_map(name: str, rates: pd.DataFrame, titles: dict[str, str], families: Sequence[Family]) -> Picture:
    """`layers_figure` for many methods: log10 of the mean flip rate, a row each, a column for every layer."""
    exponents = rates.where(rates > 0).apply(np.log10)
    blocks = [
        (family.name, [method for method in family.methods if method in rates.index]) for family in families
    ]
    blocks = [(title, methods) for title, methods in blocks if methods]
    methods = [method for _, of in blocks for method in of]
    low, high = float(np.nanmin(exponents)), float(np.nanmax(exponents))
    step, heading = 22, 26
    height = 40 + step * len(methods) + heading * len(blocks)

    def paint(figure: Figure) -> None:
        left = min(0.45, (14 + LETTER * max(map(len, methods))) / WIDTH)
        axes = figure.add_axes((left, 8 / height, 1 - left - 0.02, 1 - 40 / height))
        axes.set(xlim=(0, len(titles)), ylim=(height - 40, 0))
        across = blended_transform_factory(figure.transFigure, axes.transData)
        middle, y, ticks = low + 0.4 * (high - low), 0.0, []
        for title, of in blocks:
            axes.text(0.01, y + 17, title, transform=across, color=MUTED)
            y += heading
            for method in of:
                ticks.append(y + step / 2)
                with marks(axes, method):
                    row = exponents.loc[[method]].to_numpy()
                    axes.pcolormesh(
                        np.arange(len(titles) + 1), [y, y + step], row, cmap="cividis", vmin=low, vmax=high
                    )
                for column, value in enumerate(row[0]):
                    text = "\u2013" if math.isnan(value) else f"{value:.1f}".replace("-", "\u2212")
                    color = TEXT if math.isnan(value) else "#ffffff" if value < middle else "#000000"
                    words = f"{method}, {list(titles.values())[column]}: 10^{text}"
                    with marks(axes, method, words):
                        at = (column + 0.5, y + step / 2)
                        axes.text(*at, text, ha="center", va="center", color=color, fontsize=10.5)
                y += step
        axes.set_yticks(ticks, methods)
        for label, method in zip(axes.get_yticklabels(), methods, strict=True):
            mark(label, method)
        axes.set_xticks(np.arange(len(titles)) + 0.5, list(titles.values()))
        axes.xaxis.tick_top()
        axes.tick_params(length=0, labelcolor=TEXT)
        axes.grid(False)
        axes.spines["left"].set_visible(False)
        axes.spines["bottom"].set_visible(False)

    return draw(name, WIDTH, height, paint)

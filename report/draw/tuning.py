"""The figure of the tuning curves."""

import math
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.comparison import MANY_METHODS
from report.analysis.statistics import evenly
from report.analysis.tuning import Tuning
from report.draw.axes import WIDTH, fold
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, draw

MANY_TRIALS = 100  # of one panel: further points and dots are not drawn


def tuning_figure(name: str, tunings: list[Tuning], looks: Looks, horizontal: str) -> str:
    """One panel per method on common axes: its curve, the published default, the other methods in grey."""
    drawn = [thinned(tuning) for tuning in tunings]
    whole_range = range_of(drawn)
    rows = math.ceil(len(tunings) / 2)
    height = 44 + 165 * rows

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, 2, sharex=True, sharey=True, squeeze=False)
        figure.subplots_adjust(
            0.115,
            46 / height,
            0.97,
            1 - (40 if any("\n" in fold(each.method) for each in tunings) else 26) / height,
            wspace=0.1,
            hspace=0.34,
        )
        for axes, tuning in zip(grid.flat, drawn, strict=False):
            if len(tunings) > MANY_METHODS:
                axes.fill_between(*whole_range, color=RULE, linewidth=0, zorder=1)
            else:
                for other in drawn:
                    axes.plot(other.trials, 100 * other.values, color=RULE, linewidth=1.2, zorder=1)
            tuning_panel(axes, tuning, looks[tuning.method])
        for axes in list(grid.flat)[len(tunings) :]:
            axes.set_visible(False)
        grid.flat[0].set_ylim(*tuning_limits(tunings))
        figure.supxlabel(horizontal, fontsize=12, color=MUTED, y=6 / height)

    return draw(name, WIDTH, height, paint)


def thinned(tuning: Tuning) -> Tuning:
    """With no more points and dots than a panel can show."""
    points, dots = evenly(len(tuning.trials), MANY_TRIALS), evenly(len(tuning.scores), MANY_TRIALS)
    return replace(
        tuning,
        trials=tuning.trials[points],
        values=tuning.values[points],
        lower=None if tuning.lower is None else tuning.lower[points],
        upper=None if tuning.upper is None else tuning.upper[points],
        scores=tuple(tuning.scores[dot] for dot in dots),
    )


def range_of(tunings: list[Tuning]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trials, and at each the lowest and the highest of all curves that come so far, in percent."""
    trials = max((each.trials for each in tunings), key=lambda each: each.max(initial=0))
    curves = [
        np.interp(trials, each.trials, each.values, left=np.nan, right=np.nan)
        for each in tunings
        if len(each.trials)
    ]
    return trials, 100 * np.nanmin(curves, axis=0), 100 * np.nanmax(curves, axis=0)


def tuning_panel(axes: Axes, tuning: Tuning, look: Look) -> None:
    axes.set_title(fold(tuning.method), color=look.color, fontsize=12, pad=5)
    if tuning.lower is not None and tuning.upper is not None:
        axes.fill_between(
            tuning.trials, 100 * tuning.lower, 100 * tuning.upper, color=look.color, alpha=0.14, linewidth=0
        )
    if tuning.lower is None:
        numbers, scores = zip(*tuning.scores, strict=True) if tuning.scores else ((), ())
        axes.plot(numbers, 100 * np.array(scores), ".", color=look.color, alpha=0.5, markersize=6)
    axes.plot(
        tuning.trials,
        100 * tuning.values,
        color=look.color,
        linestyle=look.dashes,
        marker=look.marker,
        markevery=max(1, len(tuning.trials) // 5),
    )
    if tuning.default is not None:
        axes.axhline(100 * tuning.default, color=TEXT, linewidth=1, linestyle=(0, (2, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def tuning_limits(tunings: list[Tuning]) -> tuple[float, float]:
    """Limits in percent from the curves and defaults; bands and poor trials may leave them."""
    values = [
        value
        for each in tunings
        for value in (*each.values, *([] if each.default is None else [each.default]))
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.25 * (high - low) or 0.02
    return 100 * max(0.0, low - pad), 100 * min(1.0, high + pad)

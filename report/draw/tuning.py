"""The figure of the tuning curves: the validation score against the number of trials."""

import math
from dataclasses import replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.comparison import MANY_METHODS
from report.analysis.numbers import percent
from report.analysis.statistics import TuningCurve, evenly
from report.analysis.tuning import TuningSummary
from report.draw.axes import WIDTH, fold, hide_beyond
from report.draw.drawing import Drawing
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, Picture, draw, mark
from report.read.records import Task

MANY_TRIALS = 100  # of one panel: further points and dots are not drawn


def tuning_drawing(task: Task, tunings: list[TuningSummary], looks: Looks) -> Drawing | None:
    """The tuning curves; None while there is no curve to draw."""
    if not any(len(each.curve.trials) for each in tunings):
        return None
    samplers = list(dict.fromkeys(each.cell.track or "random" for each in tunings))
    horizontal = " or ".join({"random": "random trials", "tpe": "trials so far"}[each] for each in samplers)
    name = f"tuning-{task.key}"
    winners = "; ".join(f"{each.method} {percent(each.winner)}" for each in tunings)
    return Drawing(
        name,
        tuning_figure(name, tunings, looks, horizontal),
        f"Tuning curves on {task.title}. Winners in percent: {winners}.",
        " ".join(tuning_caption(tunings, sampler) for sampler in samplers),
        "tuning.csv",
    )


def tuning_caption(tunings: list[TuningSummary], sampler: str) -> str:
    grey = "the range of all methods" if len(tunings) > MANY_METHODS else "the other methods"
    if sampler == "random":
        return (
            "Median best validation accuracy (%) of n random trials, with an 80 % band that holds for "
            "the whole curve. The bands assume independent draws from one fixed distribution; the published "
            "default (dotted line) was chosen, not drawn, and is no part of the curve. A band that leaves "
            f"the panel would need more trials to close. Grey: {grey}."
        )
    dots = f"{MANY_TRIALS} of the" if max(len(each.scores) for each in tunings) > MANY_TRIALS else "the"
    return (
        f"Best validation accuracy (%) so far, with {dots} trials as dots; poor ones lie below the panel. "
        f"Trials of the {sampler.upper()} sampler depend on each other, so there is no band. "
        f"Dotted line: the published default. Grey: {grey}."
    )


def tuning_figure(name: str, tunings: list[TuningSummary], looks: Looks, horizontal: str) -> Picture:
    """One panel per method on common axes: its curve, the published default, the other methods in grey."""
    drawn = [thinned(tuning) for tuning in tunings]
    whole_range = range_of([each.curve for each in drawn])
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
                    axes.plot(
                        other.curve.trials, 100 * other.curve.values, color=RULE, linewidth=1.2, zorder=1
                    )
            tuning_panel(axes, tuning, looks[tuning.method])
            mark(axes, tuning.method)
        hide_beyond(len(tunings), grid)
        grid.flat[0].set_ylim(*tuning_limits(tunings))
        figure.supxlabel(horizontal, fontsize=12, color=MUTED, y=6 / height)

    return draw(name, WIDTH, height, paint)


def thinned(tuning: TuningSummary) -> TuningSummary:
    """The same with no more points and dots than a panel can show."""
    curve = tuning.curve
    points, dots = evenly(len(curve.trials), MANY_TRIALS), evenly(len(tuning.scores), MANY_TRIALS)
    fewer = TuningCurve(
        trials=curve.trials[points],
        values=curve.values[points],
        lower=None if curve.lower is None else curve.lower[points],
        upper=None if curve.upper is None else curve.upper[points],
    )
    return replace(tuning, curve=fewer, scores=tuple(tuning.scores[dot] for dot in dots))


def range_of(curves: list[TuningCurve]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Trials, and at each the lowest and the highest of all curves that reach so far, in percent."""
    trials = max((each.trials for each in curves), key=lambda each: each.max(initial=0))
    values = [
        np.interp(trials, each.trials, each.values, left=np.nan, right=np.nan)
        for each in curves
        if len(each.trials)
    ]
    return trials, 100 * np.nanmin(values, axis=0), 100 * np.nanmax(values, axis=0)


def tuning_panel(axes: Axes, tuning: TuningSummary, look: Look) -> None:
    axes.set_title(fold(tuning.method), color=look.color, fontsize=12, pad=5)
    trials, values, lower, upper = tuning.curve
    if lower is not None and upper is not None:
        axes.fill_between(trials, 100 * lower, 100 * upper, color=look.color, alpha=0.14, linewidth=0)
    else:
        numbers, scores = zip(*tuning.scores, strict=True) if tuning.scores else ((), ())
        axes.plot(numbers, 100 * np.array(scores), ".", color=look.color, alpha=0.5, markersize=6)
    axes.plot(
        trials,
        100 * values,
        color=look.color,
        linestyle=look.dashes,
        marker=look.marker,
        markevery=max(1, len(trials) // 5),
    )
    if tuning.default is not None:
        axes.axhline(100 * tuning.default, color=TEXT, linewidth=1, linestyle=(0, (2, 2)))
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def tuning_limits(tunings: list[TuningSummary]) -> tuple[float, float]:
    """Limits in percent from the curves and defaults; bands and poor trials may leave them."""
    values = [
        value
        for each in tunings
        for value in (*each.curve.values, *([] if each.default is None else [each.default]))
    ]
    low, high = min(values, default=0.0), max(values, default=1.0)
    pad = 0.25 * (high - low) or 0.02
    return 100 * max(0.0, low - pad), 100 * min(1.0, high + pad)

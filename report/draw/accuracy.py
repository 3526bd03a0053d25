"""The figure of the test accuracies: mean, intervals and every run of each method."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.comparison import Comparison, Standing
from report.analysis.intervals import Interval
from report.analysis.numbers import spread
from report.analysis.readings import Kind
from report.draw.axes import WIDTH, fold, margin
from report.draw.drawing import Drawing
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, Picture, draw, marks

MANY_RUNS = 30  # beyond this their dots would run into one another
FENCE = 3.0  # interquartile ranges of the means below the first quartile: there the axis ends


def accuracy_drawing(comparison: Comparison, looks: Looks) -> Drawing:
    name = f"accuracy-{comparison.task.key}"
    means = "; ".join(
        f"{each.method} {spread(each.judged)}, {each.judged.reading.words}" for each in comparison.standings
    )
    return Drawing(
        name,
        accuracy_figure(name, comparison, looks),
        f"Test accuracy in percent on {comparison.task.title}: {means}.",
        accuracy_caption(comparison),
        "accuracy.csv, runs.csv",
    )


def accuracy_caption(comparison: Comparison) -> str:
    standings = comparison.standings
    many = max(len(each.scores) for each in standings) > MANY_RUNS
    runs = "all runs (thin line) and their middle half (thick line)" if many else "every run (dots)"
    if comparison.judgement.unit == "study":
        caption = (
            "Mean (large mark); 95 % t-intervals of tuning and training again, over studies (thin line with "
            "ends; the number at the right), and of training the same settings again, over seeds (thick "
            f"bar); {runs}, and the mean of each study (stroke)."
        )
    else:
        caption = f"Mean (large mark), 95 % t-interval of training again, over runs (thick bar), and {runs}."
    low, _ = accuracy_limits(standings)
    if any(each.judged.diverged or 100 * min(each.scores, default=1.0) < low for each in standings):
        caption += " ◂: runs to the left of the panel."
    return caption


def accuracy_figure(name: str, comparison: Comparison, looks: Looks) -> Picture:
    """A row for each method, with the numbers written at the right."""
    standings = comparison.standings
    height = 56 + 44 * len(standings)

    def paint(figure: Figure) -> None:
        left = margin([each.method for each in standings]) / WIDTH
        axes = figure.add_axes((left, 40 / height, 1 - left - 128 / WIDTH, 1 - 46 / height))
        low, high = accuracy_limits(standings)
        axes.set(xlim=(low, high), ylim=(len(standings) - 0.45, -0.55), xlabel="test top-1 accuracy, %")
        for row, standing in enumerate(standings):
            with marks(
                axes,
                standing.method,
                f"{standing.method}: {spread(standing.judged)}, {standing.judged.reading.words}",
            ):
                accuracy_row(axes, row, standing, looks[standing.method], low)
        axes.set_yticks(range(len(standings)), [fold(each.method) for each in standings])
        axes.tick_params(axis="y", length=0, labelcolor=TEXT)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")

    return draw(name, WIDTH, height, paint)


def accuracy_limits(standings: list[Standing]) -> tuple[float, float]:
    """Limits in percent that hold every interval, but let no outlier, erratic method or floor squeeze it."""
    aside = (Kind.CONTROL, Kind.ERRATIC)  # a method that varies far more than the others is an outlier
    competing = [each for each in standings if each.judged.reading.kind not in aside]
    rivals = [each for each in competing if each.scores] or [each for each in standings if each.scores]
    means = [each.judged.mean_without_diverged for each in rivals]
    first, third = np.quantile(means, [0.25, 0.75]) if means else (0.0, 0.0)
    fence = first - FENCE * (third - first) if len(means) > 3 else 0.0
    ends = [
        end
        for each in rivals
        if each.judged.mean_without_diverged >= fence
        for end in (*each.scores, *interval_ends(each))
    ]
    ends = ends or [0.0, 1.0]
    ends += [score for each in standings for score in each.scores if score > min(ends)]
    pad = 0.06 * (max(ends) - min(ends)) or 0.005
    return 100 * max(0.0, min(ends) - pad), 100 * min(1.0, max(ends) + pad)


def interval_ends(standing: Standing) -> list[float]:
    """Diverged runs widen an interval to nothing: it may leave the panel."""
    judged = standing.judged
    found = [each for each in (judged.procedure, judged.setting) if each and not judged.diverged]
    return [end for each in found for end in (each.low, each.high)]


def accuracy_row(axes: Axes, row: int, standing: Standing, look: Look, low: float) -> None:
    right = axes.get_yaxis_transform()
    axes.axhline(row, color=RULE, linewidth=0.6, zorder=0)
    judged = standing.judged
    if not judged.units:
        axes.text(1.04, row, "no score yet", transform=right, va="center", color=MUTED)
        return
    mean, scores = 100 * judged.mean, 100 * np.array(standing.scores)
    inside = scores[scores >= low]
    if len(inside) > MANY_RUNS:
        run_strip(axes, row + 0.2, inside, look)
    else:
        style = {"color": look.color, "markersize": 4, "alpha": 0.6, "markeredgewidth": 0}
        axes.plot(inside, np.full(len(inside), row + 0.2), "o", **style)
    for interval, width, ends in ((judged.setting, 3.6, ""), (judged.procedure, 1.2, "|")):
        if interval is not None:
            interval_line(axes, row, interval, look, width, ends)
    if judged.procedure is not None:
        studies = [100 * float(np.mean(unit)) for unit in standing.units if unit]
        axes.plot(
            studies, [row + 0.2] * len(studies), "|", color=look.color, markersize=9, markeredgewidth=1.2
        )
    axes.plot([mean], [row], look.marker, color=look.color, markersize=8)
    outside = len(scores) - len(inside) + judged.diverged
    if outside or mean < low:
        words = f"◂ {outside}{f' ({judged.diverged} diverged)' if judged.diverged else ''}"
        axes.text(0.015, row - 0.26, words, transform=right, va="center", color=TEXT, fontsize=10.5)
    axes.text(1.04, row - 0.17, spread(judged), transform=right, va="center", color=TEXT, weight="bold")
    short = judged.reading.short
    axes.text(1.04, row + 0.21, short, transform=right, va="center", color=MUTED, fontsize=10.5)


def interval_line(axes: Axes, row: int, interval: Interval, look: Look, width: float, ends: str) -> None:
    places = [100 * interval.low, 100 * interval.high]
    axes.plot(
        places,
        [row, row],
        color=look.color,
        linewidth=width,
        solid_capstyle="butt",
        marker=ends,
        markersize=8,
        markeredgewidth=1.2,
    )


def run_strip(axes: Axes, y: float, scores: np.ndarray, look: Look) -> None:
    """Many runs as a thin line from the lowest to the highest and a thick one over their middle half."""
    low, first, third, high = np.quantile(scores, [0, 0.25, 0.75, 1])
    axes.plot([low, high], [y, y], color=look.color, linewidth=1, alpha=0.6)
    axes.plot([first, third], [y, y], color=look.color, linewidth=4, alpha=0.6, solid_capstyle="butt")

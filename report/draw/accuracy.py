"""The figure of the test accuracies: mean, interval and every seed of each method."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.comparison import CONTROL, Comparison, Standing
from report.analysis.numbers import spread
from report.draw.axes import WIDTH, fold, margin
from report.draw.drawing import Drawing
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, Picture, draw, marks

MANY_SEEDS = 30  # beyond this their dots would run into one another


def accuracy_drawing(comparison: Comparison, looks: Looks) -> Drawing:
    name = f"accuracy-{comparison.task.key}"
    many = max(len(each.scores) for each in comparison.standings) > MANY_SEEDS
    seeds = "all seeds (thin line) and their middle half (thick line)" if many else "every seed (dots)"
    caption = f"Mean (large mark), 95 % t-interval of the mean (bar) and {seeds}."
    if any(each.diverged for each in comparison.standings):
        caption += " ◂: runs that diverged, far to the left of the panel."
    if any(each.mark == CONTROL for each in comparison.standings):
        caption += " A control may lie below the panel (◂)."
    means = "; ".join(f"{each.method} {spread(each)}, {each.mark}" for each in comparison.standings)
    return Drawing(
        name,
        accuracy_figure(name, comparison, looks),
        f"Test accuracy in percent on {comparison.task.title}: {means}.",
        caption,
        "accuracy.csv, runs.csv",
    )


def accuracy_figure(name: str, comparison: Comparison, looks: Looks) -> Picture:
    """Mean, 95 % t-interval and every seed of each method, with the numbers written at the right."""
    standings = comparison.standings
    height = 56 + 44 * len(standings)

    def paint(figure: Figure) -> None:
        left = margin([each.method for each in standings]) / WIDTH
        axes = figure.add_axes((left, 40 / height, 1 - left - 128 / WIDTH, 1 - 46 / height))
        low, high = accuracy_limits(standings)
        axes.set(xlim=(low, high), ylim=(len(standings) - 0.45, -0.55), xlabel="test top-1 accuracy, %")
        for row, standing in enumerate(standings):
            with marks(axes, standing.method, f"{standing.method}: {spread(standing)}, {standing.mark}"):
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

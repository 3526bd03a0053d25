"""The figures over many tasks: mean ranks with the critical difference, and performance profiles."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from report.analysis.across_tasks import AcrossTasks
from report.draw.axes import WIDTH, margin
from report.draw.drawing import Drawing
from report.draw.styles import Looks
from report.draw.svg import MUTED, RULE, TEXT, draw

MOST = 4.0  # times the error of the best: here the profiles end


def rank_drawing(found: AcrossTasks, looks: Looks) -> Drawing:
    """A row for each method, and for each a bar as long as the critical difference."""
    methods = list(found.mean_ranks)
    height = 60 + 24 * len(methods)

    def paint(figure: Figure) -> None:
        left = margin(methods, whole=True) / WIDTH
        axes = figure.add_axes((left, 44 / height, 1 - left - 64 / WIDTH, 1 - 50 / height))
        best = found.mean_ranks[methods[0]]
        axes.axvspan(best, best + found.critical_difference, color=RULE, alpha=0.5, linewidth=0)
        for row, method in enumerate(methods):
            rank, look = found.mean_ranks[method], looks[method]
            axes.plot([rank], [row], look.marker, color=look.color, markersize=8, clip_on=False)
            axes.text(1.04, row, f"{rank:.2f}", transform=axes.get_yaxis_transform(), va="center", color=TEXT)
        axes.set(xlim=(1, len(methods)), ylim=(len(methods) - 0.5, -0.5), xlabel="mean rank")
        axes.set_yticks(range(len(methods)), methods)
        axes.tick_params(axis="y", length=0, labelcolor=TEXT)
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.grid(False, axis="y")

    ranks = "; ".join(f"{method} {rank:.2f}" for method, rank in found.mean_ranks.items())
    return Drawing(
        "ranks",
        draw("ranks", WIDTH, height, paint),
        f"Mean ranks over {found.tasks} tasks: {ranks}.",
        f"Mean rank over {found.tasks} tasks. Grey: up to the critical difference of "
        f"{found.critical_difference:.2f} behind the lowest; a method in it is not separated from that one.",
        "accuracy.csv",
    )


def profile_drawing(found: AcrossTasks, looks: Looks) -> Drawing:
    """The share of tasks on which a method's error is at most so many times the best one."""

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((0.12, 0.17, 0.85, 0.78))
        ratios = np.linspace(1, MOST, 200)
        for method, look in ((method, looks[method]) for method in found.mean_ranks):
            shares = [100 * found.profile(method, ratio) for ratio in ratios]
            axes.plot(
                ratios,
                shares,
                color=look.color,
                linestyle=look.dashes,
                marker=look.marker,
                markevery=40,
                drawstyle="steps-post",
            )
        axes.set(
            xlim=(1, MOST), ylim=(0, 102), xlabel="error, times that of the best method", ylabel="% of tasks"
        )
        axes.yaxis.label.set_color(MUTED)

    return Drawing(
        "profiles",
        draw("profiles", WIDTH, 300, paint),
        f"Performance profiles over {found.tasks} tasks.",
        "Performance profiles: on how many of the tasks the error of a method is at most so many times that "
        "of the best method of the task. Higher is better. Lines and marks as in the list of methods.",
        "accuracy.csv",
    )

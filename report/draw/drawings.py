"""The figures with the words that go with them: caption, data file, and a description for who cannot see."""

from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from report.analysis.comparison import CONTROL, MANY_METHODS, Comparison
from report.analysis.numbers import percent, spread
from report.analysis.tuning import Tuning
from report.draw import figures
from report.draw.styles import Looks
from report.draw.tuning import MANY_TRIALS, tuning_figure
from report.read.experiment import Task


@dataclass(frozen=True)
class Drawing:
    name: str
    svg: str
    label: str  # what a reader who cannot see it should hear
    caption: str
    data: str  # the CSV files that hold its numbers

    @property
    def size(self) -> tuple[str, str]:
        """Width and height in CSS pixels."""
        _, _, width, height = self.svg.split('viewBox="', 1)[1].split('"', 1)[0].split()
        return width, height


@dataclass(frozen=True)
class Curve:
    """A column of curves.csv that is drawn against the epoch."""

    kind: str
    column: str
    title: str
    caption: str
    options: dict[str, Any] = field(default_factory=dict)  # of figures.curve_figure


BAND = "Mean over the finished seeds; the band runs from the lowest to the highest seed."
LEARNING = (
    Curve(
        "validation",
        "val_top1",
        "validation top-1 accuracy, %",
        f"{BAND} The first epochs may lie below the panel.",
        dict(scale=100.0, late=True),
    ),
    Curve("loss", "train_loss", "training loss, nats (log scale)", BAND, dict(log=True)),
)
FLIPS = (
    Curve(
        "flips",
        "flip_rate",
        "flips per weight and step",
        "Sign changes of the effective binary weights, per weight and step, averaged over each epoch. "
        "Epochs without a flip have no place on a log axis and are left out.",
        dict(log=True),
    ),
    Curve(
        "undone",
        "undone_share_10",
        "flips undone within 10 steps, %",
        "Share of an epoch's flips that reverse a flip of the same weight at most 10 steps earlier.",
        dict(scale=100.0),
    ),
    Curve(
        "pi",
        "pi",
        "π of the last binary layer",
        "The paper's π (Eq. 7): ln(flipped share + e⁻⁹) of the last binary layer at each step, averaged "
        "over the epoch. The dotted line at \u22129 is a step without a flip.",
        dict(floor=-9.0),
    ),
)


def accuracy_drawing(comparison: Comparison, looks: Looks) -> Drawing:
    name = f"accuracy-{comparison.task.key}"
    many = max(len(each.scores) for each in comparison.standings) > figures.MANY_SEEDS
    seeds = "all seeds (thin line) and their middle half (thick line)" if many else "every seed (dots)"
    caption = f"Mean (large mark), 95 % t-interval of the mean (bar) and {seeds}."
    if any(each.diverged for each in comparison.standings):
        caption += " ◂: runs that diverged, far to the left of the panel."
    if any(each.mark == CONTROL for each in comparison.standings):
        caption += " A control may lie below the panel (◂)."
    means = "; ".join(f"{each.method} {spread(each)}, {each.mark}" for each in comparison.standings)
    return Drawing(
        name,
        figures.accuracy_figure(name, comparison, looks),
        f"Test accuracy in percent on {comparison.task.title}: {means}.",
        caption,
        "accuracy.csv, runs.csv",
    )


def curve_drawing(curve: Curve, task: Task, curves: pd.DataFrame, looks: Looks) -> Drawing:
    name = f"{curve.kind}-{task.key}"
    last = curves[curves["epoch"] == curves["epoch"].max()].groupby("method", sort=False)[curve.column].mean()
    scale = curve.options.get("scale", 1.0)
    ends = "; ".join(f"{method} {scale * value:.4g}" for method, value in last.items())
    many = curves["method"].nunique() > MANY_METHODS
    figure = figures.curve_panels if many else figures.curve_figure
    return Drawing(
        name,
        figure(name, curves, curve.column, curve.title, looks, **curve.options),
        f"{curve.title} against the epoch on {task.title}. At the last epoch: {ends}.",
        f"{curve.caption} Grey: the range of all methods' means." if many else curve.caption,
        "curves.csv",
    )


def layers_drawing(task: Task, layers: pd.DataFrame, looks: Looks) -> Drawing:
    name = f"layers-{task.key}"
    panels = layers["layer"].nunique()
    if layers["method"].nunique() > MANY_METHODS:
        return Drawing(
            name,
            figures.layers_map(name, layers, looks),
            f"Flips per weight and step of every method in every binary layer on {task.title}.",
            "Log10 of the flips per weight and step, mean over the whole training and all seeds, for every "
            "binary layer. A dash: no flip at all.",
            "flips.csv",
        )
    return Drawing(
        name,
        figures.layers_figure(name, layers, looks),
        f"Flips per weight and step in every binary layer on {task.title}, {panels} panels.",
        "Flips per weight and step, layer by layer, on common axes.",
        "flips.csv",
    )


def tuning_drawing(task: Task, tunings: list[Tuning], looks: Looks, sampler: str) -> Drawing | None:
    """The tuning curves; None while there is no curve to draw."""
    if not any(len(each.trials) for each in tunings):
        return None
    name = f"tuning-{task.key}"
    winners = "; ".join(f"{each.method} {percent(each.winner)}" for each in tunings)
    return Drawing(
        name,
        tuning_figure(name, tunings, looks, "random trials" if sampler == "random" else "trials so far"),
        f"Tuning curves on {task.title}. Winners in percent: {winners}.",
        tuning_caption(tunings, sampler),
        "tuning.csv",
    )


def tuning_caption(tunings: list[Tuning], sampler: str) -> str:
    grey = "the range of all methods" if len(tunings) > MANY_METHODS else "the other methods"
    if sampler == "random":
        return (
            "Median best validation accuracy (%) of n random trials, with an 80 % band that holds for "
            "the whole curve. The bands assume independent draws from one fixed distribution; the published "
            "default (dotted line) was chosen, not drawn, and is no part of the curve. A band that leaves "
            f"the panel is one that so few trials cannot close. Grey: {grey}."
        )
    dots = f"{MANY_TRIALS} of the" if max(len(each.scores) for each in tunings) > MANY_TRIALS else "the"
    return (
        f"Best validation accuracy (%) so far, with {dots} trials as dots; poor ones lie below the panel. "
        f"Trials of the {sampler.upper()} sampler depend on each other, so that no band can be given. "
        f"Dotted line: the published default. Grey: {grey}."
    )

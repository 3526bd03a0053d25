"""One figure for each method: the score of every random draw against each of its hyperparameters."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from report.analysis.comparison import MANY_METHODS
from report.analysis.numbers import percent
from report.analysis.search import word
from report.analysis.study import MethodStudy, TaskStudy
from report.draw.axes import WIDTH, hide_beyond, scientific
from report.draw.drawing import Drawing
from report.draw.styles import Look, Looks
from report.draw.svg import MUTED, RULE, TEXT, draw, mark
from suite.records.schema import Range
from suite.records.trial import HyperSetting

ACROSS = 3  # panels
BELOW = 4.0  # times from the best to the median draw: what scores less is drawn at the lower edge
SPREAD = 0.3  # of a word's draws around it
ROOM = 20  # letters below a panel


def slice_drawings(study: TaskStudy, looks: Looks) -> list[Drawing]:
    """A figure for each row with enough random draws, where there are few rows."""
    rows = [row for row in study.competing if row.effects]
    return [slices(study, row, looks[row.method]) for row in rows] if len(rows) <= MANY_METHODS else []


def slices(study: TaskStudy, row: MethodStudy, look: Look) -> Drawing:
    place = [each.method for each in study.methods].index(row.method)
    name = f"slices-{study.task.key}-{place}"
    hypers = [effect.name for effect in row.effects]
    down = math.ceil(len(hypers) / ACROSS)
    height = 40 + 128 * down
    low, high = limits(row.search.scores)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(down, ACROSS, sharey=True, squeeze=False)
        figure.subplots_adjust(0.115, 40 / height, 0.985, 1 - 24 / height, wspace=0.16, hspace=0.72)
        for axes, hyper in zip(grid.flat, hypers, strict=False):
            panel(axes, row, hyper, look, low)
            axes.set_title(hyper, fontsize=11, pad=3)
            axes.set_ylim(100 * low, 100 * high)
            axes.yaxis.set_major_locator(MaxNLocator(4))
        hide_beyond(len(hypers), grid)
        figure.supylabel("validation accuracy, %", fontsize=11.5, color=MUTED, x=0.008)

    strongest = ", ".join(f"{each.name} {100 * each.explained:.0f} %" for each in row.effects[:3])
    return Drawing(
        name,
        draw(name, WIDTH, height, paint),
        f"Validation accuracy of {len(row.search.scores)} random draws of {row.method} against each "
        f"hyperparameter. Each explains alone: {strongest}.",
        f"{row.method}: every random draw against each hyperparameter, the one that explains most first. "
        "Ringed: winners of studies. Dashed: the published default, with a diamond at its value. "
        f"Triangles: draws below {percent(low, 1)} %.",
        "runs.csv",
        numbers=pd.DataFrame([{**values, "validation": score} for values, score in drawn(row)]),
    )


def drawn(row: MethodStudy) -> list[tuple[dict[str, HyperSetting], float]]:
    return [
        ({name: values[name] for name in row.search.ranges}, score)
        for values, score in zip(row.search.values, row.search.scores, strict=True)
    ]


def limits(scores: Sequence[float]) -> tuple[float, float]:
    """Of the axis: draws that are far below the median would squeeze all others."""
    best, median, worst = max(scores), float(np.median(scores)), min(scores)
    low = max(worst, best - BELOW * (best - median))
    pad = 0.06 * (best - low) or 0.01
    return max(0.0, low - pad), min(1.0, best + pad)


def panel(axes: Axes, row: MethodStudy, hyper: str, look: Look, low: float) -> None:
    range_ = row.search.ranges[hyper]
    values = [settings[hyper] for settings in row.search.values]
    places = horizontal(range_, values)
    scores = np.asarray(row.search.scores)
    inside = scores >= low
    won = {(winner.hypers.get(hyper), winner.value) for winner in row.cell.winners.values() if winner.number}
    ringed = np.array([pair in won for pair in zip(values, row.search.scores, strict=True)])
    axes.plot(places[inside], 100 * scores[inside], "o", color=look.color, markersize=3.4, alpha=0.75)
    axes.plot(
        places[~inside], np.full((~inside).sum(), 100 * low), "v", color=look.color, markersize=4, alpha=0.75
    )
    axes.plot(
        places[ringed], 100 * scores[ringed], "o", color=TEXT, markersize=7.5, fillstyle="none", linewidth=1
    )
    if not math.isnan(row.default_validation):
        default = 100 * row.default_validation
        axes.axhline(default, color=MUTED, linewidth=1, linestyle=(0, (4, 2)), zorder=1)
        axes.plot(horizontal(range_, [default_value(row, hyper)]), [default], "D", color=TEXT, markersize=4.5)
    set_horizontal(axes, range_)
    mark(axes, row.method)


def default_value(row: MethodStudy, hyper: str) -> HyperSetting:
    """What the published default sets, before any decay."""
    entries = [each for study in row.cell.ledger.studies for each in study.tuning if each.number == 0]
    return entries[0].hypers.get(hyper) if entries else None


def horizontal(range_: Range, values: Sequence[HyperSetting]) -> np.ndarray:
    """Where values are drawn; NaN where one has no place. Draws of one word lie next to each other."""
    if range_.kind != "choice":
        known = [isinstance(value, int | float) and not isinstance(value, bool) for value in values]
        found = np.array(
            [float(value) if ok else math.nan for value, ok in zip(values, known, strict=True)]  # type: ignore[arg-type]
        )
        return np.where(found > 0, found, math.nan) if range_.kind == "log" else found
    words = [word(value) for value in range_.values]
    counts = dict.fromkeys(words, 0)
    total = {each: [word(value) for value in values].count(each) for each in words}
    places = []
    for each in map(word, values):
        if each not in counts:
            places.append(math.nan)
            continue
        share = (counts[each] + 0.5) / total[each] - 0.5
        places.append(words.index(each) + 2 * SPREAD * share)
        counts[each] += 1
    return np.array(places)


def short(value: HyperSetting) -> str:
    """A word of a choice; a number as it stands on an axis."""
    if isinstance(value, float) and 0 < value < 0.1:
        return scientific(value)
    return word(value)


def labels(words: list[str]) -> list[str]:
    """Words side by side: where they are long every second one stands lower, and very long ones are cut."""
    room = ROOM // max(1, len(words))
    if max(map(len, words)) <= room:
        return words
    cut = [each if len(each) <= 2 * room else f"{each[: 2 * room - 1]}…" for each in words]
    return [f"\n{each}" if at % 2 else each for at, each in enumerate(cut)]


def set_horizontal(axes: Axes, range_: Range) -> None:
    axes.grid(visible=False, axis="x")
    axes.tick_params(axis="x", labelsize=9.5, color=RULE)
    if range_.kind == "choice":
        axes.set_xlim(-0.6, len(range_.values) - 0.4)
        axes.xaxis.set_major_locator(FixedLocator(range(len(range_.values))))
        axes.set_xticklabels(labels([short(value) for value in range_.values]))
        return
    low, high = map(float, range_.values)  # type: ignore[arg-type]
    if range_.kind == "log":
        axes.set_xscale("log")
        axes.set_xlim(low / (high / low) ** 0.04, high * (high / low) ** 0.04)
        decades = np.arange(math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9) + 1)
        step = max(1, math.ceil(len(decades) / 3))
        axes.xaxis.set_major_locator(FixedLocator([10.0**each for each in decades[::step]]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: scientific(value)))
    else:
        pad = 0.04 * (high - low) or 0.5
        axes.set_xlim(low - pad, high + pad)
        axes.xaxis.set_major_locator(MaxNLocator(3, integer=range_.kind == "integer"))

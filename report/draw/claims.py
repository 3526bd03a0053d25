"""The figures of a claim: estimates and their margins, arms in order, runs that are equal or not, counts."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator
from matplotlib.transforms import Transform

from report.analysis.claims.decide import Outcome
from report.analysis.intervals import Interval
from report.draw.axes import LETTER, WIDTH, margin
from report.draw.styles import MARKERS
from report.draw.svg import MUTED, RULE, SERIES, TEXT, Picture, draw

LETTERS = int((WIDTH - 14) / LETTER)  # of a line of text as wide as the figure
LINE = 16  # pixels of a line of text
COLORS: dict[Outcome, str] = {"supported": SERIES[2], "refuted": SERIES[1], "undecided": MUTED}
SHAPES: dict[Outcome, str] = {"supported": "o", "refuted": "X", "undecided": "D"}
EQUAL, DIFFERENT = SERIES[0], SERIES[1]
FAR = 30.0  # the ratio of means from which on a linear axis hides the small ones
SUPPORT = 0.13  # opacity of the zone that supports


@dataclass(frozen=True)
class Against:
    """An estimate next to the zone in which it supports; an end of the zone may be infinite."""

    label: str
    value: float
    interval: Interval
    outcome: Outcome
    zones: tuple[tuple[float, float], ...]
    words: str


@dataclass(frozen=True)
class Level:
    """The mean of an arm with its interval, or a share."""

    label: str
    value: float
    interval: Interval | None
    words: str


@dataclass(frozen=True)
class Pairs:
    """Two arms run by run: whether each seed gives the same network."""

    label: str
    equal: tuple[bool, ...]
    words: str


@dataclass(frozen=True)
class Counted:
    """The values that the runs of an arm have, next to the one that is claimed."""

    label: str
    values: tuple[float, ...]
    claimed: float


def against_margins(name: str, rows: Sequence[Against], axis: str) -> Picture:
    """A row for each estimate: its label, its interval, and shaded what supports it."""
    labels = [textwrap.wrap(row.label, LETTERS) for row in rows]
    tops, height = stacked([LINE * len(lines) + 34 for lines in labels])

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((14 / WIDTH, 40 / height, 1 - 142 / WIDTH, 1 - 44 / height))
        low, high = limits(
            [*(row.value for row in rows), 0.0]
            + [end for row in rows for end in (row.interval.low, row.interval.high)]
            + [end for row in rows for zone in row.zones for end in zone]
        )
        axes.set(xlim=(low, high), ylim=(height - 44, 0), xlabel=axis)
        for row, lines, top in zip(rows, labels, tops, strict=True):
            y = top + LINE * len(lines) + 14
            color = COLORS[row.outcome]
            axes.plot([0, 0], [y - 12, y + 12], color=MUTED, linewidth=0.8)
            for start, end in row.zones:
                start, end = max(start, low), min(end, high)
                zone = Rectangle((start, y - 9), end - start, 18, color=SERIES[2], alpha=SUPPORT, linewidth=0)
                axes.add_patch(zone)
            interval_line(axes, y, row.interval, color, low, high)
            axes.plot([row.value], [y], SHAPES[row.outcome], color=color, markersize=8, clip_on=True)
            axes.text(
                0, top + 1, "\n".join(lines), transform=across(axes), va="top", color=TEXT, linespacing=1.15
            )
            axes.text(1.03, y, row.words, transform=across(axes), va="center", color=TEXT, fontsize=11)
        bare(axes)
        axes.set_yticks([])
        axes.grid(False)

    return draw(name, WIDTH, height, paint)


def in_order(name: str, rows: Sequence[Level], axis: str, joined: bool) -> Picture:
    """A row for each arm, from the first to the last; `joined` by a line through the means.

    Positive means that lie far apart are on a logarithmic axis.
    """
    height = 50 + 27 * len(rows)

    def paint(figure: Figure) -> None:
        left = margin([row.label for row in rows], whole=True) / WIDTH
        axes = figure.add_axes((left, 40 / height, 1 - left - 92 / WIDTH, 1 - 46 / height))
        known = [row for row in rows if math.isfinite(row.value)]
        means = [row.value for row in known]
        ends = [end for row in known if row.interval for end in (row.interval.low, row.interval.high)]
        far = far_apart(means)
        low, high = (min(means) / 1.6, max(means) * 1.6) if far else limits([*means, *ends])
        if far:
            axes.set_xscale("log")
        axes.set(xlim=(low, high), ylim=(len(rows) - 0.5, -0.5), xlabel=axis)
        if joined:
            places = [n for n, row in enumerate(rows) if math.isfinite(row.value)]
            axes.plot([row.value for row in known], places, color=SERIES[0], linewidth=0.9, alpha=0.6)
        for y, row in enumerate(rows):
            if row.interval is not None:
                interval_line(axes, y, row.interval, SERIES[0], low, high)
            if math.isfinite(row.value):
                axes.plot([row.value], [y], MARKERS[0], color=SERIES[0], markersize=7)
            axes.text(1.03, y, row.words, transform=across(axes), va="center", color=TEXT, fontsize=11)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        bare(axes)
        if far:
            axes.xaxis.set_major_locator(LogLocator(numticks=6))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.xaxis.set_minor_locator(NullLocator())

    return draw(name, WIDTH, height, paint)


def far_apart(means: Sequence[float]) -> bool:
    """Whether positive means need a logarithmic axis."""
    return bool(means) and min(means) > 0 and max(means) > FAR * min(means)


def seed_by_seed(name: str, rows: Sequence[Pairs]) -> Picture:
    """A row for each pair of arms, a mark for each seed: a dot for equal networks, else a cross."""
    texts = [(textwrap.wrap(row.label, LETTERS), textwrap.wrap(row.words, LETTERS)) for row in rows]
    tops, height = stacked([LINE * (len(label) + len(words)) + 24 for label, words in texts], below=6)

    def paint(figure: Figure) -> None:
        axes = figure.add_axes((14 / WIDTH, 6 / height, 1 - 28 / WIDTH, 1 - 10 / height))
        axes.set(xlim=(0, WIDTH - 28), ylim=(height - 10, 0))
        for row, (label, words), top in zip(rows, texts, tops, strict=True):
            y = top + LINE * len(label) + 9
            axes.text(0, top + 1, "\n".join(label), va="top", color=TEXT, linespacing=1.15)
            gap = min(16.0, (WIDTH - 40) / max(1, len(row.equal)))
            for seed, equal in enumerate(row.equal):
                shape, color = ("o", EQUAL) if equal else ("X", DIFFERENT)
                axes.plot([6 + gap * seed], [y], shape, color=color, markersize=min(7.0, 0.8 * gap))
            axes.text(0, y + 8, "\n".join(words), va="top", color=MUTED, fontsize=11, linespacing=1.15)
        axes.axis("off")

    return draw(name, WIDTH, height, paint)


def counts(name: str, rows: Sequence[Counted], axis: str) -> Picture:
    """A row for each arm: a ring where the claim has its value, a dot for each value that runs have."""
    height = 50 + 27 * len(rows)

    def paint(figure: Figure) -> None:
        left = margin([row.label for row in rows], whole=True) / WIDTH
        axes = figure.add_axes((left, 40 / height, 1 - left - 122 / WIDTH, 1 - 46 / height))
        _, high = limits([0.0, *(value for row in rows for value in (*row.values, row.claimed))])
        axes.set(xlim=(0, high), ylim=(len(rows) - 0.5, -0.5), xlabel=axis)
        for y, row in enumerate(rows):
            axes.axhline(y, color=RULE, linewidth=0.6, zorder=0)
            axes.plot([row.claimed], [y], "o", color=MUTED, markersize=13, fillstyle="none")
            axes.plot(row.values, [y] * len(row.values), "o", color=SERIES[0], markersize=7)
            found = " or ".join(f"{value:.4g}" for value in row.values)
            words = f"{found}, claimed {row.claimed:g}"
            axes.text(1.03, y, words, transform=across(axes), va="center", color=TEXT, fontsize=11)
        axes.set_yticks(range(len(rows)), [row.label for row in rows])
        bare(axes, integer=all(row.claimed == round(row.claimed) for row in rows))

    return draw(name, WIDTH, height, paint)


def stacked(heights: Sequence[float], below: float = 44) -> tuple[list[float], float]:
    """The top of each row, and the height of the whole figure."""
    tops, top = [], 0.0
    for height in heights:
        tops.append(top)
        top += height
    return tops, top + below


def limits(values: Sequence[float]) -> tuple[float, float]:
    """An axis that holds all finite values."""
    known = [value for value in values if math.isfinite(value)]
    if not known:
        return 0.0, 1.0
    pad = 0.06 * (max(known) - min(known)) or 0.05 * abs(known[0]) or 1.0
    return min(known) - pad, max(known) + pad


def interval_line(axes: Axes, y: float, interval: Interval, color: str, low: float, high: float) -> None:
    """Within the axis; ends only where they are inside."""
    ends = [max(interval.low, low), min(interval.high, high)]
    axes.plot(ends, [y, y], color=color, linewidth=1.6, marker="|", markersize=9, markeredgewidth=1.4)


def across(axes: Axes) -> Transform:
    """x in parts of the panel, y as on its axis."""
    return axes.get_yaxis_transform()


def bare(axes: Axes, integer: bool = False) -> None:
    axes.tick_params(axis="y", length=0, labelcolor=TEXT)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=integer))
    axes.spines["left"].set_visible(False)
    axes.grid(False, axis="y")

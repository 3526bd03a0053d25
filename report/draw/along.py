"""Means of arms along a hyperparameter, one line for each of several such rows of arms."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from report.analysis.intervals import Interval
from report.analysis.numbers import hyper
from report.draw.axes import WIDTH, label_ends, log_axis, margin
from report.draw.claims import far_apart
from report.draw.styles import look
from report.draw.svg import Picture, draw


@dataclass(frozen=True)
class Along:
    """The means of a line's arms with their intervals, and where each stands; NaN for an arm without one."""

    label: str
    at: tuple[float, ...]
    means: tuple[float, ...]
    intervals: tuple[Interval | None, ...]

    @property
    def end(self) -> float:
        """The last mean; NaN without any."""
        known = [(at, mean) for at, mean in zip(self.at, self.means, strict=True) if math.isfinite(mean)]
        return max(known)[1] if known else math.nan


def along(name: str, lines: Sequence[Along], setting: str, title: str) -> Picture:
    """Values of the setting are steps of equal size, so that zero has a place beside powers of ten."""
    steps = {value: step for step, value in enumerate(sorted({at for line in lines for at in line.at}))}
    looks = {line.label: look(n, n) for n, line in enumerate(lines)}
    known = [mean for line in lines for mean in line.means if math.isfinite(mean)]
    tall = max(200, 18 * len(lines) + 12)
    height = tall + 78

    def paint(figure: Figure) -> None:
        right = 22 + margin([*looks])
        axes = figure.add_axes((52 / WIDTH, 44 / height, 1 - (52 + right) / WIDTH, tall / height))
        axes.set_title(title, pad=9)
        axes.set_xlabel(setting)
        for line in lines:
            style = looks[line.label]
            x = [steps[value] for value in line.at]
            axes.plot(x, line.means, color=style.color, linestyle=style.dashes, marker=style.marker)
            for place, interval in zip(x, line.intervals, strict=True):
                if interval is not None:
                    axes.plot([place, place], [interval.low, interval.high], color=style.color, linewidth=1.0)
        axes.set_xlim(-0.15, len(steps) - 0.85)
        axes.xaxis.set_major_locator(FixedLocator(list(steps.values())))
        axes.set_xticklabels([hyper(value) for value in steps])
        if far_apart(known):
            log_axis(axes)
        label_ends(axes, [(line.label, line.end) for line in lines if math.isfinite(line.end)], looks)

    return draw(name, WIDTH, height, paint)

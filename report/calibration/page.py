"""The page of the calibration: what was asked, what was found, and a picture."""

import csv
import io
import math
from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from report.calibration.checks import ALONE, FALSE_WORSE, POWER, POWER_AHEAD, SPREAD, Check, failing
from report.draw.svg import MUTED, SERIES, draw, standalone

INTRODUCTION = """# Calibration of the comparison

How often the statements of the report are right, where the truth is known. `make calibrate` simulates tasks
and judges them with the code that judges real ones; the same version gives the same bytes. A case is a
simulated task, or an interval of one. Seeds are fixed, a share may miss its bound by two Monte-Carlo
standard errors.

* **One method under k names** must hardly ever be read as "worse" than itself: in at most 5 % of the tasks
  if all methods have the same spread (0.3 points between units), in at most 8 % if their standard
  deviations differ by the factor e^({spread} z). The set that may contain the best loses a true best in at
  most as many.
* **Another test set**: equal methods that fail on different images, scored on 1,000 random ones.
* **Intervals** cover their own target: the mean of the tuning procedure, or of the settings that were
  found.
* **Power**: a comparison that cannot see is as faulty as one that cries wolf. One method lies behind equal
  others, or one lies ahead of all others; a unit has a standard deviation of 0.3 points.
* **Equality** within 0.3 points must not be read where methods are 0.3 points apart, and needs many units
  where they are equal.
* **The detectable difference** that `plan` promises is shown in 80 % of the cases.

Skewed: a gamma distribution with skewness 1, its tail towards low accuracies. Rows without a bound are only
shown.

![false alarms and power](calibration.svg)
"""
COLUMNS = ("case", "methods", "units", "true gap", "share, %", "cases", "asked", "")


def markdown(found: Sequence[Check]) -> str:
    missed = failing(found)
    bounded = sum(each.bound is not None for each in found)
    parts = [
        INTRODUCTION.format(spread=SPREAD),
        f"**{len(missed)} of {bounded} bounds are missed.**"
        if missed
        else f"**All {bounded} bounds are kept.**",
    ]
    for what in dict.fromkeys(each.what for each in found):
        rows = [row(each) for each in found if each.what == what]
        lines = [COLUMNS, ("---", *["---:"] * 5, "---", "---"), *rows]
        parts.append(f"## {what[0].upper()}{what[1:]}")
        parts.append("\n".join(f"| {' | '.join(line)} |" for line in lines))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def row(check: Check) -> tuple[str, ...]:
    asked = ""
    if check.bound is not None:
        asked = f"{check.side} {100 * check.bound:.0f} ± {100 * check.tolerance:.1f}"
    return (
        check.case,
        str(check.methods),
        str(check.units),
        "" if math.isnan(check.gap) else f"{check.gap:.2f}",
        f"{100 * check.share:.1f}",
        f"{check.cases:,}",
        asked,
        "" if check.holds else "**missed**",
    )


def table(found: Sequence[Check]) -> str:
    """The numbers as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["what", "case", "methods", "units", "gap_points", "hits", "cases", "side", "bound", "holds"]
    )
    for each in found:
        gap = "" if math.isnan(each.gap) else f"{each.gap:.4g}"
        bound = ("", "") if each.bound is None else (each.side, each.bound)
        numbers = (each.methods, each.units, gap, each.hits, each.cases)
        writer.writerow([each.what, each.case, *numbers, *bound, each.holds])
    return text.getvalue()


def picture(found: Sequence[Check]) -> str:
    """False alarms by the number of methods, and power by the true difference, as an SVG file."""

    def paint(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        left, right = figure.subplots(1, 2)
        paint_alarms(left, [each for each in found if each.what == FALSE_WORSE])
        paint_power(right, [each for each in found if each.units == 5 and each.case == ALONE])

    return standalone(draw("calibration", 860, 380, paint).svg)


def paint_alarms(axes: Axes, alarms: Sequence[Check]) -> None:
    cases = list(dict.fromkeys(each.case for each in alarms))
    counts = sorted({each.methods for each in alarms})
    units = sorted({each.units for each in alarms})
    for n, case in enumerate(cases):
        for m, of_units in enumerate(units):
            chosen = {e.methods: 100 * e.share for e in alarms if e.case == case and e.units == of_units}
            places = [counts.index(k) + 0.22 * (n - (len(cases) - 1) / 2) for k in chosen]
            label = case if m == 0 else None
            style = "osD^"[m % 4]
            axes.plot(places, list(chosen.values()), style, color=SERIES[n], label=label, alpha=0.85)
    for bound in (5, 8):
        axes.axhline(bound, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
    axes.set_xticks(range(len(counts)), [str(k) for k in counts])
    marks = ", ".join(f"{mark} {n}" for mark, n in zip("●■◆▲", units, strict=False))
    axes.set(title="One method under k names", xlabel=f"methods k ({marks} units)", ylim=(0, 12))
    axes.set_ylabel("tasks with a false “worse”, %")
    axes.legend(loc="upper right")


def paint_power(axes: Axes, found: Sequence[Check]) -> None:
    colour = 0
    for what, dashes, name in ((POWER, "-", "one behind"), (POWER_AHEAD, (0, (5, 1.6)), "one ahead")):
        for methods in sorted({each.methods for each in found if each.what == what}):
            line = sorted((e.gap, 100 * e.share) for e in found if e.what == what and e.methods == methods)
            gaps, shares = zip(*line, strict=True)
            axes.plot(
                gaps,
                shares,
                color=SERIES[colour],
                marker="os^D"[colour],
                linestyle=dashes,
                label=f"{name} of {methods}",
            )
            colour += 1
    axes.axhline(95, color=MUTED, linewidth=1, linestyle=(0, (4, 2)))
    axes.set(title="Power, 5 units, sd 0.3 points", xlabel="true difference, points", ylim=(0, 102))
    axes.set_ylabel("read as worse, %")
    axes.legend(loc="lower right")

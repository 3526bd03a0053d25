"""How the report writes numbers. A number that does not exist is a dash, never a zero."""

import math
import sys
from collections.abc import Sequence
from typing import Any

from report.analysis.intervals import Interval
from report.analysis.judgement import MethodJudgement
from report.analysis.readings import number, signed
from suite.records.schedules import as_json
from suite.records.trial import HyperSetting

NONE = "—"
SAME_EVERYWHERE = "%.10g"  # machines compute the last digits of a number differently


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.9234 as 92.34."""
    return NONE if fraction is None or math.isnan(fraction) else f"{100 * fraction:.{digits}f}"


def points(fraction: float | None) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    return NONE if fraction is None or math.isnan(fraction) else signed(fraction)


def spread(judged: MethodJudgement) -> str:
    """Mean and interval of a method: `92.34 ± 0.41`, or the mean alone if there is one unit."""
    if not judged.units:
        return NONE
    if judged.interval is None:
        return f"{percent(judged.mean)} (n\u00a0=\u00a0{judged.units})"
    return f"{percent(judged.mean)}\u00a0±\u00a0{percent(judged.interval.half_width)}"


def spread_percent(judged: MethodJudgement) -> str:
    """As `spread`, with the percent sign where it belongs in a sentence."""
    if judged.interval is None:
        return f"{percent(judged.mean)}\u00a0%"
    return f"{spread(judged)}\u00a0%"


def half_width(interval: Interval | None) -> str:
    return NONE if interval is None else percent(interval.half_width)


def gap(fraction: float) -> str:
    """How far a method is behind, in percentage points."""
    return NONE if math.isnan(fraction) else number(fraction)


def p_value(p: float) -> str:
    if math.isnan(p):
        return NONE
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def hyper(setting: HyperSetting) -> str:
    """A hyperparameter: a number in its shortest form, or a schedule such as `cosine 0.001 → 0`."""
    return words(as_json(setting))


def words(value: Any) -> str:
    """A JSON value in words, nested as a schedule is."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {words(content)}" for key, content in value.items())
    if isinstance(value, list):
        return " → ".join(map(words, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    return "none" if value is None else str(value)


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def grouped(value: float) -> str:
    """54000 as 54 000, with a thin space; a fraction is rounded."""
    return f"{value:,.0f}".replace(",", "\u202f")


def megabytes(size: float) -> str:
    return f"{grouped(size / 1e6)} MB"


def listing(words: Sequence[str], most: int = sys.maxsize) -> str:
    """`a, b and c`; of more than so many the first ones and a count, but never "and 1 others"."""
    if len(words) > most + 1:
        words = [*words[:most], f"{len(words) - most} others"]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def span(numbers: Sequence[int]) -> str:
    """`3`, or `3 to 5` for the numbers from 3 to 5 in ascending order."""
    return str(numbers[0]) if numbers[0] == numbers[-1] else f"{numbers[0]} to {numbers[-1]}"

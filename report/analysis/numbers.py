"""How the report writes numbers. A number that does not exist is a dash, never a zero."""

import math
from typing import Any

from report.analysis.comparison import Standing
from suite.records.schedules import as_json
from suite.records.trial import HyperSetting

NONE = "—"


def percent(fraction: float | None, digits: int = 2) -> str:
    """0.9234 as 92.34."""
    return NONE if fraction is None or math.isnan(fraction) else f"{100 * fraction:.{digits}f}"


def points(fraction: float | None) -> str:
    """A difference of accuracies in percentage points, with its sign."""
    if fraction is None or math.isnan(fraction):
        return NONE
    return f"{100 * fraction:+.2f}".replace("-", "−")  # noqa: RUF001 (a true minus sign lines up with the plus)


def spread(standing: Standing) -> str:
    """Mean and interval of a method: `92.34 ± 0.41`, or the mean alone if there is one run."""
    if not standing.scores:
        return NONE
    if math.isnan(standing.half_width):
        return f"{percent(standing.mean)} (n\u00a0=\u00a01)"
    return f"{percent(standing.mean)}\u00a0±\u00a0{percent(standing.half_width)}"


def spread_percent(standing: Standing) -> str:
    """As `spread`, with the percent sign where it belongs in a sentence."""
    if math.isnan(standing.half_width):
        return f"{percent(standing.mean)}\u00a0% (n\u00a0=\u00a01)"
    return f"{spread(standing)}\u00a0%"


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


def grouped(number: float) -> str:
    """54000 as 54 000, with a thin space; a fraction is rounded."""
    return f"{number:,.0f}".replace(",", "\u202f")


def megabytes(size: float) -> str:
    return f"{grouped(size / 1e6)} MB"


def count(number: int, noun: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""The tuning studies as one tidy table, tuning.csv."""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from report.analysis.frames import labels
from report.analysis.gain import Gain
from report.analysis.study import MethodStudy, TaskStudy

COLUMNS = ("cell", "data", "model", "method", "track", "kind", "at", "value", "lower", "upper", "draws")


def tuning_frame(studies: Iterable[TaskStudy]) -> pd.DataFrame:
    """One row per number, as fractions and unrounded; a number without an interval has empty ends.

    kind: `share within` (at a delta below the reference), `draws needed` (for one within that delta),
    `best of` (the median, at n draws; its ends as far as the band says something), `mean best of`, `gain` of
    the winners over the published default on test, and `regret` of the default.
    """
    rows = [row for study in studies for method in study.methods for row in method_rows(method)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"draws": "Int64"})


def method_rows(method: MethodStudy) -> Iterator[dict[str, Any]]:
    head = labels(method.cell) | {"track": method.cell.track}
    for share in method.shares:
        if share.draws:
            value, low, high = share.draws_needed
            at = head | {"at": share.delta, "draws": share.draws}
            yield at | {"kind": "share within", "value": share.share, "lower": share.low, "upper": share.high}
            yield at | {"kind": "draws needed", "value": value, "lower": low, "upper": high}
    curve = method.budget
    for place, n in enumerate(curve.budgets.tolist()):
        at = head | {"at": n, "draws": curve.draws}
        ends = {"lower": curve.low[place], "upper": curve.high[place]} if n <= curve.carried else {}
        yield at | {"kind": "best of", "value": curve.median[place]} | ends
        yield at | {"kind": "mean best of", "value": curve.mean[place]}
    yield from (
        head | {"kind": kind} | gain_numbers(gain)
        for kind, gain in (("gain", method.gain), ("regret", method.regret))
        if gain.value == gain.value
    )


def gain_numbers(gain: Gain) -> dict[str, float]:
    ends = {"lower": gain.interval.low, "upper": gain.interval.high} if gain.interval else {}
    return {"value": gain.value} | ends

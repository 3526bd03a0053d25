"""Which method to use: a rule, applied to what the records show, with its reasons."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from report.analysis.numbers import listing

NAMED = 5  # methods of one sentence


@dataclass(frozen=True)
class Candidate:
    """A method as the rule sees it.

    may_be_best: on how many tasks it is in the set that may contain the best. draws: n_95, how many random
    draws contain a good setting with 95 % chance, on the task where it needs most; NaN if that is not known.
    bytes_per_weight: stored weights and optimizer state together; NaN if no run has finished.
    """

    method: str
    may_be_best: int
    draws: float
    bytes_per_weight: float


@dataclass(frozen=True)
class Advice:
    """The method that the rule picks, and the sentences that say why.

    settings: of each task, as YAML. commands: of each task, the command line that trains with them. caution:
    what weakens the advice.
    """

    method: str
    reasons: list[str]
    caution: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    commands: Mapping[str, str] = field(default_factory=dict)


def recommend(candidates: list[Candidate], tasks: int) -> Advice | None:
    """May be best on most tasks, then the fewest draws, then the least memory; equal ones are named.

    A number that is not known comes last. None if no method may be best on any task.
    """
    most = max((each.may_be_best for each in candidates), default=0)
    if not most:
        return None
    left = [each for each in candidates if each.may_be_best == most]
    of = "the only task" if tasks == 1 else f"{most} of {tasks} tasks"
    reasons = [f"{names(left)} may be best on {of}{', more than any other' if tasks > 1 else ''}."]
    for name, words in (
        ("draws", "random draws hold a good setting with 95 % chance, the fewest of these"),
        ("bytes_per_weight", "bytes for each binary weight, the least of these"),
    ):
        values = [getattr(each, name) for each in left]
        least = min(filter(math.isfinite, values), default=math.nan)
        kept = [each for each, value in zip(left, values, strict=True) if value == least]
        if 0 < len(kept) < len(left):
            reasons.append(f"{names(kept)}: {least:.3g} {words}.")
            left = kept
    if len(left) > 1:
        reasons.append(f"The rule does not tell {names(left)} apart: the first of these stands here.")
    return Advice(left[0].method, reasons)


def names(candidates: list[Candidate]) -> str:
    return listing([each.method for each in candidates], NAMED)

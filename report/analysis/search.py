"""The random draws of a method on a task, and where each lies in what was searched."""

import math
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import binom

from report.read.records import CellRecord, Records, RunRecord
from suite.records.schema import Range
from suite.records.trial import HyperSetting

EDGE = 0.05  # share of a range, on its own scale
UNLIKELY = 0.05 + 1e-9  # that chance alone puts so many winners near the ends of a range


@dataclass(frozen=True)
class Search:
    """The random draws of a method on a task: the values of each hyperparameter, and validation scores.

    missing: planned draws without a score, which did not run yet, failed, or have a damaged record.
    """

    ranges: Mapping[str, Range]
    values: Sequence[Mapping[str, HyperSetting]]
    scores: Sequence[float]
    missing: int = 0

    def slices(self, name: str, parts: Mapping[str, tuple[float, float]]) -> Iterator[tuple[str, np.ndarray]]:
        """The parts of one range that hold a draw, or the words of a choice; and which draws those are."""
        range_, drawn = self.ranges[name], [values[name] for values in self.values]
        if range_.kind == "choice":
            masks = {word(each): np.array([value == each for value in drawn]) for each in range_.values}
        else:
            places = np.array([place_in(range_, value) for value in drawn]).clip(0.0, 1.0)
            masks = {
                part: (low <= places) & ((places < high) | (high == 1.0))
                for part, (low, high) in parts.items()
            }
        yield from ((part, mask) for part, mask in masks.items() if mask.any())


def search_of(records: Records, cell: CellRecord, studies: int = sys.maxsize) -> Search:
    """The random draws of a row's first studies: none where another sampler drew, or nothing is searched."""
    ranges = searched(records, cell)
    if cell.track != "random" or not ranges:
        return Search(ranges, [], [])
    trials = [run for run in records.trials(cell) if run.place.study < studies]
    drawn = [run for run in trials if not run.published_default]
    scored = [(run, run.score) for run in drawn if run.score is not None]
    return Search(
        ranges=ranges,
        values=[run.hypers for run, _ in scored],
        scores=[score for _, score in scored],
        missing=len(drawn) - len(scored),
    )


def searched(records: Records, cell: CellRecord) -> dict[str, Range]:
    """The range of every hyperparameter that the experiment searches in this row."""
    cards = records.plan.methods[cell.planned.method].hypers
    return {name: card.range for name, card in cards.items() if card.range is not None}


def tried(runs: Sequence[RunRecord]) -> int:
    """How many settings have a score, whatever the sampler, without the published default."""
    return sum(run.scored and not run.published_default for run in runs)


def word(value: HyperSetting) -> str:
    return "none" if value is None else str(value)


def place_in(range_: Range, value: HyperSetting) -> float:
    """Where a number lies between the ends of its range, on its scale: 0 to 1."""
    low, high = map(float, range_.values)  # type: ignore[arg-type]
    number = float(value)  # type: ignore[arg-type]
    if low == high:
        return 0.5
    if range_.kind == "log":
        if number <= 0:
            return 0.0
        low, high, number = math.log(low), math.log(high), math.log(number)
    return (number - low) / (high - low)


def near_edge(value: HyperSetting, range_: Range) -> Literal["lower", "upper"] | None:
    """The end of a range of numbers that one is within 5 % of, on the scale of the range."""
    if range_.kind == "choice" or isinstance(value, bool) or not isinstance(value, int | float):
        return None
    place = place_in(range_, value)
    if range_.values[0] == range_.values[1] or EDGE < place < 1 - EDGE:
        return None
    return "lower" if place <= EDGE else "upper"


def crowded_edges(values: Sequence[HyperSetting], range_: Range) -> dict[str, int]:
    """The ends with more of these drawn values near them than chance would put there in 1 of 20 ranges.

    Each end with how many; half of that chance is left to either.
    """
    ends = Counter(end for value in values if (end := near_edge(value, range_)))
    by_chance = share_near_edge(range_)
    return {end: n for end, n in ends.items() if binom.sf(n - 1, len(values), by_chance) <= UNLIKELY / 2}


def share_near_edge(range_: Range) -> float:
    """The share of the draws of a range of numbers that are near one of its ends."""
    if range_.kind != "integer":
        return EDGE
    low, high = map(int, range_.values)  # type: ignore[arg-type]
    return (1 + math.floor(EDGE * (high - low) + 1e-9)) / (high + 1 - low)

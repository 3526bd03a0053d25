"""Does the order of two methods depend on where was searched? Each is scored again with less of its search.

Nothing is run for this: a smaller range is the draws that lie in it. Choi et al., On Empirical Comparisons of
Optimizers for Deep Learning, 2019, https://arxiv.org/abs/1910.05446, show that rankings follow the search
spaces.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from suite.records.schema import Range
from suite.records.trial import HyperSetting

SUBSETS = 200
PARTS = {"lower half": (0.0, 0.5), "middle half": (0.25, 0.75), "upper half": (0.5, 1.0)}


@dataclass(frozen=True)
class Search:
    """The random draws of a method on a task: the values of each hyperparameter, and validation scores."""

    ranges: Mapping[str, Range]
    values: Sequence[Mapping[str, HyperSetting]]
    scores: Sequence[float]


@dataclass(frozen=True)
class Robustness:
    """How often the better of two methods is another: of smaller search spaces, of subsets of the trials."""

    spaces: int
    spaces_reversed: tuple[str, ...]
    subsets: int
    subsets_reversed: int


def robustness(one: Search, other: Search, seed: int = 0) -> Robustness:
    """Compare the best validation scores again, with one range reduced at a time and with half of the draws.

    Equal scores reverse nothing. A space without a draw is left out.
    """
    ours, theirs = np.asarray(one.scores, float), np.asarray(other.scores, float)
    verdict = np.sign(ours.max() - theirs.max())
    spaces = {
        **{f"{name} of the first": ours[mask].max() - theirs.max() for name, mask in _spaces(one)},
        **{f"{name} of the second": ours.max() - theirs[mask].max() for name, mask in _spaces(other)},
    }
    random = np.random.default_rng(seed)
    halves = [_half(ours, random).max() - _half(theirs, random).max() for _ in range(SUBSETS)]
    return Robustness(
        spaces=len(spaces),
        spaces_reversed=tuple(name for name, lead in spaces.items() if np.sign(lead) == -verdict != 0),
        subsets=SUBSETS,
        subsets_reversed=sum(bool(np.sign(lead) == -verdict != 0) for lead in halves),
    )


def _half(scores: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.choice(scores, math.ceil(len(scores) / 2), replace=False)


def _spaces(search: Search) -> Iterator[tuple[str, np.ndarray]]:
    """The smaller spaces that hold a draw: a part of one range, or one word of a choice."""
    for name, range_ in search.ranges.items():
        drawn = [values[name] for values in search.values]
        if range_.kind == "choice":
            masks = {str(word): np.array([value == word for value in drawn]) for word in range_.values}
        else:
            places = np.array([place_in(range_, value) for value in drawn])
            masks = {part: (low <= places) & (places <= high) for part, (low, high) in PARTS.items()}
        yield from ((f"{name}: {part}", mask) for part, mask in masks.items() if mask.any())


def place_in(range_: Range, value: HyperSetting) -> float:
    """Where a number lies between the ends of its range, on its scale: 0 to 1."""
    low, high = map(float, range_.values)  # type: ignore[arg-type]
    number = float(value)  # type: ignore[arg-type]
    if low == high:
        return 0.5
    if range_.kind == "log":
        low, high, number = math.log(low), math.log(high), math.log(number)
    return (number - low) / (high - low)

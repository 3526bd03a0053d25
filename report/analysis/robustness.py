"""Does the order of two methods depend on where was searched? Each is scored again with less of its search.

Nothing is run for this: a smaller range is the draws that lie in it. Choi et al., On Empirical Comparisons of
Optimizers for Deep Learning, 2019, https://arxiv.org/abs/1910.05446, show that rankings follow the search
spaces.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from report.analysis.search import Search

SUBSETS = 200
PARTS = {"lower half": (0.0, 0.5), "middle half": (0.25, 0.75), "upper half": (0.5, 1.0)}


@dataclass(frozen=True)
class Robustness:
    """How often another method comes before the one with the best draw, when that has searched less.

    spaces: how many smaller search spaces it has; a smaller one of the other method could only help it.
    """

    spaces: int
    spaces_reversed: tuple[str, ...]
    subsets: int
    subsets_reversed: int

    @property
    def share(self) -> float:
        """Of the subsets, those that reverse the order."""
        return self.subsets_reversed / self.subsets


def robustness(leader: Search, other: Search, seed: int = 0) -> Robustness:
    """Compare the best validation scores again: with one of the leader's ranges reduced at a time, and with
    half of the draws of each. A tie is no reversal. A space without a draw is left out.
    """
    ours, theirs = np.asarray(leader.scores, float), np.asarray(other.scores, float)
    spaces = {name: ours[mask].max() - theirs.max() for name, mask in _spaces(leader)}
    random = np.random.default_rng(seed)
    halves = [_half(ours, random).max() - _half(theirs, random).max() for _ in range(SUBSETS)]
    return Robustness(
        spaces=len(spaces),
        spaces_reversed=tuple(name for name, lead in spaces.items() if lead < 0),
        subsets=SUBSETS,
        subsets_reversed=sum(bool(lead < 0) for lead in halves),
    )


def _half(scores: np.ndarray, random: np.random.Generator) -> np.ndarray:
    return random.choice(scores, math.ceil(len(scores) / 2), replace=False)


def _spaces(search: Search) -> Iterator[tuple[str, np.ndarray]]:
    """The smaller spaces that hold a draw: a part of one range, or one word of a choice."""
    for name in search.ranges:
        yield from ((f"{name}, {part}", mask) for part, mask in search.slices(name, PARTS))

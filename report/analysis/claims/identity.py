"""Do two arms have the same binary trajectory, seed by seed? If not, where do they part?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from report.analysis.claims.decide import Outcome

SIGNS = "signs"  # the probe


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One final run: its seed, the hashes of its weights and flips, and how to read its flips.

    flips: int (steps, layers), read only where two trajectories differ.
    """

    seed: int | None
    hashes: dict[str, Any]
    flips: Callable[[], np.ndarray]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Parting:
    """Where two arms first differ: a step from 1 and a layer; without both only the last weights differ."""

    arm: str
    other: str
    seed: int | None
    step: int | None
    layer: str | None


def parting(arm: str, other: str, one: Trajectory, two: Trajectory) -> Parting | None:
    """The first difference of two trajectories of one seed; None if there is none."""
    if one.hashes == two.hashes:
        return None
    first, second = one.flips(), two.flips()
    steps = min(len(first), len(second))
    places = np.argwhere(first[:steps] != second[:steps])
    if len(places):
        step, layer = (int(n) for n in places[0])
        return Parting(arm, other, one.seed, step + 1, one.layers[layer])
    if len(first) != len(second):
        return Parting(arm, other, one.seed, steps + 1, None)
    return Parting(arm, other, one.seed, None, None)


@dataclass(frozen=True)
class Identity:
    """Each arm against the first: how many pairs of runs there are, and those that differ."""

    pairs: int
    partings: tuple[Parting, ...]

    def outcome(self, expect: Literal["same", "differ"]) -> Outcome:
        """`same` allows no difference; `differ` demands one for every seed and arm."""
        if not self.pairs:
            return "undecided"
        if expect == "same":
            return "refuted" if self.partings else "supported"
        return "supported" if len(self.partings) == self.pairs else "refuted"


def identity_of(arms: Sequence[tuple[str, Sequence[Trajectory]]]) -> Identity:
    """Every arm against the first one, run by run: the runs of an arm are in the order of their seeds."""
    (first, reference), *others = arms
    partings = [
        parting(first, name, one, two)
        for name, runs in others
        for one, two in zip(reference, runs, strict=True)
    ]
    return Identity(len(partings), tuple(each for each in partings if each is not None))

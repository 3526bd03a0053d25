"""What the comparison of a task starts from: the final runs of each method, as numbers.

A unit is what counts as one independent measurement of a method: the final runs of one tuning study if there
are several studies, else a single final run.
"""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

# Accuracies are ratios of whole numbers; differences below this are rounding errors of the arithmetic.
SAME = 1e-12
COLLAPSED = 3.0  # standard errors above chance: a run that scores no better has learned nothing


@dataclass(frozen=True, eq=False)
class Unit:
    """The final runs of one study, or one final run."""

    scores: tuple[float, ...]  # test accuracies of the finished runs, as fractions
    correct: np.ndarray  # for each test image, how many of the finished runs are right
    diverged: int = 0  # further runs: each counts at chance, on every image

    @property
    def runs(self) -> int:
        return len(self.scores) + self.diverged

    def __post_init__(self) -> None:
        if not self.runs:
            raise ValueError("a unit without a run")
        if self.correct.ndim != 1 or not np.issubdtype(self.correct.dtype, np.integer):
            raise ValueError(f"counts of shape {self.correct.shape} and type {self.correct.dtype}")
        if self.correct.size and (self.correct.min() < 0 or self.correct.max() > len(self.scores)):
            raise ValueError(
                f"an image is right in more than the {len(self.scores)} finished runs of its unit"
            )
        counted = float(self.correct.sum(dtype=np.int64)) / max(1, self.correct.size)
        if abs(counted - math.fsum(self.scores)) > 1e-6 * self.runs:
            raise ValueError(f"the scores add up to {math.fsum(self.scores)}, the images to {counted}")


@dataclass(frozen=True, eq=False)
class MethodEvidence:
    """The units of one method. A study none of whose runs is in is no unit; the planned numbers count it."""

    method: str
    units: tuple[Unit, ...]
    planned_units: int
    planned_runs: int
    control: bool = False  # a floor or ceiling that does not compete

    def __post_init__(self) -> None:
        if len(self.units) > self.planned_units or self.runs > self.planned_runs:
            raise ValueError(f"{self.method}: more units or runs than planned")

    @cached_property
    def runs(self) -> int:
        return sum(unit.runs for unit in self.units)

    @property
    def diverged(self) -> int:
        return sum(unit.diverged for unit in self.units)

    @property
    def missing(self) -> int:
        return self.planned_runs - self.runs

    @property
    def damaged(self) -> bool:
        return bool(self.missing or self.diverged)

    def rates(self, chance: float) -> np.ndarray:
        """The share of runs that are right, (units, images); a diverged one is right by chance."""
        counts = np.stack([unit.correct for unit in self.units]).astype(np.float64)
        diverged = np.array([[unit.diverged] for unit in self.units])
        runs = np.array([[unit.runs] for unit in self.units])
        return (counts + chance * diverged) / runs


@dataclass(frozen=True, eq=False)
class TaskEvidence:
    """All planned methods of a task."""

    methods: tuple[MethodEvidence, ...]
    images: int  # of the test set
    chance: float  # accuracy of a guess
    studies: int  # planned for a method, at most; 0 if nothing is tuned
    margin: float | None = None  # accuracies that differ by no more are equal for the experiment's purpose

    def __post_init__(self) -> None:
        names = [each.method for each in self.methods]
        if len(set(names)) < len(names):
            raise ValueError(f"a method appears twice: {sorted(names)}")
        if self.margin is not None and self.margin <= 0:
            raise ValueError(f"a margin of {self.margin}")
        for each in self.methods:
            if any(unit.correct.size != self.images for unit in each.units):
                raise ValueError(f"{each.method}: counts for another test set than of {self.images} images")
            if self.unit == "run" and any(unit.runs > 1 for unit in each.units):
                raise ValueError(f"{each.method}: several runs in a unit, but a unit is a run")

    @property
    def unit(self) -> Literal["study", "run"]:
        return "study" if self.studies > 1 else "run"

    @property
    def conditional(self) -> bool:
        """Whether every statement is about the settings of one draw of the tuning."""
        return self.studies == 1

    def runs_of(self, unit: Unit) -> list[float]:
        """The scores of a unit's runs, with chance for each diverged one."""
        return [*unit.scores, *[self.chance] * unit.diverged]

    @cached_property
    def means(self) -> dict[str, np.ndarray]:
        """The mean of each unit, by method."""
        return {
            each.method: np.array([math.fsum(runs) / len(runs) for runs in map(self.runs_of, each.units)])
            for each in self.methods
        }

    def collapsed(self, method: MethodEvidence) -> bool:
        """Whether a finished run of the method scores no better than chance."""
        limit = self.chance + COLLAPSED * math.sqrt(self.chance * (1 - self.chance) / self.images)
        return any(score <= limit for unit in method.units for score in unit.scores)

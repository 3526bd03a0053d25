"""Which hyperparameters matter: how much the score of a random draw depends on where one of them lies.

Each range is cut into thirds on its own scale, a choice into its words. The Kruskal-Wallis test compares the
ranks of the scores between the parts, so that a range full of collapsed draws does not hide the rest. Draws
of all other hyperparameters are independent of the part, so what the parts explain is this one's own effect;
what it does only together with another is not in it.
"""

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import kruskal

from report.analysis.search import Search

ENOUGH_DRAWS = 20  # below, a third holds too few
THIRDS = {"low third": (0.0, 1 / 3), "middle third": (1 / 3, 2 / 3), "high third": (2 / 3, 1.0)}


@dataclass(frozen=True)
class Slice:
    """A part of a range: its draws and their median validation score."""

    name: str
    draws: int
    median: float


@dataclass(frozen=True)
class Effect:
    """The effect of one hyperparameter.

    explained: epsilon squared, the share of the variance of the ranks that the parts explain, corrected for
    the parts' number; 0 where chance would explain as much. p: of no effect, corrected for the method's
    hyperparameters.
    """

    name: str
    slices: tuple[Slice, ...]
    explained: float
    p: float
    draws: int


def effects(search: Search) -> list[Effect]:
    """The effects of all searched hyperparameters, the strongest first; none below 20 draws."""
    if len(search.scores) < ENOUGH_DRAWS:
        return []
    found = [effect(search, name) for name in search.ranges]
    return sorted(found, key=lambda each: (-each.explained, each.name))


def effect(search: Search, name: str) -> Effect:
    scores = np.asarray(search.scores, float)
    parts = [(part, scores[mask]) for part, mask in search.slices(name, THIRDS)]
    slices = tuple(Slice(part, len(inside), float(np.median(inside))) for part, inside in parts)
    if len(parts) < 2 or np.ptp(scores) == 0:
        return Effect(name, slices, 0.0, math.nan, len(scores))
    statistic, p = kruskal(*(inside for _, inside in parts))
    groups, draws = len(parts), len(scores)
    explained = max(0.0, (statistic - groups + 1) / (draws - groups))
    return Effect(name, slices, float(explained), min(1.0, float(p) * len(search.ranges)), draws)

"""How easy a method is to tune: the share of random settings that are good, and how many draws find one.

Scores are validation accuracies as fractions. The draws are those of a random search, independent of each
other; the published default is none of them, because it was chosen and not drawn.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

CONFIDENCE = 0.95
SURE = 0.95  # the chance at which a number of draws counts as enough
DELTAS = tuple(float(delta) for delta in np.geomspace(0.0025, 0.05, 24))  # a quarter of a point to five


@dataclass(frozen=True)
class GoodShare:
    """Of so many random settings, those within `delta` of the reference; the share with its interval."""

    delta: float
    good: int
    draws: int
    low: float
    high: float

    @property
    def share(self) -> float:
        """p_delta: NaN without a draw."""
        return self.good / self.draws if self.draws else math.nan

    @property
    def draws_needed(self) -> tuple[float, float, float]:
        """n_95: how many draws contain a good one with 95 % chance; and the ends of its interval."""
        return draws_needed(self.share), draws_needed(self.high), draws_needed(self.low)


def good_share(scores: Sequence[float], reference: float, delta: float) -> GoodShare:
    """The share of scores that reach `reference` - `delta`, with its Wilson interval (95 %).

    A setting that diverged has the score of chance. Without a draw the interval is everything.
    """
    good, draws = int(np.sum(np.asarray(scores, float) >= reference - delta)), len(scores)
    if not draws:
        return GoodShare(delta, 0, 0, 0.0, 1.0)
    interval = binomtest(good, draws).proportion_ci(CONFIDENCE, method="wilson")
    return GoodShare(delta, good, draws, float(interval.low), float(interval.high))


def share_curve(
    scores: Sequence[float], reference: float, deltas: Sequence[float] = DELTAS
) -> list[GoodShare]:
    """The share for each tolerance: how fast settings become good enough the less is demanded."""
    return [good_share(scores, reference, delta) for delta in deltas]


def draws_needed(share: float) -> float:
    """max(1, ln 0.05 / ln(1 - p)): infinite where no setting is good, NaN where nothing is known."""
    if math.isnan(share):
        return math.nan
    if share <= 0.0:
        return math.inf
    return 1.0 if share >= SURE else max(1.0, math.log(1.0 - SURE) / math.log1p(-share))


def common_reference(fixed_settings: dict[str, Sequence[float]]) -> tuple[str, float]:
    """The best fixed setting of any method of a task: its name, and its mean *validation* score.

    fixed_settings: the scores of each setting over fresh seeds. A setting that was only drawn once is none:
    the highest of many single scores is too high by chance. ValueError without a setting.
    """
    means = {name: float(np.mean(scores)) for name, scores in fixed_settings.items() if len(scores)}
    if not means:
        raise ValueError("no setting has a score on fresh seeds")
    name = max(means, key=means.__getitem__)
    return name, means[name]

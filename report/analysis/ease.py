"""How easy a method is to tune: the share of random settings that are good, and how many draws find one.

Scores are validation accuracies as fractions. The draws are those of a random search, independent of each
other; the published default is none of them, because it was chosen and not drawn.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from report.analysis.critical import student
from report.analysis.evidence import SAME
from report.analysis.intervals import Interval

CONFIDENCE = 0.95
SURE = 0.95  # the chance at which a number of draws counts as enough
POINT = 0.01  # the tolerance of every sentence: one point
# A quarter of a point to five, evenly on a logarithmic axis, and one point itself.
DELTAS = tuple(sorted({POINT, *(float(delta) for delta in np.geomspace(0.0025, 0.05, 24))}))


@dataclass(frozen=True)
class GoodShare:
    """Of so many random settings, those within `delta` of the reference; the share with its interval.

    missing: planned draws without a score. The interval covers all that they could have been, so that no
    method looks easier for having lost a run.
    """

    delta: float
    good: int
    draws: int
    missing: int
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

    def interval(self, confidence: float) -> Interval:
        """Wilson's interval of the share at another level."""
        return _wilson(self.good, self.draws, self.missing, confidence)


def good_share(scores: Sequence[float], reference: float, delta: float, missing: int = 0) -> GoodShare:
    """The share of scores that reach `reference` - `delta`, with its Wilson interval (95 %).

    A setting that diverged has the score of chance. Without a draw the interval is everything.
    """
    good, draws = int(np.sum(np.asarray(scores, float) >= reference - delta - SAME)), len(scores)
    interval = _wilson(good, draws, missing, CONFIDENCE)
    return GoodShare(delta, good, draws, missing, interval.low, interval.high)


def _wilson(good: int, draws: int, missing: int, confidence: float) -> Interval:
    """From the lower end, if all missing draws were bad, to the upper end, if all were good."""
    if not draws:
        return Interval(0.0, 1.0)
    planned, z = draws + missing, student(math.inf, (1 + confidence) / 2)
    (low, _), (_, high) = (_wilson_ends(count / planned, planned, z) for count in (good, good + missing))
    # Exactly, not by rounding: the draws that a share of 1e-17 takes are no number to print.
    return Interval(max(0.0, low) if good else 0.0, min(1.0, high) if good < draws else 1.0)


def _wilson_ends(share: float, draws: int, z: float) -> tuple[float, float]:
    """In closed form: scipy's binomtest takes a thousand times as long."""
    centre, half = (
        share + z * z / (2 * draws),
        z * math.sqrt(share * (1 - share) / draws + (z / draws) ** 2 / 4),
    )
    return (centre - half) / (1 + z * z / draws), (centre + half) / (1 + z * z / draws)


def share_curve(
    scores: Sequence[float], reference: float, missing: int = 0, deltas: Sequence[float] = DELTAS
) -> list[GoodShare]:
    """The share for each tolerance: how fast settings become good enough the less is demanded."""
    return [good_share(scores, reference, delta, missing) for delta in deltas]


def draws_needed(share: float) -> float:
    """max(1, ln 0.05 / ln(1 - p)): infinite where no setting is good, NaN where nothing is known."""
    if math.isnan(share):
        return math.nan
    if share <= 0.0:
        return math.inf
    return 1.0 if share >= SURE else max(1.0, math.log(1.0 - SURE) / math.log1p(-share))


@dataclass(frozen=True)
class ShareDifference:
    """first - second, two shares at one tolerance, with the interval for all pairs of methods at once."""

    first: str
    second: str
    value: float
    interval: Interval

    def reversed(self) -> "ShareDifference":
        turned = Interval(-self.interval.high, -self.interval.low)
        return ShareDifference(self.second, self.first, -self.value, turned)


def share_differences(shares: Mapping[str, GoodShare]) -> list[ShareDifference]:
    """All pairs, 95 % at once: Newcombe's interval at Bonferroni's level."""
    pairs = list(itertools.combinations(shares, 2))
    confidence = 1.0 - (1.0 - CONFIDENCE) / max(1, len(pairs))
    return [
        ShareDifference(
            first,
            second,
            shares[first].share - shares[second].share,
            newcombe(shares[first], shares[second], confidence),
        )
        for first, second in pairs
    ]


def newcombe(first: GoodShare, second: GoodShare, confidence: float) -> Interval:
    """The interval of first - second: Newcombe (1998), method 10."""
    one, other = first.share, second.share
    mine, theirs = first.interval(confidence), second.interval(confidence)
    return Interval(
        one - other - math.hypot(one - mine.low, theirs.high - other),
        one - other + math.hypot(mine.high - one, other - theirs.low),
    )


def common_reference(fixed_settings: Mapping[str, Sequence[float]]) -> tuple[str, float]:
    """The best fixed setting of any method of a task: its name, and its mean *validation* score.

    fixed_settings: the scores of each setting over fresh seeds. A setting that was only drawn once is none:
    the highest of many single scores is too high by chance. ValueError without a setting.
    """
    means = {name: float(np.mean(scores)) for name, scores in fixed_settings.items() if len(scores)}
    if not means:
        raise ValueError("no setting has a score on fresh seeds")
    name = max(means, key=means.__getitem__)
    return name, means[name]

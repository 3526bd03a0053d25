"""A measure along ordered arms: does a rising, falling or single-peaked shape hold?"""

import itertools
from collections.abc import Sequence

from report.analysis.claims.arms import Sample
from report.analysis.claims.decide import LEVEL, Estimate, Outcome, estimate_of


def step(samples: Sequence[Sample], first: int, second: int) -> Estimate:
    """second - first."""
    return estimate_of([samples[second], samples[first]], [1.0, -1.0])


def rising(samples: Sequence[Sample], margin: float, parts: int = 1) -> Outcome:
    """Supported: no step falls by the margin or more, and the last is above the first by more than it.

    All of this has to hold, so each part is tested at 5 %. Refuted: some later arm is below an earlier one by
    more than the margin, at Bonferroni's level for all pairs.
    """
    last = len(samples) - 1
    pairs = list(itertools.combinations(range(len(samples)), 2))
    level = 1 - (1 - LEVEL) / (len(pairs) * parts)
    if any(step(samples, *pair).interval(level).high < -margin for pair in pairs):
        return "refuted"
    steps = all(step(samples, n, n + 1).interval().low > -margin for n in range(last))
    return "supported" if steps and step(samples, 0, last).interval().low > margin else "undecided"


def falling(samples: Sequence[Sample], margin: float, parts: int = 1) -> Outcome:
    return rising(samples[::-1], margin, parts)


def peaked(samples: Sequence[Sample], margin: float, parts: int = 1) -> Outcome:
    """Supported: some interior arm is above both ends by more than the margin, and no valley is shown.

    Bonferroni's level for all interior arms. Refuted: an end is above every
    interior arm by more than the margin, or an arm lies below one on each of its sides.
    """
    last = len(samples) - 1
    interior = range(1, last)
    triples = list(itertools.combinations(range(len(samples)), 3))
    for_valleys = 1 - (1 - LEVEL) / (2 * len(triples) * parts)
    for_ends = 1 - (1 - LEVEL) / (2 * parts)

    def above(one: int, other: int, level: float) -> bool:
        return step(samples, other, one).interval(level).low > margin

    valley = any(above(a, b, for_valleys) and above(c, b, for_valleys) for a, b, c in triples)
    if valley or any(all(above(end, n, for_ends) for n in interior) for end in (0, last)):
        return "refuted"
    chosen = level_of_a_peak(len(samples))
    shown = any(above(n, 0, chosen) and above(n, last, chosen) for n in interior)
    return "supported" if shown else "undecided"


def level_of_a_peak(arms: int) -> float:
    """Of the interval that shows a peak: which arm between the ends it is, the data have chosen."""
    return 1 - (1 - LEVEL) / (arms - 2)


SHAPES = {"rising": rising, "falling": falling, "peaked": peaked}

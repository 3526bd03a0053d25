"""The difference of two methods' means: its standard error, and the intervals that follow."""

import itertools
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from report.analysis.critical import against_the_best, all_pairs, all_pairs_p, student
from report.analysis.evidence import MethodEvidence, TaskEvidence
from report.analysis.images import ImageProfile, image_profile, image_variances
from report.analysis.intervals import Interval, around, satterthwaite, variance_of
from report.analysis.moderation import Prior, erratic, moderated, prior_of

FEW_METHODS = 3  # up to here the spread of the others says too little to share degrees of freedom


@dataclass(frozen=True, eq=False)
class Side:
    """One method as a side of differences."""

    method: str
    mean: float
    units: int
    variance: float  # of a unit, as it is used
    df: float  # of that variance
    pooled: bool  # whether the other methods inform the variance
    images: ImageProfile

    @property
    def square_error(self) -> float:
        return self.variance / self.units


@dataclass(frozen=True)
class Difference:
    """first - second, in fractions."""

    first: str
    second: str
    value: float
    error: float  # standard error over units and test images
    df: float  # infinite where no unit varies: only the images decide
    methods: int  # planned: how many the statements are about at once

    @property
    def interval(self) -> Interval:
        """95 % for all pairs of methods at once."""
        return around(self.value, all_pairs(self.methods, self.df) * self.error)

    @property
    def p(self) -> float:
        """Corrected for all pairs; below 0.05 where `interval` excludes 0."""
        if self.error == 0:
            return 0.0 if self.value else 1.0
        return all_pairs_p(self.value / self.error, self.methods, self.df)

    @property
    def equivalence_interval(self) -> Interval:
        """90 %, of this pair: inside a margin it shows equality within that margin at a level of 5 %."""
        return around(self.value, student(self.df, 0.95) * self.error)

    @property
    def second_may_be_best(self) -> bool:
        """Whether the second is no further below the first, the observed best, than the true best may be."""
        return self.value <= against_the_best(self.methods - 1, self.df) * self.error

    def reversed(self) -> "Difference":
        return replace(self, first=self.second, second=self.first, value=-self.value)


def differences(
    task: TaskEvidence, methods: Sequence[MethodEvidence], planned: int, apart: Collection[str]
) -> list[Difference]:
    """All pairs of these methods, which have two units or more each, out of so many planned ones.

    apart: the `erratic_methods` among them.
    """
    sides = sides_of(task, methods, planned, apart)
    if len(sides) < 2:
        return []
    from_images = image_variances([side.images for side in sides])
    pairs = itertools.combinations(range(len(sides)), 2)
    return [difference(sides[a], sides[b], float(from_images[a, b]), planned) for a, b in pairs]


def difference(first: Side, second: Side, from_images: float, planned: int) -> Difference:
    square = first.square_error + second.square_error + from_images
    if first.pooled and second.pooled and planned > FEW_METHODS:
        df = min(first.df, second.df)
    else:
        squares = [side.square_error for side in (first, second)]
        df = satterthwaite(square, squares, [first.df, second.df])  # the images are not of their units
    return Difference(first.method, second.method, first.mean - second.mean, math.sqrt(square), df, planned)


def sides_of(
    task: TaskEvidence, methods: Sequence[MethodEvidence], planned: int, apart: Collection[str]
) -> list[Side]:
    """Each method with the variance that its differences use: its own, or one that the others inform.

    Constant, diverged and collapsed methods and those with a far larger variance inform no other.
    """
    means = [task.means[each.method] for each in methods]
    own = [variance_of(each) for each in means]
    pooled = [
        regular(task, each, variance) and each.method not in apart
        for each, variance in zip(methods, own, strict=True)
    ]
    dfs = [len(each.units) - 1 for each in methods]
    members = [place for place, is_pooled in enumerate(pooled) if is_pooled]
    prior = prior_of([own[place] for place in members], [dfs[place] for place in members])
    together = sum(dfs[place] for place in members)
    return [
        side(task, each, own[place], prior if pooled[place] else None, together, planned)
        for place, each in enumerate(methods)
    ]


def erratic_methods(task: TaskEvidence, methods: Sequence[MethodEvidence]) -> frozenset[str]:
    """Those whose variance is far above that of the others."""
    variances = [variance_of(task.means[each.method]) for each in methods]
    members = [
        (each, variance)
        for each, variance in zip(methods, variances, strict=True)
        if regular(task, each, variance)
    ]
    places = erratic([variance for _, variance in members], [len(each.units) - 1 for each, _ in members])
    return frozenset(members[place][0].method for place in places)


def regular(task: TaskEvidence, method: MethodEvidence, variance: float) -> bool:
    """Whether its variance is of the kind that methods share: not constant, diverged or collapsed."""
    return variance > 0 and not method.diverged and not task.collapsed(method)


def side(
    task: TaskEvidence,
    method: MethodEvidence,
    variance: float,
    prior: Prior | None,
    together: int,
    planned: int,
) -> Side:
    """A method as a side; `prior` if others inform it, `together` the degrees of freedom of all of these."""
    units = len(method.units)
    images = image_profile(method.rates(task.chance), constant=variance == 0)
    df: float = units - 1
    if prior is not None:
        variance = moderated(variance, units - 1, prior)
        if planned > FEW_METHODS:
            df = min(prior.df + units - 1, together)
    mean = float(task.means[method.method].mean())
    return Side(method.method, mean, units, variance, df, prior is not None, images)

"""ProbBop: Bop that flips at random where the average is near the threshold; the band narrows each epoch.

He et al., Neurocomputing 648, 2025, from the released code, of which there are three versions; the paper's
text was not available. `formula` is the code's own number. 0, the default, is the one in the newest version's
commands for CIFAR; 14 is the newest version's rule for every other number; 11 is the older versions' rule
for 11.

The release counts the epochs e in the optimizer: e grows in the step whose number, counted since the
optimizer was created, equals the number of steps in an epoch. Its CIFAR script creates a new optimizer in
every epoch, so e is the epoch ("mended" here). Its ImageNet script creates one, so e grows from 1 to 2 after
the first epoch and stays there ("released"). UNCERTAIN: which of them a published figure used, beyond the
evidence of the scripts.
"""

from functools import partial

import torch
from torch import Tensor

from optimizers.core import Flipper, WeightRule, choice, log, method, sign, stored_signs, uniform
from optimizers.core.checks import check_one_of, check_positive, check_rates, check_shares

FAMILY = "Bop and its descendants"

PAPER = (
    "He et al., A probabilistic optimizer for binary neural networks, Neurocomputing 648, 2025, "
    "https://github.com/snowloving/SnowLab2ProbBop"
)
EPSILON = 1e-10  # as released


def probabilistic_flip(
    weight: Tensor,
    score: Tensor,
    count: Tensor,
    threshold: float,
    alpha: float,
    epoch: int,
    formula: int,
    annealing: str,
) -> tuple[Tensor, Tensor]:
    """The new weight and the new count of flips, from a score that opposes w where w·score > 0.

    With d = |score| / threshold, low = 1 - alpha^e / 2 and high = 1 / low, where the score opposes w:

        formula 0:   flip if d > high;      by chance 1 - exp(-d) if low < d < high
        formula 11:  flip if d / n > high;  by chance 1 - exp(-d) if low < d / n < high
        formula 14:  flip if d / n > high;  by chance 1 - exp(-d / (e n)) if low < d / n < high

    n is one more than the flips of the weight so far. All comparisons are strict: at d = high nothing flips.
    """
    if annealing == "released":
        epoch = min(epoch, 2)
    low = 1.0 - alpha**epoch / 2.0
    high = 1.0 / low
    strength = weight * score / threshold  # d where the score opposes w, else <= 0
    compared = strength if formula == 0 else strength / count
    chance = -torch.expm1(-compared / epoch if formula == 14 else -strength)
    by_chance = (compared > low) & (compared < high) & (torch.rand_like(weight) < chance)
    flips = (compared > high) | by_chance
    return torch.where(flips, -weight, weight), count + flips.to(count.dtype)


def prob_bop_update(
    weight: Tensor, average: Tensor, count: Tensor, gradient: Tensor, gamma: float, **band: float
) -> tuple[Tensor, Tensor, Tensor]:
    """One step of ProbBop: the score is Bop's average, from zero; `band` as in `probabilistic_flip`."""
    average = torch.lerp(average, gradient, gamma)
    weight, count = probabilistic_flip(weight, average, count, **band)  # type: ignore[arg-type]
    return weight, average, count


def prob_bop_second_order_update(
    weight: Tensor,
    average: Tensor,
    square: Tensor,
    count: Tensor,
    gradient: Tensor,
    gamma: float,
    sigma: float,
    **band: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """One step of ProbBop2ndOrder: the score is Bop2ndOrder's, m / (sqrt(v) + 1e-10), both from zero."""
    average = torch.lerp(average, gradient, gamma)
    square = torch.lerp(square, gradient * gradient, sigma)
    score = average / (square.sqrt() + EPSILON)
    weight, count = probabilistic_flip(weight, score, count, **band)  # type: ignore[arg-type]
    return weight, average, square, count


def _check(threshold: float, alpha: float, formula: int, annealing: str, **rates: float) -> None:
    check_rates(**rates)
    check_positive(threshold=threshold)
    check_shares(alpha=alpha)
    check_one_of((0, 11, 14), formula=formula)
    check_one_of(("mended", "released"), annealing=annealing)


@method(
    paper=PAPER,
    gamma=log(1e-4, 1e-6, 1e-1),
    threshold=log(1e-8, 1e-10, 1e-4),
    alpha=uniform(0.5, 0.1, 0.99),
    formula=choice(0, 11, 14),
    annealing=choice("mended", "released"),
)
def prob_bop(gamma: float, threshold: float, alpha: float, formula: int, annealing: str) -> WeightRule:
    """Bop that flips at random where the average is near the threshold."""
    _check(threshold, alpha, formula, annealing, gamma=gamma)
    optimizer = partial(
        Flipper,
        update=partial(prob_bop_update, formula=formula, annealing=annealing),  # type: ignore[arg-type]
        state=dict(average=torch.zeros_like, count=torch.ones_like),
        elementwise=False,
        gamma=gamma,
        threshold=threshold,
        alpha=alpha,
        epoch=1,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)


@method(
    paper=PAPER,
    gamma=log(1e-8, 1e-8, 1e-1),
    sigma=log(1e-3, 1e-5, 1e-1),
    threshold=log(1e-8, 1e-8, 1.0),
    alpha=uniform(0.6, 0.1, 0.99),
    formula=choice(0, 11, 14),
    annealing=choice("mended", "released"),
)
def prob_bop_second_order(
    gamma: float, sigma: float, threshold: float, alpha: float, formula: int, annealing: str
) -> WeightRule:
    """Bop with a second moment that flips at random near the threshold."""
    _check(threshold, alpha, formula, annealing, gamma=gamma, sigma=sigma)
    optimizer = partial(
        Flipper,
        update=partial(prob_bop_second_order_update, formula=formula, annealing=annealing),  # type: ignore[arg-type]
        state=dict(average=torch.zeros_like, square=torch.zeros_like, count=torch.ones_like),
        elementwise=False,
        gamma=gamma,
        sigma=sigma,
        threshold=threshold,
        alpha=alpha,
        epoch=1,
    )
    return WeightRule(start=sign, read=stored_signs, optimizer=optimizer)

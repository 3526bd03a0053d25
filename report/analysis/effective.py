"""How many hyperparameters a method has in effect: near its best settings, where the score is quadratic.

Random search near an optimum draws from a noisy quadratic distribution (Lourie, He and Cho 2025,
https://arxiv.org/abs/2510.02173). Its shape is the effective number of hyperparameters, its end the best
score that a search of this space can reach. It describes the upper tail, so the better half of the draws is
fitted. With less than 100 draws a fit is often wrong by several points.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from opda.parametric import NoisyQuadraticDistribution

FIT_DRAWS = 100


@dataclass(frozen=True)
class Effective:
    """The fit: effective hyperparameters, best score, and the standard deviation of the noise."""

    hyperparameters: int
    best: float
    noise: float
    draws: int

    def __str__(self) -> str:
        return (
            f"in effect {self.hyperparameters} hyperparameters; the best setting that was searched would "
            f"reach {100 * self.best:.2f} % on validation (a fit to the better half of {self.draws} draws, "
            "without an interval)"
        )


def effective_of(scores: Sequence[float], seed: int = 0) -> Effective:
    """The fit to these draws, which takes about half a minute. ValueError for fewer than 100."""
    if len(scores) < FIT_DRAWS:
        raise ValueError(f"{len(scores)} draws: a fit takes {FIT_DRAWS}")
    values = np.asarray(scores, float)
    fit = NoisyQuadraticDistribution.fit(
        values,
        limits=(float(np.median(values)), np.inf),
        constraints={"convex": False, "b": (float(values.min()), 1.0)},
        generator=np.random.default_rng(seed),
    )
    return Effective(int(fit.c), float(fit.b), float(fit.o), len(values))

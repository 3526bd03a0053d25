"""Simulated tasks, as the records of a real one would give them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from report.analysis.evidence import MethodEvidence, TaskEvidence, Unit

IMAGES, HARD = 4_000, 400  # so that accuracies lie between 90 and 100 %
CHANCE = 0.1
LEVEL = 0.95  # accuracy of the best method
SKEWED_SHAPE = 4.0  # of the gamma distribution: skewness 1, with the long tail towards low accuracies

Shape = Literal["normal", "skewed"]


@dataclass(frozen=True)
class Population:
    """The truth about one method, in fractions."""

    mean: float = LEVEL
    sd: float = 0.003  # of a unit's own mean: over studies, or over runs where a unit is a run
    seed_sd: float = 0.0  # of runs within a study
    more_units: int = 0  # than the other methods have


@dataclass(frozen=True, eq=False)
class Simulated:
    """A task, and the true mean of the settings that each method's studies have found."""

    task: TaskEvidence
    settings: tuple[float, ...]


def simulate(
    random: np.random.Generator,
    methods: Sequence[Population],
    units: int,
    *,
    seeds: int = 1,
    shape: Shape = "normal",
    margin: float | None = None,
) -> Simulated:
    """A task whose units are as given; of several seeds each, they are studies.

    Every run is right on the same easy images, and on as many of the hard ones as its accuracy wants, each
    time others. So methods of equal accuracy differ on no image but by chance: the test set adds no noise.
    """
    simulated, settings = [], []
    for number, each in enumerate(methods):
        own = units + each.more_units
        means = each.mean + each.sd * standard(random, shape, own)
        runs = means[:, None] + each.seed_sd * standard(random, shape, (own, seeds))
        simulated.append(evidence(f"method-{number:02}", [correctness(random, of_unit) for of_unit in runs]))
        settings.append(float(means.mean()))
    studies = units if seeds > 1 else 0
    return Simulated(TaskEvidence(tuple(simulated), IMAGES, CHANCE, studies, margin), tuple(settings))


def simulate_test_set(
    random: np.random.Generator, methods: int, units: int, images: int, own: float
) -> TaskEvidence:
    """A task of equally good methods on a test set that is a random sample.

    An image is right where its difficulty, the same for all methods, the method's `own` view of it, the
    unit's level and noise add up to more than 0. The accuracies over all possible images are equal; over this
    sample they are not, by so much as the methods differ in what they find difficult.
    """
    difficulty = 2.5 + 2 * random.standard_normal(images)
    simulated = []
    for number in range(methods):
        profile = difficulty + own * random.standard_normal(images)
        noise = 0.3 * random.standard_normal((units, images)) + 0.01 * random.standard_normal((units, 1))
        runs = (profile + noise > 0)[:, None]
        simulated.append(evidence(f"method-{number:02}", list(runs)))
    return TaskEvidence(tuple(simulated), images, CHANCE, studies=0)


def standard(random: np.random.Generator, shape: Shape, size: int | tuple[int, int]) -> np.ndarray:
    """Draws of mean 0 and standard deviation 1."""
    if shape == "normal":
        return random.standard_normal(size)
    return (SKEWED_SHAPE - random.standard_gamma(SKEWED_SHAPE, size)) / SKEWED_SHAPE**0.5


def correctness(random: np.random.Generator, accuracies: np.ndarray) -> np.ndarray:
    """Of runs with these accuracies, (runs, images)."""
    wanted = np.clip(np.rint(IMAGES * accuracies).astype(int) - (IMAGES - HARD), 1, HARD) - 1
    luck = random.random((len(accuracies), HARD))
    last = np.take_along_axis(np.sort(luck, axis=1), wanted[:, None], axis=1)
    right = np.ones((len(accuracies), IMAGES), bool)
    right[:, :HARD] = luck <= last
    return right


def evidence(method: str, units: Sequence[np.ndarray]) -> MethodEvidence:
    """A complete method from the correctness of each unit's runs, (runs, images)."""
    made = tuple(
        Unit(tuple(np.count_nonzero(run) / run.size for run in runs), runs.sum(axis=0, dtype=np.uint16))
        for runs in units
    )
    return MethodEvidence(method, made, len(made), sum(unit.runs for unit in made))

"""Evidence for a comparison from a few scores; images have one order of difficulty."""

from collections.abc import Sequence

import numpy as np

from report.analysis.evidence import MethodEvidence, TaskEvidence, Unit

IMAGES = 1000


def unit(*scores: float, diverged: int = 0, images: int = IMAGES) -> Unit:
    """A unit whose runs have their first images right."""
    right = np.arange(images) < np.rint(images * np.array(scores).reshape(-1, 1))
    return Unit(scores, right.sum(axis=0, dtype=np.uint16), diverged)


def method(
    name: str,
    scores: Sequence[float | Sequence[float]],
    *,
    missing: int = 0,
    diverged: int = 0,
    control: bool = False,
    images: int = IMAGES,
) -> MethodEvidence:
    """A method with a unit for each entry; more of its single runs diverged or are missing."""
    groups = [each if isinstance(each, Sequence) else [each] for each in scores]
    units = [unit(*group, images=images) for group in groups]
    units += [unit(diverged=1, images=images)] * diverged
    runs = sum(each.runs for each in units)
    return MethodEvidence(name, tuple(units), len(units) + missing, runs + missing, control)


def task(
    *methods: MethodEvidence, studies: int = 0, margin: float | None = None, images: int = IMAGES
) -> TaskEvidence:
    return TaskEvidence(methods, images, 0.1, studies, margin)

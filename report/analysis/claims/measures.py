"""What a claim measures on a run, as a number: shares in percent, losses in nats."""

import math

import numpy as np

from report.read.records import RunRecord
from suite.records.claim import PROBE, unit_of

REAL_BYTES = 4  # of a float32


def measured(run: RunRecord, measure: str) -> float:
    """The measure of a run with a result; NaN where the run has none, as a diverged one has no probes.

    A diverged run has its chance-level accuracy on validation and test, and nothing else.
    """
    result = run.result
    if result is None:
        return math.nan
    if measure.startswith(PROBE):
        _, probe, key = measure.split(".", 2)
        value = result.probes.get(probe, {}).get(key)
        number = float(value) if isinstance(value, int | float) else math.nan
        return 100 * number if unit_of(measure) == "%" else number
    if measure in ("test_top1", "val_top1"):
        score = getattr(result.scores, measure)
        return math.nan if score is None else 100 * score
    if result.status == "diverged":
        return math.nan
    if measure in ("test_loss", "val_loss"):
        loss = getattr(result.scores, measure)
        return math.nan if loss is None else loss
    if measure == "reals":
        each = result.bytes_per_binary_weight
        return (each.stored + each.optimizer) / REAL_BYTES
    return of_curves(run, measure)


def of_curves(run: RunRecord, measure: str) -> float:
    """A measure over the epochs of a run that is done."""
    assert run.result is not None
    curves, weights = run.curves, run.result.binary_weights
    if curves is None or not len(curves.epoch):
        return math.nan
    match measure:
        case "train_loss":
            return float(curves.train_loss[-1])
        case "train_top1":
            return 100 * float(curves.train_top1[-1])
        case "gap":
            return 100 * float(curves.train_top1[-1]) - measured(run, "test_top1")
        case "flips":
            return float(curves.flips.sum()) / weights
        case "never" | "distance":
            return 100 * float(getattr(curves, measure)[-1])
    flips = int(curves.flips.sum())
    undone = int(np.sum(getattr(curves, measure)))  # undone_1, undone_2, undone_5, undone_10
    return 100 * undone / flips if flips else math.nan

"""The probes of a final run: each measures copies of the trained network, after its scores are taken."""

import copy
import math
from collections.abc import Callable, Iterator

from torch import Tensor, nn

from suite.data import Batch, ImageSet, Splits
from suite.probes import PROBES
from suite.probes.probe import Found, Scored, Trained
from suite.records.trial import Trial
from suite.training.evaluate import evaluate, reestimate_batch_norm
from suite.training.ranks import RanksError


def require_one_process(trial: Trial, processes: int) -> None:
    """RanksError if several processes train a trial with probes: they measure in one process only."""
    if trial.probes and processes > 1:
        names = ", ".join(probe.name for probe in trial.probes)
        raise RanksError(
            f"probes ({names}) are measured by one process, and {processes} train this run together: train "
            "it in one process, or without its probes (--set probes=[])"
        )


def measure_probes(
    trial: Trial,
    model: nn.Module,
    data: Splits,
    flips: Tensor,
    batches: Callable[[], Iterator[Batch]],
    damaged: set[str],
) -> dict[str, Found]:
    """What each probe of a trial finds in its trained network, by name.

    flips: int32 (steps, layers). batches: those of the epoch after the last one. The names of images that
    cannot be decoded are added to `damaged`. Raises ValueError for a number that is not finite, and
    StopRequested if the process was asked to stop.
    """
    precision = trial.train.precision

    def score(network: nn.Module, images: ImageSet) -> Scored:
        scores, _ = evaluate(network, images, precision, damaged=damaged)
        return Scored(scores.loss, scores.top1)

    trained = Trained(
        network=lambda: copy.deepcopy(model),
        data=data,
        flips=flips,
        seed=trial.seed,
        precision=precision,
        batches=batches,
        score=score,
        reestimate=lambda network: reestimate_batch_norm(network, batches(), precision),
    )
    found = {probe.name: PROBES[probe.name](trained, **probe.options) for probe in trial.probes}
    for name, values in found.items():
        for key, value in values.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"the probe {name} found {key} = {value}, which no record can hold")
    return found

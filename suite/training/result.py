"""What a training results in: the part that repeats bit for bit, its digest, and whether the run diverged."""

import dataclasses
import hashlib
import math
import statistics
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from suite.machine.environment import peak_memory
from suite.models.blocks.layers import binary_layers
from suite.probes.probe import Found
from suite.records.files import digest
from suite.records.schema import BytesPerWeight, Layer, Result, Scores
from suite.records.trial import Trial
from suite.training.progress import Progress
from suite.training.step import Learner, state_tensors


def epoch_loss(learner: Learner, losses: Sequence[Tensor]) -> tuple[float, int | None]:
    """The mean loss of an epoch, and the step in it, from 1, at which the training diverged, None if never.

    The signs hide whether a latent weight or an average is still finite: they are checked, too.
    """
    values = torch.stack(list(losses)).tolist()
    diverged = next((n for n, value in enumerate(values, 1) if not math.isfinite(value)), None)
    tensors = [*learner.model.parameters(), *state_tensors(learner.weights), *state_tensors(learner.real)]
    if diverged is None and not all(bool(tensor.isfinite().all()) for tensor in tensors):
        diverged = len(values)
    return statistics.fmean(values), diverged


def result_of(
    trial: Trial,
    learner: Learner,
    progress: Progress,
    scores: Scores,
    diverged_at: int | None,
    probes: Mapping[str, Found],
) -> Result:
    """The result of a run: the part that repeats bit for bit, a digest of that, and the measurements."""
    model, lines = learner.model, progress.lines
    repeats = deterministic_result(learner, progress, scores, diverged_at, probes)
    digest_of = {
        "trial": trial.as_json(),
        "result": repeats.deterministic(),
        "epochs": [line.without_times() for line in lines],
        "flips": _sha256(flips_of_all_steps(learner, progress)),
        "weights": weights_sha256(model),
    }
    if repeats.damaged_images:
        count, first = len(repeats.damaged_images), repeats.damaged_images[0]
        progress.notes.append(f"{count} images could not be decoded and were plain grey, first {first}")
    steps = [1000 * line.train_seconds / (line.step / line.epoch) for line in lines]
    return dataclasses.replace(
        repeats,
        digest=digest(digest_of),
        seconds=progress.seconds,
        step_milliseconds=statistics.median(steps) if steps else None,
        peak_memory_bytes=peak_memory(next(model.parameters()).device),
    )


def deterministic_result(
    learner: Learner,
    progress: Progress,
    scores: Scores,
    diverged_at: int | None,
    probes: Mapping[str, Found],
) -> Result:
    """The part of a result that the same trial gives again, bit for bit; the rest are measurements."""
    flips, lines = learner.flips, progress.lines
    binary = sum(flips.weights)
    stored = sum(layer.weight.nbytes for _, layer in binary_layers(learner.model))
    return Result(
        status="done" if diverged_at is None else "diverged",
        epochs=len(lines),
        steps=lines[-1].step if lines else 0,
        scores=scores,
        layers=[
            Layer(name=name, weights=weights)
            for name, weights in zip(flips.names, flips.weights, strict=True)
        ],
        binary_weights=binary,
        real_parameters=sum(p.numel() for group in learner.real.param_groups for p in group["params"]),
        bytes_per_binary_weight=BytesPerWeight(
            stored=stored / binary,
            optimizer=sum(tensor.nbytes for tensor in state_tensors(learner.weights)) / binary,
        ),
        diverged_at_step=diverged_at,
        damaged_images=sorted(progress.damaged),
        probes={name: dict(found) for name, found in probes.items()},
    )


def flips_of_all_steps(learner: Learner, progress: Progress) -> Tensor:
    """The flips of each step of the finished epochs, int32 (steps, layers)."""
    none = torch.zeros(0, len(learner.flips.names), dtype=torch.int32)
    return torch.cat(progress.flips_per_step) if progress.flips_per_step else none


def weights_sha256(model: nn.Module) -> str:
    """A hash of all effective binary weights and all real parameters."""
    tensors = [layer.binary_weight() > 0 for _, layer in binary_layers(model)]
    stored = {id(layer.weight) for _, layer in binary_layers(model)}
    return _sha256(*tensors, *(p.detach() for p in model.parameters() if id(p) not in stored))


def _sha256(*tensors: Tensor) -> str:
    content = hashlib.sha256()
    for tensor in tensors:
        content.update(tensor.cpu().contiguous().numpy().tobytes())
    return content.hexdigest()

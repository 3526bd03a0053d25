"""Scores of a network on a set of images, and batch-norm statistics re-estimated for fixed weights."""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from suite.data import Batch, ImageSet
from suite.machine.precision import autocast
from suite.machine.preemption import unless_stopped
from suite.models.blocks.layers import binary_layers, is_scaled_signs
from suite.records.schema import EpochLine, Scores
from suite.training.ranks import ALONE, Ranks, collect_in_turn


@torch.no_grad()
def assert_binary(model: nn.Module) -> None:
    """AssertionError, with the layer's name, unless every binary layer computes with -1 and +1 alone.

    One positive scale for each output is allowed, as XNOR-Net has it: batch norm can take it in. The layers
    of a control that does not binarize are left out.
    """
    for name, layer in binary_layers(model):
        assert not layer.binary or is_scaled_signs(layer.deploy(layer.weight)), (
            f"{name} computes with weights that are not -1/+1"
        )


class PartScores(NamedTuple):
    """Mean loss in nats, top-1 and top-5 as fractions, of one part of a data set."""

    loss: float
    top1: float
    top5: float


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: ImageSet,
    precision: str = "float32",
    ranks: Ranks = ALONE,
    damaged: set[str] | None = None,
) -> tuple[PartScores, Tensor]:
    """The scores of a network on images, and which of them are classified correctly, bool (N,), on the CPU.

    Every image counts once, for any batches, which several processes take in turn. The model is left in
    evaluation mode; the names of images that cannot be decoded are added to `damaged`.
    """
    model.eval()
    assert_binary(model)
    device = next(model.parameters()).device
    loss, top1, top5 = [], [], []
    damaged = set() if damaged is None else damaged
    for x, labels in until_stopped(images.eval_batches(device, damaged, ranks.rank, ranks.count), ranks):
        with autocast(x.device, precision):
            logits = model(x).float()
        loss.append(F.cross_entropy(logits, labels, reduction="sum"))
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        top1.append(best[:, 0])
        top5.append(best.any(1))
    loss, top1, top5 = (
        collect_in_turn([of_batch.cpu() for of_batch in each], ranks) for each in (loss, top1, top5)
    )
    correct, count = torch.cat(top1), len(images)
    return (
        PartScores(
            float(torch.stack(loss).sum()) / count,
            int(correct.sum()) / count,
            int(torch.cat(top5).sum()) / count,
        ),
        correct,
    )


def until_stopped(batches: Iterable[Batch], ranks: Ranks) -> Iterable[Batch]:
    """The batches, until this process is asked to stop.

    Several processes go on: one that left would leave the others waiting for it. They agree to stop between
    two training steps, and once more before the last scores.
    """
    return unless_stopped(batches) if ranks.count == 1 else batches


def chance(classes: int) -> PartScores:
    """The scores of guessing, which a run that diverged gets."""
    return PartScores(float(torch.tensor(float(classes)).log()), 1 / classes, min(5, classes) / classes)


def validation_of(line: EpochLine) -> PartScores:
    """The validation scores at the end of an epoch."""
    return PartScores(line.val_loss, line.val_top1, line.val_top5)


def scores_of(val: PartScores, test: PartScores | None = None) -> Scores:
    """The scores of a run as its record holds them."""
    scores = Scores(val_loss=val.loss, val_top1=val.top1, val_top5=val.top5)
    if test is None:
        return scores
    return replace(scores, test_loss=test.loss, test_top1=test.top1, test_top5=test.top5)


@torch.no_grad()
def reestimate_batch_norm(
    model: nn.Module, batches: Iterable[Batch], precision: str = "float32", ranks: Ranks = ALONE
) -> None:
    """Measure batch norm's statistics again, as plain averages over these batches (rebuttal, line 8).

    Several processes average over the batches of each, then over each other.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    model.eval()  # all but batch norm: the weights must be those of the evaluation
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # for torch, a plain average
        norm.train()
    for x, _ in until_stopped(batches, ranks):
        with autocast(x.device, precision):
            model(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        for statistics in (norm.running_mean, norm.running_var):
            if statistics is not None:
                statistics.copy_(ranks.mean(statistics))
    model.eval()

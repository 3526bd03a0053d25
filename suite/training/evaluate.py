"""Scores of a network on a set of images, and batch-norm statistics re-estimated for fixed weights."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from suite.data.batches import Batch
from suite.data.feed import evaluation_batches
from suite.data.stored import AnyImages
from suite.machine.preemption import unless_stopped
from suite.models.blocks.layers import binary_layers
from suite.training.precision import autocast
from suite.training.ranks import ALONE, Ranks, in_turn


@torch.no_grad()
def assert_binary(model: nn.Module) -> None:
    """AssertionError, with the layer's name, unless every binary layer computes with -1 and +1 alone.

    One positive scale for each output is allowed, as XNOR-Net has it: batch norm can take it in. The layers
    of a control that does not binarize are left out.
    """
    for name, layer in binary_layers(model):
        size = layer.deploy(layer.weight).abs().flatten(1)
        assert not layer.binary or bool((size == size[:, :1]).all() and (size > 0).all()), (
            f"{name} computes with weights that are not -1/+1"
        )


@torch.no_grad()
def evaluate(
    model: nn.Module,
    images: AnyImages,
    part: str,
    precision: str = "float32",
    ranks: Ranks = ALONE,
    damaged: set[str] | None = None,
) -> tuple[dict[str, float], Tensor]:
    """Mean loss in nats, top-1 and top-5 as fractions, keyed `<part>_loss` ...; and which images are right.

    Every image counts once, whatever the batches, which several processes take in turn. The second value is a
    bool tensor (N,) on the CPU. The model is left in evaluation mode; the names of images that cannot be
    decoded are added to `damaged`.
    """
    model.eval()
    assert_binary(model)
    device = next(model.parameters()).device
    loss, top1, top5 = [], [], []
    damaged = set() if damaged is None else damaged
    for x, labels in unless_stopped(evaluation_batches(images, device, damaged, ranks.rank, ranks.count)):
        with autocast(x.device, precision):
            logits = model(x).float()
        loss.append(F.cross_entropy(logits, labels, reduction="sum"))
        best = logits.topk(min(5, logits.shape[1]), dim=1).indices == labels[:, None]
        top1.append(best[:, 0])
        top5.append(best.any(1))
    loss, top1, top5 = (in_turn([of_batch.cpu() for of_batch in each], ranks) for each in (loss, top1, top5))
    right = torch.cat(top1)
    count = len(images.labels)
    scores = {
        f"{part}_loss": float(torch.stack(loss).sum()) / count,
        f"{part}_top1": int(right.sum()) / count,
        f"{part}_top5": int(torch.cat(top5).sum()) / count,
    }
    return scores, right


def chance(classes: int, part: str) -> dict[str, float]:
    """What guessing scores: the scores of a run that diverged."""
    return {
        f"{part}_loss": float(torch.tensor(float(classes)).log()),
        f"{part}_top1": 1 / classes,
        f"{part}_top5": min(5, classes) / classes,
    }


@torch.no_grad()
def reestimate_batch_norm(
    model: nn.Module, batches: Iterable[Batch], precision: str = "float32", ranks: Ranks = ALONE
) -> None:
    """Batch norm's statistics anew, as plain averages over these batches; weights stay (rebuttal, l. 8).

    Several processes average over the batches of each, then over each other.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [norm.momentum for norm in norms]
    model.eval()  # all but batch norm: the weights must be those of the evaluation
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's word for a plain average
        norm.train()
    for x, _ in unless_stopped(batches):
        with autocast(x.device, precision):
            model(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        for statistics in (norm.running_mean, norm.running_var):
            if statistics is not None:
                statistics.copy_(ranks.mean(statistics))
    model.eval()

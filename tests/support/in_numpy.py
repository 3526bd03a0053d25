"""The planted network of tests.support.probed once more, in numpy and float64."""

from typing import Any

import numpy as np
from torch import nn

from suite.models.blocks.layers import binary_layers
from suite.probes.probe import Trained

Norm = tuple[np.ndarray, np.ndarray]  # mean and variance


def latents(model: nn.Module) -> list[np.ndarray]:
    return [layer.weight.detach().numpy().astype(float) for _, layer in binary_layers(model)]


def kept(model: Any) -> list[Norm]:
    return [(model[n].running_mean.numpy() * 1.0, model[n].running_var.numpy() * 1.0) for n in (2, 5)]


def forward(model: Any, weights: list[np.ndarray], norms: list[Norm], x: np.ndarray, depth: int = 2) -> Any:
    """The logits (N, classes), or with depth 0 or 1 the sums before that batch norm."""
    for n, (weight, (mean, variance)) in enumerate(zip(weights, norms, strict=False)):
        sums = x @ weight.T
        if n == depth:
            return sums
        norm = model[(2, 5)[n]]
        x = (sums - mean) / np.sqrt(variance + norm.eps) + norm.bias.detach().numpy()
        if n == 0:
            x = np.where(x >= 0, 1.0, -1.0)
    return x


def reestimated(model: Any, weights: list[np.ndarray], trained: Trained) -> list[Norm]:
    """Of each batch norm: the plain averages over the batches of the mean and of the unbiased variance.

    While it measures, a batch norm normalises with the mean and the biased variance of its own batch.
    """
    batches = [x.flatten(1).numpy().astype(float) for x, _ in trained.batches()]
    first = [x @ weights[0].T for x in batches]
    norms = [[(sums.mean(0), sums.var(0)), (np.zeros(1), np.ones(1))] for sums in first]
    second = [forward(model, weights, own, x, 1) for own, x in zip(norms, batches, strict=True)]
    return [
        (np.mean([each.mean(0) for each in sums], 0), np.mean([each.var(0, ddof=1) for each in sums], 0))
        for sums in (first, second)
    ]


def score(model: Any, weights: list[np.ndarray], norms: list[Norm], images: Any) -> tuple[float, float]:
    """Mean loss in nats, and top-1."""
    logits = forward(model, weights, norms, images.pixels.reshape(len(images), -1).numpy() / 127.5 - 1.0)
    labels = images.labels.numpy()
    top1 = (logits.argmax(1) == labels).mean()
    logits = logits - logits.max(1, keepdims=True)
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(labels)), labels]
    return float(losses.mean()), float(top1)

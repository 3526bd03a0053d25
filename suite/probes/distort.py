"""Distortions of the trained binary weights: how much of the accuracy is in the signs?

Merolla et al. 2016 (https://arxiv.org/abs/1606.01981) find that networks trained with binary weights are
robust to other distortions of the weights. Each is applied to all binary layers at once, and has the mean
magnitude of each layer's weights, so that batch norm with kept statistics sees no other scale.
"""

import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

from optimizers.core.checks import check_positive
from suite.machine.random_keys import generator
from suite.models.blocks.layers import binary_layers
from suite.probes.probe import STATISTICS, Found, Trained, probe, scored_images
from suite.probes.weights import compute_with, has_latents
from suite.records.schema import DataSizes

Distortion = Callable[[Tensor, torch.Generator], Tensor]  # of the deployed weight of a layer

PERCENT = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
LEVELS = (2, 4, 8, 16)


def _images(sizes: DataSizes, draws: int) -> int:
    return ((len(PERCENT) + 2) * draws + len(LEVELS)) * (2 * scored_images(sizes) + sizes.train)


DISTORTIONS = [*(f"flip{p:g}" for p in PERCENT), "uniform", "normal", *(f"levels{k}" for k in LEVELS)]
NUMBERS = [  # those of latent weights, too, which not every method has
    f"{part}_top1.{statistics}.{name}"
    for name in DISTORTIONS
    for statistics in STATISTICS
    for part in ("val", "test")
]


@probe(images=_images, numbers=NUMBERS, check=check_positive)
def distort(trained: Trained, *, draws: int = 3) -> Found:
    """Top-1 with some signs flipped, with random magnitudes, and with the latent weights in a few levels.

    flip<p>: p % of the weights of each layer, drawn without replacement, change their sign. uniform: each
    weight times a draw from [0.5, 1.5]. normal: times |z| / sqrt(2/π) with z from N(0, 1), whose mean is 1.
    Each is the mean of `draws` draws. levels<k>: the stored latent weights, where there are any, rounded to
    the nearest of k evenly spaced levels from -max|w| to max|w| of their layer; two levels leave the sign.
    Each is scored with the statistics of batch norm kept, and re-estimated over one epoch. Keys:
    val_top1.kept.flip0.5, test_top1.reestimated.levels4 and so on.
    """
    drawn: dict[str, Distortion] = {f"flip{percent:g}": _flipping(percent / 100.0) for percent in PERCENT}
    drawn |= {"uniform": times_uniform, "normal": times_normal}
    found = Found()
    for name, distortion in drawn.items():
        each = [distorted(trained, name, distortion, draw) for draw in range(draws)]
        found |= {f"{key}.{name}": statistics.fmean(one[key] for one in each) for key in each[0]}
    if any(has_latents(layer) for _, layer in binary_layers(trained.network())):
        for levels in LEVELS:
            found |= {f"{key}.levels{levels}": top1 for key, top1 in rounded(trained, levels).items()}
    return found


def distorted(trained: Trained, name: str, distortion: Distortion, draw: int) -> dict[str, float]:
    """Top-1 of one draw; every layer draws from a generator of its own."""
    network = trained.network()
    for layer_name, layer in binary_layers(network):
        draws = generator(trained.seed, "probe", "distort", name, draw, layer_name)
        weight = layer.deploy(layer.weight).detach()
        compute_with(layer, distortion(weight.cpu(), draws).to(weight.device))
    return _scores(trained, network)


def rounded(trained: Trained, levels: int) -> dict[str, float]:
    """Top-1 with the latent weights in so many levels."""
    network = trained.network()
    for _, layer in binary_layers(network):
        weight = to_levels(layer.weight.detach(), levels)
        size = layer.deploy(layer.weight).detach().abs().mean()
        compute_with(layer, weight * (size / weight.abs().mean().clamp(min=torch.finfo(weight.dtype).tiny)))
    return _scores(trained, network)


def _scores(trained: Trained, network: torch.nn.Module) -> dict[str, float]:
    found = {}
    for kind in STATISTICS:
        if kind == "reestimated":
            trained.reestimate(network)
        found[f"val_top1.{kind}"] = trained.score(network, trained.data.val).top1
        found[f"test_top1.{kind}"] = trained.score(network, trained.data.test).top1
    return found


def flip(weight: Tensor, share: float, draws: torch.Generator) -> Tensor:
    """The weight with this share of its signs changed, rounded to whole weights."""
    chosen = torch.randperm(weight.numel(), generator=draws)[: round(share * weight.numel())]
    factors = torch.ones(weight.numel())
    factors[chosen] = -1.0
    return weight * factors.view(weight.shape)


def _flipping(share: float) -> Distortion:
    return lambda weight, draws: flip(weight, share, draws)


def times_uniform(weight: Tensor, draws: torch.Generator) -> Tensor:
    """Each weight times a number from [0.5, 1.5]."""
    return weight * (0.5 + torch.rand(weight.shape, generator=draws))


def times_normal(weight: Tensor, draws: torch.Generator) -> Tensor:
    """Each weight times |z| / sqrt(2/π), with z from the standard normal distribution: 1 on average."""
    return weight * torch.randn(weight.shape, generator=draws).abs() / math.sqrt(2.0 / math.pi)


def to_levels(weight: Tensor, levels: int) -> Tensor:
    """Each weight at the nearest of the evenly spaced levels from -max|w| to max|w|, of two the upper one."""
    largest = weight.abs().max()
    step = (2.0 * largest / (levels - 1)).clamp(min=torch.finfo(weight.dtype).tiny)
    return torch.floor((weight + largest) / step + 0.5) * step - largest

"""The optimizer's step and the count of flips on many weights, against the bandwidth of memory."""

import shutil
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.naive import NaiveBop
from bench.parts.limits import bandwidth, copy
from bench.race import Bench, Row
from optimizers import METHODS
from optimizers.bop import bop_update
from suite.models.blocks.layers import BinaryLayer
from suite.training.flips import FlipCounter

# BinaryNet's tensors on CIFAR-10 at width 1, with the wider first dense layer of padded images: 14 M weights.
SHAPES = [
    (128, 3, 3, 3),
    (128, 128, 3, 3),
    (256, 128, 3, 3),
    (256, 256, 3, 3),
    (512, 256, 3, 3),
    (512, 512, 3, 3),
    (1024, 8192),
    (1024, 1024),
    (10, 1024),
]
SMALL = [(8, 3, 3, 3), (16, 72), (10, 16)]

# Bytes that must move for each weight: weight and averages are read and written, the gradient is read.
# For the flips the weight is read, and its sign (one byte) is read and written.
BYTES = {"bop": 20, "latent-sgd": 12, "latent-momentum": 20, "latent-adam": 28, "flips": 6}


def tensors(bench: Bench) -> list[Tensor]:
    """Random weights in [-1, 1] in the layout of training: convolutions are channels-last."""
    found = []
    for shape in SMALL if bench.quick else SHAPES:
        tensor = torch.rand(shape, device=bench.device) * 2 - 1
        layout = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        found.append(tensor.contiguous(memory_format=layout))
    return found


def with_gradients(bench: Bench, start: Callable[[Tensor], Tensor]) -> list[nn.Parameter]:
    """Parameters with gradients so small that the weights hardly change."""
    weights = [nn.Parameter(start(tensor)) for tensor in tensors(bench)]
    for weight, gradient in zip(weights, tensors(bench), strict=True):
        weight.grad = gradient * 1e-9
    return weights


def optimizer_step(bench: Bench, method: str) -> Callable[[], object]:
    """The step of a registered method at its defaults; a latent one clips."""
    rule = METHODS[method]()
    return rule.optimizer(with_gradients(bench, rule.start)).step


def plain_bop(bench: Bench) -> Callable[[], object]:
    return NaiveBop(list(with_gradients(bench, torch.sign)), 1e-4, 1e-8).step


def compiled_bop(bench: Bench) -> Callable[[], object]:
    """The plain rule under torch.compile, which needs a C++ compiler and seconds to start."""
    weights = with_gradients(bench, torch.sign)
    averages = [torch.zeros_like(weight) for weight in weights]
    gradients = [gradient * 1e-9 for gradient in tensors(bench)]

    def update(weight: Tensor, average: Tensor, gradient: Tensor) -> None:
        new_weight, new_average = bop_update(weight, average, gradient, 1e-4, 1e-8)
        weight.copy_(new_weight)
        average.copy_(new_average)

    compiled = torch.compile(update, dynamic=True)

    @torch.no_grad()
    def step() -> None:
        for weight, average, gradient in zip(weights, averages, gradients, strict=True):
            compiled(weight.data, average, gradient)

    return step


def flip_count(bench: Bench) -> Callable[[], object]:
    """The count after a step in which a few weights have flipped; they flip back in the next."""
    rule = METHODS["bop"]()
    layers = [BinaryLayer(rule, *tensor.shape) for tensor in tensors(bench)]
    model = nn.Sequential(*layers).to(bench.device)
    for layer, tensor in zip(layers, tensors(bench), strict=True):
        layer.weight.data = torch.where(tensor >= 0, 1.0, -1.0)
    counter = FlipCounter(model, bench.device)

    def count() -> None:
        for layer in layers:
            layer.weight.data[:: max(1, len(layer.weight) // 8), :1].neg_()
        counter.count()

    return count


def measure(bench: Bench) -> list[Row]:
    """Milliseconds for all weights, the ratio to plain Bop, and the share of a copy's bandwidth."""
    variants = {"copy": copy(bench), "plain bop": plain_bop(bench)}
    variants |= {method: optimizer_step(bench, method) for method in BYTES if method != "flips"}
    variants["flips"] = flip_count(bench)
    if not bench.quick and shutil.which("g++"):
        variants["compiled bop"] = compiled_bop(bench)
    race = bench.race("optimizer", variants)
    count = sum(tensor.numel() for tensor in tensors(bench))
    case = f"{count / 1e6:.1f} M weights"
    rows = []
    for name in variants:
        moved = (
            8 if name == "copy" else BYTES[name.removeprefix("plain ").removeprefix("compiled ")]
        ) * count
        row = Row("optimizer", case, name, 1000 * race.median(name), "ms", race.rounds)
        if name.endswith("bop"):
            row = row._replace(baseline="plain bop", ratio=race.faster(name, "plain bop"))
        if name != "copy":
            share = moved / race.median(name) / bandwidth(bench, race)
            row = row._replace(limit="copy", share=share)
        rows.append(row)
    return rows

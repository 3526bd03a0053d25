"""A trained network as a probe gets it: two binary layers with batch norm, planted, on a few images."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor, nn

from optimizers.core import WeightRule, sign
from suite.data import Images, Splits
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.probes.probe import Scored, Trained
from suite.records.schema import DataRecord
from suite.training.evaluate import evaluate, reestimate_batch_norm

CLASSES, SIDE, IMAGES = 3, 4, 60


def planted(deploy: Callable[[Tensor], Tensor] = sign, seed: int = 1) -> nn.Module:
    """A network of 16, 8 and 3 units whose latents are normal numbers, its statistics those of `images`."""
    rule = WeightRule(start=torch.randn_like, read=deploy, optimizer=torch.optim.SGD)
    return MODELS["mlp"]((1, SIDE, SIDE), CLASSES, rule, seed, hidden=(8,)).eval()


def images(seed: int, labelled_by: nn.Module | None = None) -> Images:
    """Random images; their classes are random, or those that a network gives them."""
    draws = torch.Generator().manual_seed(seed)
    pixels = torch.randint(0, 256, (IMAGES, 1, SIDE, SIDE), generator=draws, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (IMAGES,), generator=draws)
    made = Images(pixels, labels)
    if labelled_by is not None:
        with torch.no_grad():
            batches = list(made.eval_batches(torch.device("cpu"), set()))
            made = Images(pixels, torch.cat([labelled_by(x).argmax(1) for x, _ in batches]))
    return made


def trained(model: nn.Module, seed: int = 5) -> Trained:
    """The network, its statistics re-estimated, on images that it classifies without an error."""
    first = images(1)
    batches = list(first.eval_batches(torch.device("cpu"), set()))
    halves = [(x[part::2], y[part::2]) for x, y in batches for part in (0, 1)]
    reestimate_batch_norm(model, halves)
    train, val, test = (images(number, model) for number in (1, 2, 3))
    halves = [(x[part::2], train.labels[part::2]) for x, _ in batches for part in (0, 1)]
    record = DataRecord(
        name="planted", options={}, classes=CLASSES, train=IMAGES, val=IMAGES, test=IMAGES,
        shape=[1, SIDE, SIDE], sha256="", validation_index=[], validation_index_sha256="",
    )  # fmt: skip
    return Trained(
        network=lambda: copy.deepcopy(model),
        data=Splits(train, val, CLASSES, record, test),
        flips=torch.arange(8, dtype=torch.int32).reshape(4, 2),
        seed=seed,
        precision="float32",
        batches=lambda: iter(halves),
        score=lambda network, some: Scored(*evaluate(network, some)[0][:2]),
        reestimate=lambda network: reestimate_batch_norm(network, iter(halves)),
    )


def layers_of(model: nn.Module) -> list[Tensor]:
    """The stored tensors of the binary layers."""
    return [layer.weight.detach() for _, layer in binary_layers(model)]

"""A run against the same training written out plainly: everything that a trial says arrives in every step.

The network, the pseudo-gradient and the draws of a key are the suite's, and have tests of their own. All that
joins them is written here once more, as a reader of docs/protocol.md would write it.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from optimizers import METHODS
from optimizers.bop import bop_update
from suite.data import Images
from suite.data.memory import augmentation_draws
from suite.machine.random_keys import generator
from suite.models import MODELS
from suite.models.blocks.layers import binary_layers
from suite.records.run import RunFolder
from suite.records.trial import Choice
from suite.training.loop import train
from tests.support.tiny import CPU, all_splits, in_memory, tiny_trial

EPOCHS, BATCH, HIDDEN = 3, 60, 12
GAMMA, THRESHOLD, REAL_LR = 0.1, 1e-4, 0.03


class Epoch(NamedTuple):
    train_loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    flips: int


def as_floats(pixels: Tensor) -> Tensor:
    return pixels.float() / 127.5 - 1


def cropped(image: Tensor, corner: Tensor, mirrored: Tensor) -> Tensor:
    """An image (1, 8, 8) inside a frame of one black pixel, cut at the corner, mirrored or not."""
    framed = torch.zeros(1, 10, 10, dtype=torch.uint8)
    framed[:, 1:9, 1:9] = image
    top, left = corner.tolist()
    window = framed[:, top : top + 8, left : left + 8]
    return window.flip(-1) if bool(mirrored) else window


def batches(images: Images, seed: int, epoch: int, augment: bool) -> Iterator[tuple[Tensor, Tensor]]:
    """Full batches of the epoch's own order, each image with the crop of its epoch."""
    count = len(images.labels)
    order = torch.randperm(count, generator=generator(seed, "order", epoch))
    corners, mirrored = augmentation_draws(count, 1, seed, epoch)
    for begin in range(0, count - BATCH + 1, BATCH):
        chosen = order[begin : begin + BATCH].tolist()
        drawn = [
            cropped(images.pixels[n], corners[n], mirrored[n]) if augment else images.pixels[n]
            for n in chosen
        ]
        yield as_floats(torch.stack(drawn)), images.labels[chosen]


@torch.no_grad()
def scores(model: nn.Module, images: Images) -> tuple[float, float]:
    model.eval()
    logits = model(as_floats(images.pixels))
    right = logits.argmax(1) == images.labels
    return float(F.cross_entropy(logits, images.labels)), float(right.float().mean())


def plain(seed: int, augment: bool, reestimate: bool) -> tuple[list[Epoch], tuple[float, float], float]:
    """The epochs, the last scores on validation, and the accuracy on the test images."""
    splits = all_splits(Choice("digits", {"validation": 0.2, "train_limit": 200}))
    images, val, test = (in_memory(part) for part in (splits.train, splits.val, splits.test))
    rule = METHODS["bop"](gamma=GAMMA, threshold=THRESHOLD)
    model = MODELS["mlp"]((1, 8, 8), 10, rule, seed, **{**MODELS["mlp"].options, "hidden": (HIDDEN,)})
    binary = [layer.weight for _, layer in binary_layers(model)]
    real = [param for param in model.parameters() if all(param is not weight for weight in binary)]
    adam = torch.optim.Adam(real, eps=1e-7)
    averages = [torch.zeros_like(weight) for weight in binary]
    steps, step, epochs = EPOCHS * (len(images.labels) // BATCH), 0, list[Epoch]()
    for epoch in range(1, EPOCHS + 1):
        model.train()
        losses, right, flips = [], 0, 0
        for x, labels in batches(images, seed, epoch, augment):
            progress = step / steps
            gamma = GAMMA * 0.5 * (1 + math.cos(math.pi * progress))
            adam.param_groups[0]["lr"] = REAL_LR * (1 - progress)
            logits = model(x)
            loss = F.cross_entropy(logits, labels)
            model.zero_grad()
            loss.backward()
            for n, weight in enumerate(binary):
                assert weight.grad is not None
                new, averages[n] = bop_update(weight.detach(), averages[n], weight.grad, gamma, THRESHOLD)
                flips += int((new != weight).sum())
                weight.data.copy_(new)
            adam.step()
            losses.append(float(loss.detach()))
            right += int((logits.argmax(1) == labels).sum())
            step += 1
        epochs.append(
            Epoch(sum(losses) / len(losses), right / (BATCH * len(losses)), *scores(model, val), flips)
        )
    if reestimate:
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # torch's plain average
        model.train()
        with torch.no_grad():
            for x, _ in batches(images, seed, EPOCHS + 1, augment):
                model(x)
    return epochs, scores(model, val), scores(model, test)[1]


@pytest.mark.parametrize(
    ("seed", "augment", "reestimate"), [(7, "none", False), (8, "none", True), (7, "crop-flip", False)]
)
def test_a_run_is_the_training_that_its_trial_describes(
    tmp_path: Path, seed: int, augment: str, reestimate: bool
) -> None:
    bop = f"{{name: bop, gamma: {{cosine: [{GAMMA}, 0.0]}}, threshold: {THRESHOLD}}}"
    trial = tiny_trial(
        tmp_path,
        "bop",
        "final",
        seed,
        f"methods=[{bop}]",
        f"tasks.0.model={{name: mlp, hidden: [{HIDDEN}]}}",
        f"real={{lr: {{linear: [{REAL_LR}, 0.0]}}}}",
        f"train={{epochs: {EPOCHS}, batch_size: {BATCH}, augment: {augment}}}",
        *(["train.reestimate_batch_norm=true"] if reestimate else []),
    )
    run = RunFolder(tmp_path / "run")
    result = train(trial, run, CPU)
    epochs, (val_loss, val_top1), test_top1 = plain(seed, augment == "crop-flip", reestimate)
    for line, expected in zip(run.epochs(result), epochs, strict=True):
        assert line.train_loss == pytest.approx(expected.train_loss, rel=1e-5)
        assert line.val_loss == pytest.approx(expected.val_loss, rel=1e-5)
        assert line.train_top1 == pytest.approx(expected.train_top1)
        assert line.val_top1 == pytest.approx(expected.val_top1)
        assert sum(line.flips.flips) == expected.flips > 0
    assert (result.scores.val_top1, result.scores.test_top1) == pytest.approx((val_top1, test_top1))
    assert result.scores.val_loss == pytest.approx(val_loss, rel=1e-5)

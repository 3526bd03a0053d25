"""The trained network with its latent weights, by degrees, in place of the binary ones.

Section 3 of "Latent Weights Do Not Exist" deploys the latent weights of a trained network, with the
activations still binary, and finds an accuracy that is comparable or lower, also after the statistics of
batch norm are measured again. This probe deploys w_b = (1 - b) d + b c w for b from 0 to 1: d is the weight
that the method deploys, w the stored one, and c = mean |d| / mean |w| of the layer.

The choice of scale: where d is sign(w), this is (1 - b) s sign(w) + b w with s = mean |w|, divided by s.
Batch norm takes in one number for a whole layer if its statistics are measured again, and not if they are
those of the training. So the scale is that of the training: b = 0 is the trained network itself, to the bit,
and what is seen at b > 0 is the direction of the weights, not a scale that no statistics fit. Where the
method deploys a scale for each output, as XNOR-Net does, d contains it.
"""

import hashlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from optimizers.core import clear_gradients, run_step
from optimizers.core.checks import check_rates
from suite.data import ImageSet
from suite.data.splits import stratified_index
from suite.machine.precision import autocast
from suite.machine.preemption import unless_stopped
from suite.machine.random_keys import numbered_keys, seed_draws
from suite.models.blocks.layers import BinaryLayer, binary_layers
from suite.probes.probe import Found, Trained, probe, scored_images
from suite.probes.weights import compute_with
from suite.records.schema import DataSizes

DEGREES = (0.0, 0.25, 0.5, 0.75, 1.0)
TRAIN_IMAGES = 10_000  # of the training images at most so many are scored


def _images(sizes: DataSizes, lr: float) -> int:
    scored = scored_images(sizes) + min(TRAIN_IMAGES, sizes.train)
    return len(DEGREES) * (3 * scored + 3 * sizes.train)


NUMBERS = [
    f"{part}_top1.{statistics}.b{b:g}"
    for b in DEGREES
    for statistics in ("kept", "reestimated", "affine")
    for part in ("train", "val", "test")
]


@probe(images=_images, numbers=NUMBERS, check=check_rates, needs_latents=True)
def interpolate(trained: Trained, *, lr: float = 1e-3) -> Found:
    """Top-1 with the weights by degrees b between the binary (b = 0) and the latent ones (b = 1).

    Each degree is scored three times: with the statistics of batch norm kept; re-estimated over one epoch;
    and re-estimated after the scale and shift of every norm were trained for one epoch by Adam at the fixed
    rate `lr`. The weights stay fixed. train: at most 10,000 training images without augmentation, the same
    ones for every run on a data set; train_sample is a hash of their positions. Keys:
    train_top1.kept.b0.25, test_top1.reestimated.b1, val_top1.affine.b0.5 and so on.
    """
    some, sample = some_of_train(trained)
    found = Found(train_sample=sample)
    parts = {"train": some, "val": trained.data.val, "test": trained.data.test}

    def score(network: nn.Module, statistics: str, b: float) -> None:
        for part, images in parts.items():
            found[f"{part}_top1.{statistics}.b{b:g}"] = trained.score(network, images).top1

    for b in DEGREES:
        network = trained.network()
        for _, layer in binary_layers(network):
            if b > 0.0:  # at 0 the network is the trained one, to the bit
                compute_with(layer, between(layer, b))
        score(network, "kept", b)
        trained.reestimate(network)
        score(network, "reestimated", b)
        train_affine(network, trained, lr)
        trained.reestimate(network)
        score(network, "affine", b)
    return found


@torch.no_grad()
def between(layer: BinaryLayer, b: float) -> Tensor:
    """The weight at degree b: (1 - b) d + b c w."""
    latent = layer.weight
    deployed = layer.deploy(latent)
    scale = deployed.abs().mean() / latent.abs().mean().clamp(min=torch.finfo(latent.dtype).tiny)
    return (1.0 - b) * deployed + b * scale * latent


def train_affine(network: nn.Module, trained: Trained, lr: float) -> None:
    """One epoch of Adam, as for the real parameters, on the scales and shifts of all norms alone."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm | nn.GroupNorm)]
    affine = [p for norm in norms for p in norm.parameters(recurse=False) if p.requires_grad]
    if not affine:
        return
    network.requires_grad_(False)
    for parameter in affine:
        parameter.requires_grad_(True)
    adam = torch.optim.Adam(affine, lr, eps=1e-7, foreach=True)
    network.train()
    for _, layer in binary_layers(network):
        compute_with(layer, layer.deploy(layer.weight))  # a method may read another weight in training
    for step, (x, labels) in enumerate(unless_stopped(trained.batches())):
        seed_draws(x.device, numbered_keys(trained.seed, "probe", "interpolate")(step))
        clear_gradients(adam)
        with autocast(x.device, trained.precision):
            loss = F.cross_entropy(network(x), labels)
        loss.backward()
        run_step(adam)
    network.eval()


def some_of_train(trained: Trained) -> tuple[ImageSet, str]:
    """At most TRAIN_IMAGES training images, the classes in their shares, and a hash of their positions.

    They depend on the data set alone.
    """
    train, name = trained.data.train, trained.data.record.name
    count = min(TRAIN_IMAGES, len(train))
    index = stratified_index(train.labels.cpu(), count, name, "probe")
    images = train if count == len(train) else train.subset(index.to(train.labels.device))
    return images, hashlib.sha256(str(index.tolist()).encode()).hexdigest()

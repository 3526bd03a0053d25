"""The probe `interpolate`: against numpy, at its ends, and on planted networks."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from optimizers.core import sign
from optimizers.core.latent.transforms import scaled_sign
from suite.models.blocks.layers import binary_layers
from suite.probes import PROBES
from suite.probes.interpolate import between, some_of_train, train_affine
from tests.support import in_numpy
from tests.support.probed import layers_of, planted, trained

PARTS = ("train", "val", "test")


def scaled(latent: np.ndarray, b: float) -> np.ndarray:
    """The paper's (1 - b) s sign(w) + b w, divided by s = mean |w|."""
    s = np.abs(latent).mean()
    return ((1 - b) * s * np.where(latent >= 0, 1.0, -1.0) + b * latent) / s


def test_every_degree_is_that_of_a_network_in_numpy() -> None:
    model = planted()
    subject = trained(model)
    found = PROBES["interpolate"](subject)
    assert len(found) == 5 * 3 * 3 + 1
    for b in (0.0, 0.25, 0.5, 0.75, 1.0):
        weights = [scaled(latent, b) for latent in in_numpy.latents(model)]
        for kind in ("kept", "reestimated"):
            norms = in_numpy.kept(model) if kind == "kept" else in_numpy.reestimated(model, weights, subject)
            for part in PARTS:
                _, top1 = in_numpy.score(model, weights, norms, getattr(subject.data, part))
                assert found[f"{part}_top1.{kind}.b{b:g}"] == pytest.approx(top1), (b, kind, part)
    assert found["val_top1.kept.b0"] == 1.0 != found["val_top1.reestimated.b1"]


def latent_network() -> Any:
    """The network that deploys its latent weights, each layer's mean magnitude 1."""
    model = planted()
    with torch.no_grad():
        for layer in layers_of(model):
            layer.div_(layer.abs().mean())
    for _, layer in binary_layers(model):
        layer.read = layer.deploy = lambda weight: weight
        layer.binary = False
    return model


def test_where_the_latents_are_right_more_of_them_is_better() -> None:
    subject = trained(latent_network())  # classes and statistics are those of the latent weights
    binary = planted()
    binary.load_state_dict(subject.network().state_dict())
    found = PROBES["interpolate"](trained_like(subject, binary))
    assert found["val_top1.kept.b1"] == found["test_top1.kept.b1"] == 1.0 != found["val_top1.kept.b0"]


def trained_like(subject: Any, model: nn.Module) -> Any:
    return dataclasses.replace(subject, network=lambda: copy.deepcopy(model))


@pytest.mark.parametrize("deploy", [sign, scaled_sign])
def test_the_ends_are_the_deployed_and_the_latent_weights(deploy: Any) -> None:
    layer = next(layer for _, layer in binary_layers(planted(deploy)))
    latent, deployed = layer.weight.detach(), deploy(layer.weight.detach())
    assert torch.equal(between(layer, 0.0), deployed)
    ratio = between(layer, 1.0) / latent
    assert ratio == pytest.approx(torch.full_like(ratio, float(ratio[0, 0])))
    assert float(between(layer, 1.0).abs().mean()) == pytest.approx(float(deployed.abs().mean()))


def test_the_scale_of_the_latents_does_not_matter() -> None:
    model = planted()
    subject = trained(model)
    found = PROBES["interpolate"](subject)
    with torch.no_grad():
        for layer in layers_of(model):
            layer.mul_(8.0)
    assert PROBES["interpolate"](subject) == found


def test_only_scales_and_shifts_are_trained_and_the_loss_falls() -> None:
    model = planted()
    subject = trained(model)
    network = subject.network()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    worse = subject.data.val
    loss = subject.score(network, worse).loss
    for _ in range(3):
        train_affine(network, subject, lr=0.05)
    assert not network.training
    subject.reestimate(network)
    changed = [name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])]
    assert [name for name in changed if "running" not in name and "tracked" not in name] == [
        "1.weight", "2.bias", "4.weight", "5.bias"
    ]  # fmt: skip
    assert torch.equal(network[1].weight, sign(before["1.weight"]))  # type: ignore[index]
    assert subject.score(network, subject.data.train).loss < loss


def test_the_affine_epoch_reads_the_deployed_weights() -> None:
    """A method may draw its weights in training, or read real ones there."""
    model = planted()
    for _, layer in binary_layers(model):
        layer.read = None  # type: ignore[assignment]
    train_affine(trained(model).network(), trained(model), lr=0.01)


def test_an_affine_epoch_is_adams() -> None:
    """One step by hand: Adam's first moves each shift by lr in the direction of its gradient."""
    model = planted()
    subject = trained(model)
    network = subject.network()
    one = list(subject.batches())[:1]
    train_affine(network, dataclasses.replace(subject, batches=lambda: iter(one)), lr=0.01)
    moved = network[5].bias.detach() - model[5].bias.detach()  # type: ignore[index, operator]
    assert moved.abs() == pytest.approx(torch.full((3,), 0.01), rel=1e-3)


def test_without_scales_and_shifts_nothing_is_trained() -> None:
    subject = trained(planted())
    network: Any = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    before = network[1].weight.clone()
    train_affine(network, subject, lr=0.01)
    assert torch.equal(network[1].weight, before)


def test_the_scored_training_images_are_few_fixed_and_of_all_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = trained(planted())
    assert some_of_train(subject)[0] is subject.data.train
    monkeypatch.setattr("suite.probes.interpolate.TRAIN_IMAGES", 20)
    (some, sample), (again, same) = some_of_train(subject), some_of_train(trained(planted(), seed=6))
    assert len(some) == 20 and some.labels.tolist() == again.labels.tolist() and sample == same
    shares = torch.bincount(subject.data.train.labels) * 20 / 60
    assert (torch.bincount(some.labels) - shares).abs().max() < 1

"""The probe `distort`: closed forms, and one number against numpy."""

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers.core import sign, stored_signs
from optimizers.core.latent.transforms import scaled_sign
from suite.machine.random_keys import generator
from suite.models.blocks.layers import binary_layers
from suite.probes import PROBES
from suite.probes.distort import distorted, flip, times_normal, times_uniform, to_levels
from tests.support import in_numpy
from tests.support.probed import layers_of, planted, trained


def draws(number: int = 0) -> torch.Generator:
    return generator("test", number)


def test_a_share_of_the_signs_flips_to_the_weight() -> None:
    weight = scaled_sign(torch.randn(7, 11, generator=draws()))
    for share, count in ((0.0, 0), (0.05, 4), (0.2, 15), (1.0, 77)):
        flipped = flip(weight, share, draws())
        assert int((flipped != weight).sum()) == count and torch.equal(flipped.abs(), weight.abs())
        assert torch.equal(flip(weight, share, draws()), flipped)
    assert torch.equal(flip(weight, 1.0, draws()), -weight)
    assert not torch.equal(flip(weight, 0.2, draws(1)), flip(weight, 0.2, draws(2)))


def test_every_weight_flips_as_often_as_another() -> None:
    weight, times = torch.ones(20), 4000
    flips = torch.stack([flip(weight, 0.25, draws(n)) < 0 for n in range(times)]).float().mean(0)
    sd = math.sqrt(0.25 * 0.75 / times)
    assert (flips - 0.25).abs().max() < 4.5 * sd


def test_magnitudes_have_the_mean_one_and_keep_the_sign() -> None:
    weight = torch.ones(200, 500)
    uniform, normal = times_uniform(weight, draws()), times_normal(weight, draws())
    assert uniform.min() >= 0.5 and uniform.max() < 1.5 and normal.min() >= 0
    moments = [(float(each.mean()), float(each.var())) for each in (uniform, normal)]
    assert moments == [
        pytest.approx((1.0, 1 / 12), abs=0.01),
        pytest.approx((1.0, math.pi / 2 - 1), abs=0.01),  # E z² / E|z|² - 1
    ]
    assert torch.equal(times_uniform(-weight, draws()), -uniform)


def test_levels_are_the_nearest_of_an_even_grid() -> None:
    weight = torch.randn(5, 9, generator=draws())
    largest = float(weight.abs().max())
    for levels in (2, 4, 8, 16):
        grid = np.linspace(-largest, largest, levels)
        nearest = grid[np.abs(weight.numpy()[..., None] - grid).argmin(-1)]
        assert to_levels(weight, levels).numpy() == pytest.approx(nearest, abs=1e-5)
    assert to_levels(torch.tensor([-1.0, 0.0, 1.0]), 2).tolist() == [-1.0, 1.0, 1.0]
    assert to_levels(torch.zeros(3), 4).tolist() == [0.0, 0.0, 0.0]


def inverted(weight: Tensor, draws: torch.Generator) -> Tensor:
    return flip(weight, 1.0, draws)


def test_two_inverted_layers_are_the_network_again() -> None:
    """-W₂ sign(-W₁ x) = W₂ sign(W₁ x), if the statistics are measured for it and the shifts are zero."""
    subject = trained(planted())
    found = distorted(subject, "all", inverted, 0)
    assert found["val_top1.reestimated"] == found["test_top1.reestimated"] == 1.0
    assert found["val_top1.kept"] < 1.0


def test_a_constant_magnitude_changes_nothing_once_the_statistics_are_measured() -> None:
    subject = trained(planted())
    found = distorted(subject, "constant", lambda weight, draws: 4.0 * weight, 0)
    assert found["val_top1.reestimated"] == 1.0 > found["val_top1.kept"]
    assert set(distorted(subject, "none", lambda weight, draws: weight, 0).values()) == {1.0}


def test_the_mean_of_the_draws_is_that_of_networks_in_numpy() -> None:
    model = planted()
    subject = trained(model)
    found = PROBES["distort"](subject, draws=2)
    names = [name for name, _ in binary_layers(model)]
    top1: dict[str, list[float]] = {"kept": [], "reestimated": []}
    for draw in (0, 1):
        weights = []
        for name, latent in zip(names, in_numpy.latents(model), strict=True):
            signs = torch.from_numpy(np.where(latent >= 0, 1.0, -1.0))
            key = generator(5, "probe", "distort", "flip20", draw, name)
            weights.append(flip(signs, 0.2, key).numpy())
        norms = {
            "kept": in_numpy.kept(model), "reestimated": in_numpy.reestimated(model, weights, subject)
        }  # fmt: skip
        for kind, each in norms.items():
            top1[kind].append(in_numpy.score(model, weights, each, subject.data.test)[1])
    for kind, scores in top1.items():
        assert found[f"test_top1.{kind}.flip20"] == pytest.approx(np.mean(scores))
    assert found == PROBES["distort"](subject, draws=2)
    assert found != PROBES["distort"](dataclasses.replace(subject, seed=6), draws=2)


def test_two_levels_are_the_signs_and_there_are_none_without_latents() -> None:
    model: Any = planted()
    subject = trained(model)
    found = PROBES["distort"](subject, draws=1)
    assert found["val_top1.kept.levels2"] == found["val_top1.reestimated.levels2"] == 1.0
    assert len(found) == 4 * (6 + 2 + 4)
    with torch.no_grad():
        for layer in layers_of(model):
            layer.sign_()
    for _, layer in binary_layers(model):
        layer.read = layer.deploy = stored_signs
    without = PROBES["distort"](subject, draws=1)
    assert without == {key: value for key, value in found.items() if "levels" not in key}


def test_levels_have_the_mean_magnitude_of_the_deployed_weights() -> None:
    """Half the signs, in two levels: at kept statistics it is the network itself."""

    def half(weight: Tensor) -> Tensor:
        return 0.5 * sign(weight)

    found = PROBES["distort"](trained(planted(half)), draws=1)
    assert found["val_top1.kept.levels2"] == found["test_top1.kept.levels2"] == 1.0

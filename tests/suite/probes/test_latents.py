"""The probe `latents`: shares and mean counted one by one."""

import math

import pytest
import torch

from suite.probes import PROBES
from suite.probes.latents import BANDS
from tests.support.probed import layers_of, planted, trained


def test_shares_and_mean_are_those_of_all_layers_together() -> None:
    model = planted()
    with torch.no_grad():
        for layer in model.modules():
            if hasattr(layer, "deploy"):
                layer.weight.mul_(0.1)  # type: ignore[union-attr, operator]
                layer.weight[0, 0] = -1.0  # type: ignore[index]
    sizes = [abs(value) for weight in layers_of(model) for value in weight.flatten().tolist()]
    found = PROBES["latents"](trained(model))
    assert found.pop("mean_size") == pytest.approx(math.fsum(sizes) / len(sizes))
    assert found == {
        f"share_within.{band:g}": pytest.approx(sum(size < band for size in sizes) / len(sizes))
        for band in BANDS
    }
    assert sizes.count(1.0) == 2  # at the end of a band, and so not within it

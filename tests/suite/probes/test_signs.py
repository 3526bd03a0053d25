"""The probe `signs`: its hashes are the same if the binary weights and the flips are, and only then."""

import hashlib

import numpy as np
import torch

from suite.probes import PROBES
from tests.support.probed import layers_of, planted, trained


def test_the_hashes_are_those_of_the_packed_signs_and_of_the_flips() -> None:
    model = planted()
    found = PROBES["signs"](trained(model))
    parts = [
        bytes(
            sum((w >= 0) << (7 - bit) for bit, w in enumerate(weight.flatten().tolist()[at : at + 8]))
            for at in range(0, weight.numel(), 8)
        )
        for weight in layers_of(model)
    ]
    flips = np.arange(8, dtype="<i4").tobytes()
    assert found == {
        "weights": hashlib.sha256(b"".join(parts)).hexdigest(),
        "weights.1": hashlib.sha256(parts[0]).hexdigest(),
        "weights.4": hashlib.sha256(parts[1]).hexdigest(),
        "flips": hashlib.sha256(flips).hexdigest(),
    }


def test_one_sign_changes_them_and_a_magnitude_does_not() -> None:
    model = planted()
    before = PROBES["signs"](trained(model))
    with torch.no_grad():
        model[1].weight.mul_(3.0)  # type: ignore[index]
        assert PROBES["signs"](trained(model)) == before
        model[1].weight[2, 3] *= -1.0  # type: ignore[index]
    after = PROBES["signs"](trained(model))
    assert [key for key in before if before[key] != after[key]] == ["weights", "weights.1"]

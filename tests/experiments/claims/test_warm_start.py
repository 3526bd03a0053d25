"""Real weights first, then Bop from their signs: each part against the method of the catalogue that it is."""

import copy

import pytest
import torch

from optimizers import METHODS
from optimizers.core import BadHyper
from suite.models.blocks.layers import binary_layers
from suite.training.evaluate import assert_binary
from tests.support.plugins import CLAIMS, plugin
from tests.support.training import PLANNED, Training

WARM = plugin(CLAIMS / "warm_start.py").warm_start
BOP = {"gamma": 0.1, "threshold": 1e-5}
REAL = 8  # steps with real weights
SHARE = REAL / PLANNED


def test_a_share_of_zero_is_bop() -> None:
    ours, theirs = Training(WARM(share=0.0, **BOP)), Training(METHODS["bop"](**BOP))
    assert [ours.step() for _ in range(10)] == [theirs.step() for _ in range(10)]
    assert all(torch.equal(*pair) for pair in zip(ours.everything(), theirs.everything(), strict=True))


@pytest.mark.parametrize("clip", [None, 0.2])
def test_the_first_part_is_adam_on_real_weights_the_rest_bop(clip: float | None) -> None:
    training = Training(WARM(share=SHARE, lr=0.02, clip=clip, **BOP))
    adam = Training(METHODS["latent-adam"](lr=0.02, clip=clip, real_until=0.5))
    for _ in range(REAL):
        assert training.step() == adam.step()
        assert_binary(training.model)  # its signs, in evaluation and in the flip counter
    real = training.stored()
    assert all(torch.equal(*pair) for pair in zip(real, adam.stored(), strict=True))
    assert all(len(weight.abs().unique()) > 2 for weight in real)

    bop = Training(METHODS["bop"](**BOP))
    bop.model.load_state_dict(training.model.state_dict())
    bop.real.load_state_dict(copy.deepcopy(training.real.state_dict()))
    for _, layer in binary_layers(bop.model):
        layer.weight.data = layer.binary_weight()
    start, bop.steps = bop.signs(), training.steps
    for _ in range(10):
        assert training.step() == bop.step()
    assert all(torch.equal(*pair) for pair in zip(training.stored(), bop.stored(), strict=True))
    averages = [[s["average"] for s in each.weights.state.values()] for each in (training, bop)]
    assert all(torch.equal(*pair) for pair in zip(*averages, strict=True))
    assert not torch.equal(bop.signs(), start)


def test_impossible_values_are_refused() -> None:
    with pytest.raises(BadHyper, match="share must lie in"):
        WARM(share=1.5)
    with pytest.raises(BadHyper, match="clip must be > 0"):
        WARM(clip=0.0)

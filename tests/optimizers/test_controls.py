"""The controls: one never changes the binary weights, one does not binarize them."""

import math

import pytest
import torch
from torch.optim import Adam

from optimizers import METHODS
from optimizers.core import BadHyper, WeightRule
from suite.models.blocks.layers import binary_layers
from tests.support.training import Training


def test_only_the_controls_are_marked_as_such() -> None:
    assert METHODS["frozen"].control
    assert METHODS["real"].control
    assert not METHODS["bop"].control


def test_frozen_weights_always_keep_their_initial_signs() -> None:
    training = Training(METHODS["frozen"]())
    start = Training(METHODS["real"]()).signs()
    assert set(start.tolist()) == {-1.0, 1.0}
    assert all(torch.equal(row, start) for row in training.trajectory(20))
    stored = torch.cat([layer.weight.flatten() for _, layer in binary_layers(training.model)])
    assert torch.equal(stored, start)
    assert not any(training.weights.state.values())


def test_the_real_parameters_learn_on_frozen_weights() -> None:
    training = Training(METHODS["frozen"]())
    losses = [training.step() for _ in range(60)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_real_weights_are_plain_adam_without_any_sign() -> None:
    def plain(weight_decay: float) -> WeightRule:
        return WeightRule(
            start=lambda initial: initial,
            read=lambda weight: weight,
            optimizer=lambda params: Adam(params, 0.01, eps=1e-8, weight_decay=weight_decay),
        )

    for weight_decay in (0.0, 0.1):
        control = Training(METHODS["real"](lr=0.01, weight_decay=weight_decay))
        expected = Training(plain(weight_decay))
        losses = [control.step() for _ in range(40)]
        assert losses == pytest.approx([expected.step() for _ in range(40)], rel=1e-4)
        assert losses[-1] < 0.5 * losses[0]


def test_real_weights_are_not_clipped_and_evaluation_uses_them_unchanged() -> None:
    rule = METHODS["real"](lr=0.5)
    assert not rule.binary
    assert rule.deploy is None
    weight = rule.start(torch.tensor([0.9, -0.2])).clone().requires_grad_()
    optimizer = rule.optimizer([weight])
    for _ in range(3):
        weight.grad = torch.tensor([-1.0, 1.0])
        optimizer.step()
    assert weight.tolist() == pytest.approx([2.4, -1.7], rel=1e-5)
    assert torch.equal(rule.read(weight), weight)


def test_real_layers_evaluate_with_their_real_weights() -> None:
    training = Training(METHODS["real"]())
    training.step()
    training.model.eval()
    for _, layer in binary_layers(training.model):
        assert torch.equal(layer.reading()(layer.weight), layer.weight)
        assert layer.weight.unique().numel() > 2


@pytest.mark.parametrize(("name", "value"), [("lr", 0.0), ("lr", math.nan), ("weight_decay", -1.0)])
def test_refuses_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(BadHyper, match=f"{name} must .*not {value}") as error:
        METHODS["real"](**{name: value})
    assert error.value.name == name

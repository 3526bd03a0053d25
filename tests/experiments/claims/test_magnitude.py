"""The magnitudes of latent weights enter no gradient with the identity as slope; they decide later flips."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.core import BadHyper, Method, sign
from tests.support.plugins import CLAIMS, plugin
from tests.support.training import PLANNED, Training

PLUGIN = plugin(CLAIMS / "magnitude.py")
ARMS = [(PLUGIN.permuted_sgd, "latent-sgd", 1.0), (PLUGIN.permuted_adam, "latent-adam", 0.03)]
every_arm = pytest.mark.parametrize(("method", "name", "lr"), ARMS)
BEFORE, AFTER = 5, 15  # steps before and after half-time


def trained(method: Method, **hypers: Any) -> tuple[Training, Tensor]:
    training = Training(method(**hypers))
    training.steps = PLANNED // 2 - BEFORE
    return training, training.trajectory(BEFORE + AFTER)


def alike(one: Training, other: Training) -> bool:
    """Whether they have the same real parameters, and the same statistics of batch norm."""
    states = [training.model.state_dict() for training in (one, other)]
    weights = [name for name in states[0] if states[0][name].dim() > 1]
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0] if name not in weights)


@every_arm
def test_permuted_magnitudes_leave_the_training_as_it_is(method: Method, name: str, lr: float) -> None:
    catalogue, expected = trained(METHODS[name], lr=lr, pseudo_gradient="identity", clip=0.5)
    never, rows = trained(method, permuted="never", lr=lr, pseudo_gradient="identity", clip=0.5)
    assert torch.equal(rows, expected)
    pairs = zip(never.everything(), catalogue.everything(), strict=True)
    assert all(torch.equal(*pair) for pair in pairs)
    in_gradients, rows = trained(method, permuted="in-gradients", lr=lr, pseudo_gradient="identity", clip=0.5)
    assert torch.equal(rows, expected) and alike(in_gradients, catalogue)
    for seen, true in zip(in_gradients.stored(), catalogue.stored(), strict=True):
        assert not torch.equal(seen, true)
        assert torch.equal(seen.abs().flatten().sort()[0], true.abs().flatten().sort()[0])
    assert (rows[BEFORE + 1 : -1] != rows[BEFORE + 2 :]).any()


@every_arm
def test_a_slope_with_an_end_tells_the_difference(method: Method, name: str, lr: float) -> None:
    hypers = {"lr": lr, "pseudo_gradient": "clipped", "clip": None, "init_scale": 10.0}
    never, in_gradients = (trained(method, permuted=each, **hypers) for each in ("never", "in-gradients"))
    assert not alike(never[0], in_gradients[0])


@every_arm
def test_once_the_next_gradient_is_the_same_and_later_flips_are_not(
    method: Method, name: str, lr: float
) -> None:
    trainings = [
        Training(method(permuted=permuted, lr=lr, pseudo_gradient="identity"))
        for permuted in ("never", "once")
    ]
    for training in trainings:
        training.steps = PLANNED // 2
        training.step()
    assert torch.equal(trainings[0].signs(), trainings[1].signs())
    losses = [training.step() for training in trainings]
    assert losses[0] == losses[1]
    gradients = [[w.grad for g in t.weights.param_groups for w in g["params"]] for t in trainings]
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))
    # From here on the permuted one is an ordinary training.
    ordinary = Training(METHODS[name](lr=lr, pseudo_gradient="identity"))
    for part in ("model", "weights", "real"):
        state = copy.deepcopy(getattr(trainings[1], part).state_dict())
        getattr(ordinary, part).load_state_dict(state)
    ordinary.steps = trainings[1].steps
    never, once, expected = (each.trajectory(AFTER) for each in (*trainings, ordinary))
    assert torch.equal(once, expected) and not torch.equal(once, never)


def test_a_permutation_keeps_signs_and_magnitudes() -> None:
    weight = torch.tensor([[0.5, -0.0, -2.0], [-3.0, 0.0, 7.0]])
    order = torch.tensor([1, 3, 5, 0, 2, 4])
    tiny = torch.finfo(torch.float32).tiny
    found = PLUGIN.with_permuted_magnitudes(weight, order)
    assert found.tolist() == [[tiny, 3.0, -7.0], [-0.5, 2.0, tiny]]
    assert torch.equal(sign(found), sign(weight))


def test_an_unknown_choice_is_refused() -> None:
    for method, _, _ in ARMS:
        with pytest.raises(BadHyper, match="permuted must be one of"):
            method(permuted="always")

"""ProxQuant against a scalar loop, and its proximal step against the minimum of its definition."""

import copy
import io
import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.optim import Adam

from optimizers import METHODS
from optimizers.core import BadHyper, WeightRule, sign
from optimizers.prox_quant import prox_binary
from suite.training.step import set_progress
from tests.support.training import Training

STEPS, COUNT, EPOCH = 400, 120, 40
SETTINGS = [(0.05, 0.01, 2 / 3), (0.02, 0.1, 0.9), (0.2, 1e-3, 1.0), (0.03, 0.3, 0.5)]  # lr, rate, freeze


def noises(seed: int = 0) -> np.ndarray:
    """Noise around a slow wave with its own phase for each weight: (steps, weights)."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 6, COUNT)
    return np.sin(np.arange(STEPS)[:, None] / 30 + phase) + random.normal(size=(STEPS, COUNT))


def initial() -> Tensor:
    return torch.from_numpy(np.random.default_rng(1).uniform(-0.5, 0.5, COUNT))


def scalar_loop(
    w: float, noise: list[float], lr: float, reg_rate: float, freeze_at: float, restart: bool = False
) -> list[float]:
    """The weight after each step: Adam, towards the nearer of -1 and 1 but not beyond, clip.

    restart: with a new Adam in every epoch, as in the released script.
    """
    m, v, after, begun = 0.0, 0.0, [], 0
    for step, wave in enumerate(noise):
        if restart and step % EPOCH == 0:
            m, v, begun = 0.0, 0.0, step
        if step / STEPS >= freeze_at:
            w = -1.0 if w < 0.0 else 1.0
        else:
            t = step - begun + 1
            gradient = wave + 0.3 * w
            m, v = 0.9 * m + 0.1 * gradient, 0.999 * v + 0.001 * gradient**2
            w -= lr * (m / (1.0 - 0.9**t)) / (math.sqrt(v / (1.0 - 0.999**t)) + 1e-8)
            distance = lr * reg_rate * (step // EPOCH)
            nearer = -1.0 if w < 0.0 else 1.0
            w = nearer if abs(w - nearer) <= distance else w + math.copysign(distance, nearer - w)
            w = max(-1.0, min(1.0, w))
        after.append(w)
    return after


def run(rule: WeightRule, start: Tensor, stop: int = STEPS) -> Tensor:
    stored = start.clone().requires_grad_()
    optimizer, after = rule.optimizer([stored]), []
    for step, noise in enumerate(torch.from_numpy(noises()[:stop])):
        set_progress(optimizer, [], epoch=1 + step // EPOCH, progress=step / STEPS)
        weight = rule.read(stored)
        optimizer.zero_grad()
        ((noise * weight).sum() + 0.15 * weight.square().sum()).backward()
        optimizer.step()
        after.append(stored.detach().clone())
    return torch.stack(after)


@pytest.mark.parametrize(("lr", "reg_rate", "freeze_at"), SETTINGS)
def test_equals_the_scalar_loop(lr: float, reg_rate: float, freeze_at: float) -> None:
    columns = zip(initial().tolist(), noises().T.tolist(), strict=True)
    loops = [scalar_loop(w, noise, lr, reg_rate, freeze_at) for w, noise in columns]
    expected = torch.tensor(loops, dtype=torch.float64).T
    found = run(METHODS["prox-quant"](lr=lr, reg_rate=reg_rate, freeze_at=freeze_at), initial())
    assert int((sign(found) != sign(expected)).sum()) == 0
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert int((sign(expected[1:]) != sign(expected[:-1])).sum()) > COUNT / 2


@pytest.mark.parametrize(("lr", "reg_rate", "freeze_at"), SETTINGS[:2])
def test_restart_makes_a_new_adam_in_every_epoch(lr: float, reg_rate: float, freeze_at: float) -> None:
    columns = zip(initial().tolist(), noises().T.tolist(), strict=True)
    loops = [scalar_loop(w, noise, lr, reg_rate, freeze_at, restart=True) for w, noise in columns]
    expected = torch.tensor(loops, dtype=torch.float64).T
    hypers = dict(lr=lr, reg_rate=reg_rate, freeze_at=freeze_at)
    found = run(METHODS["prox-quant"](restart="epoch", **hypers), initial())
    assert torch.allclose(found, expected, rtol=1e-9, atol=1e-9)
    kept = run(METHODS["prox-quant"](**hypers), initial())
    assert torch.equal(found[:EPOCH], kept[:EPOCH])
    assert int((sign(found) != sign(kept)).sum()) > COUNT


@pytest.mark.parametrize("strength", [0.0, 0.05, 0.4, 1.0, 1.7])
def test_the_proximal_step_finds_the_minimum_of_its_definition(strength: float) -> None:
    grid = np.linspace(-3.0, 3.0, 60_001)
    regularizer = np.abs(np.abs(grid) - 1.0)
    weights = [-2.3, -1.2, -1.0, -0.93, -0.5, -0.01, 0.01, 0.3, 0.97, 1.0, 1.04, 1.8]
    found = prox_binary(torch.tensor(weights, dtype=torch.float64), strength).tolist()
    for weight, at in zip(weights, found, strict=True):
        best = grid[np.argmin(0.5 * (grid - weight) ** 2 + strength * regularizer)]
        assert at == pytest.approx(best, abs=2e-4), weight


def test_at_zero_it_moves_towards_plus_one() -> None:
    assert prox_binary(torch.tensor([0.0, -0.0]), 0.25).tolist() == [0.25, 0.25]
    assert prox_binary(torch.tensor([0.0, -0.0]), 2.0).tolist() == [1.0, 1.0]


def test_a_step_of_strength_one_takes_every_weight_in_the_clip_to_its_sign() -> None:
    weights = torch.linspace(-1.0, 1.0, 201)
    assert torch.equal(prox_binary(weights, 1.0), sign(weights))


# --- identities ---


def plain_adam(lr: float) -> WeightRule:
    return WeightRule(
        start=lambda initial: initial,
        read=lambda weight: weight,
        deploy=sign,
        optimizer=lambda params: Adam(params, lr, eps=1e-8, foreach=True),
    )


def test_without_a_regularizer_it_is_adam_on_real_weights() -> None:
    prox = Training(METHODS["prox-quant"](lr=1e-3, reg_rate=0.0, freeze_at=1.0))
    adam = Training(plain_adam(lr=1e-3))
    losses = [prox.step() for _ in range(60)]
    # The proximal step of strength 0 rounds: 1 - (1 - w) is w only up to an ulp of 1.
    assert losses == pytest.approx([adam.step() for _ in range(60)], rel=1e-3)
    for found, expected in zip(prox.model.parameters(), adam.model.parameters(), strict=True):
        assert torch.allclose(found, expected, atol=1e-4)
    assert losses[-1] < losses[0]


def test_with_an_endless_regularizer_it_is_a_projected_step_so_that_small_steps_flip_nothing() -> None:
    start = sign(initial())
    for lr, flips in ((0.5, False), (4.0, True)):
        rule = METHODS["prox-quant"](lr=lr, reg_rate=1e9, freeze_at=1.0)
        stored = start.clone().requires_grad_()
        optimizer = rule.optimizer([stored])
        free = start.clone().requires_grad_()
        adam = Adam([free], lr, eps=1e-8)
        for noise in torch.from_numpy(noises()[:50]):
            set_progress(optimizer, [], epoch=2, progress=0.1)
            stored.grad, free.grad = noise.clone(), noise.clone()
            free.data.copy_(stored.detach())
            optimizer.step()
            adam.step()
            assert torch.equal(stored, sign(free))
        assert torch.equal(stored, start) != flips


def test_the_strength_is_zero_in_the_first_epoch_and_grows_with_the_learning_rate_and_the_epoch() -> None:
    stored = torch.full((1,), 0.5, dtype=torch.float64, requires_grad=True)
    optimizer = METHODS["prox-quant"](lr=0.1, reg_rate=0.2).optimizer([stored])
    for lr, epoch in ((0.1, 1), (0.1, 2), (0.1, 4), (0.05, 4)):
        optimizer.param_groups[0]["lr"] = lr
        set_progress(optimizer, [], epoch=epoch, progress=0.1)
        before, stored.grad = stored.item(), torch.zeros(1, dtype=torch.float64)
        optimizer.step()
        assert stored.item() - before == pytest.approx(lr * 0.2 * (epoch - 1))


# --- the freeze ---


def test_the_weights_are_real_until_the_freeze_and_fixed_signs_afterwards() -> None:
    training = Training(METHODS["prox-quant"](freeze_at=0.5))
    stored = training.weights.param_groups[0]["params"]
    frozen: list[Tensor] = []
    for step in range(1, 81):
        before = [weight.detach().clone() for weight in stored]
        training.step()
        after = [weight.detach().clone() for weight in stored]
        if step <= 50:
            assert not any(torch.equal(weight, sign(weight)) for weight in after)
        elif step == 51:
            frozen = [sign(weight) for weight in before]
        if step > 50:
            assert all(torch.equal(weight, signs) for weight, signs in zip(after, frozen, strict=True))


def test_the_real_parameters_continue_to_train_after_the_freeze() -> None:
    training = Training(METHODS["prox-quant"](freeze_at=0.3))
    training.trajectory(40)
    before = [p.detach().clone() for p in training.real.param_groups[0]["params"]]
    training.trajectory(5)
    after = training.real.param_groups[0]["params"]
    assert not any(torch.equal(p, q) for p, q in zip(before, after, strict=True))


@pytest.mark.parametrize("stop", [20, 48, 55])
def test_a_state_dict_taken_before_at_or_after_the_freeze_continues_bit_for_bit(stop: int) -> None:
    rule = METHODS["prox-quant"](freeze_at=0.5)
    training, resumed = Training(rule), Training(rule, seed=2)
    training.trajectory(stop)
    file = io.BytesIO()
    torch.save([part.state_dict() for part in (training.model, training.weights, training.real)], file)
    file.seek(0)
    states = torch.load(file, weights_only=True)
    for part, state in zip((resumed.model, resumed.weights, resumed.real), states, strict=True):
        part.load_state_dict(copy.deepcopy(state))
    resumed.steps = training.steps
    assert [resumed.step() for _ in range(10)] == [training.step() for _ in range(10)]
    assert torch.equal(resumed.signs(), training.signs())


# --- the rule ---


def test_training_reads_the_real_weight_and_evaluation_its_sign() -> None:
    rule, weight = METHODS["prox-quant"](), initial()
    assert torch.equal(rule.start(weight), weight)
    assert torch.equal(rule.read(weight), weight)
    assert rule.deploy is sign


def test_a_weight_without_a_gradient_does_not_change() -> None:
    alone, moved = (torch.full((3,), 0.5, requires_grad=True) for _ in range(2))
    optimizer = METHODS["prox-quant"](reg_rate=1.0).optimizer([alone, moved])
    set_progress(optimizer, [], epoch=5, progress=0.1)
    moved.grad = torch.ones(3)
    optimizer.step()
    assert alone.tolist() == [0.5] * 3
    assert moved.tolist() != [0.5] * 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.0), ("reg_rate", -1.0), ("freeze_at", 0.0), ("freeze_at", 1.5), ("reg_rate", math.nan)],
)
def test_refuses_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(BadHyper, match=f"{name} must .*not {value}") as error:
        METHODS["prox-quant"](**{name: value})
    assert error.value.name == name

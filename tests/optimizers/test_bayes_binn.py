"""BayesBiNN against a scalar loop with the same draws, and its behaviour at the published temperature."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.bayes_binn import bayes_binn_update, natural_slope, relaxed_sample
from optimizers.core import BadHyper, sign
from tests.support.training import Training

STEPS, COUNT = 400, 120
PULL = 0.3  # the gradient depends on the drawn weight, so a wrong sample changes the result
SETTINGS = [(0.05, 0.5, 20.0), (0.3, 0.1, 5.0), (0.01, 1.0, 100.0), (0.05, 1e-10, 5.0)]  # lr, temperature, N


def noises(seed: int = 0) -> np.ndarray:
    """Noise around a slow wave with its own phase for each weight: (steps, weights)."""
    random = np.random.default_rng(seed)
    phase = random.uniform(0, 6, COUNT)
    return np.sin(np.arange(STEPS)[:, None] / 40 + phase) + random.normal(size=(STEPS, COUNT))


def draws(step: int) -> Tensor:
    torch.default_generator.manual_seed(step)  # torch.manual_seed looks for GPUs each time
    return torch.rand(COUNT, dtype=torch.float64)


def scalar_loop(start: list[float], lr: float, temperature: float, strength: float) -> list[list[float]]:
    """Lambda after each step, one weight at a time."""
    natural, after = list(start), []
    for step, noise in enumerate(noises().tolist()):
        for i, u in enumerate(draws(step).tolist()):
            delta = (math.log(u) - math.log(1.0 - u)) / 2.0
            weight = math.tanh((natural[i] + delta) / temperature)
            gradient = noise[i] + PULL * weight
            mean = math.tanh(natural[i])
            gradient *= (1.0 - weight**2 + 1e-10) / (temperature * (1.0 - mean**2 + 1e-10))
            natural[i] = natural[i] - lr * (natural[i] + strength * gradient)
        after.append(list(natural))
    return after


def run(start: Tensor, seeded: bool = True, states: Tensor | None = None, **hypers: float) -> Tensor:
    """Lambda after each step of the method itself: read, backward, optimizer.

    `states` puts it back to where another run was before every step; there is no other state.
    """
    rule = METHODS["bayes-binn"](**hypers)
    natural = start.clone().requires_grad_()
    optimizer, after = rule.optimizer([natural]), []
    for step, noise in enumerate(torch.from_numpy(noises()).to(start.dtype)):
        if seeded:
            torch.default_generator.manual_seed(step)  # torch.manual_seed looks for GPUs each time
        if states is not None:
            natural.data.copy_(states[step])
        weight = rule.read(natural)
        optimizer.zero_grad()
        ((noise * weight).sum() + PULL / 2.0 * weight.square().sum()).backward()
        optimizer.step()
        after.append(natural.detach().clone())
    return torch.stack(after)


@pytest.mark.parametrize(("lr", "temperature", "strength"), SETTINGS)
def test_equals_the_scalar_loop(lr: float, temperature: float, strength: float) -> None:
    start = torch.from_numpy(np.random.default_rng(1).normal(size=COUNT))
    expected = torch.tensor(scalar_loop(start.tolist(), lr, temperature, strength), dtype=torch.float64)
    # Both start each step from the same lambda: the slopes differ so much between steps that separate runs
    # would diverge by rounding alone.
    before = torch.cat([start[None], expected[:-1]])
    found = run(start, states=before, lr=lr, temperature=temperature, strength=strength)
    assert int((sign(found) != sign(expected)).sum()) == 0
    assert torch.allclose(found, expected, rtol=1e-5, atol=1e-9)
    assert int((sign(expected[1:]) != sign(expected[:-1])).sum()) > COUNT


def test_a_step_by_hand() -> None:
    natural, gradient = torch.tensor([2.0, -1.0]), torch.tensor([0.5, 0.25])
    (after,) = bayes_binn_update(natural, gradient, lr=0.5, strength=8.0)
    assert after.tolist() == [-1.0, -1.5]


@pytest.mark.parametrize("natural", [-1.0, -0.2, 0.0, 0.7])
@pytest.mark.parametrize("temperature", [0.01, 1.0])
def test_the_sample_is_plus_one_with_the_probability_of_lambda(natural: float, temperature: float) -> None:
    count = 100_000
    uniform = torch.rand(count, generator=torch.Generator().manual_seed(0))
    share = (relaxed_sample(torch.full((count,), natural), uniform, temperature) > 0).float().mean().item()
    probability = 1.0 / (1.0 + math.exp(-2.0 * natural))
    assert abs(share - probability) < 4.0 * math.sqrt(probability * (1.0 - probability) / count)


@pytest.mark.parametrize("temperature", [0.7, 2.0])
def test_the_slope_is_the_derivative_of_the_sample_with_respect_to_the_mean(temperature: float) -> None:
    h, uniform = 1e-6, torch.tensor([0.2], dtype=torch.float64)
    for natural in (-1.5, -0.1, 0.0, 0.8):
        around = [torch.tensor([natural + step], dtype=torch.float64) for step in (h, -h, 0.0)]
        up, down, sample = (relaxed_sample(at, uniform, temperature).item() for at in around)
        derivative = (up - down) / (math.tanh(natural + h) - math.tanh(natural - h))
        slope = natural_slope(torch.tensor([sample], dtype=torch.float64), around[2], temperature).item()
        assert slope == pytest.approx(derivative, rel=1e-6)


def test_cold_and_without_noise_it_is_the_sign_of_a_decaying_sum_with_varying_steps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, 0.5))
    start = torch.from_numpy(np.random.default_rng(1).normal(size=COUNT))
    found = run(start, seeded=False, lr=0.05, temperature=1e-10, strength=10.0)
    total = start.numpy()
    for step, noise in enumerate(noises()):
        gradient = noise + PULL * np.where(total < 0.0, -1.0, 1.0)
        total = 0.95 * total - 0.5 * gradient / (1.0 - np.tanh(total) ** 2 + 1e-10)
        assert np.array_equal(np.where(total < 0.0, -1.0, 1.0), sign(found[step]).numpy())
    assert int((sign(found[1:]) != sign(found[:-1])).sum()) > COUNT


# --- the published temperature in float32 ---


def test_at_the_published_setting_it_is_the_sign_of_a_moving_average_of_the_gradient() -> None:
    lr = 0.1
    start = 10.0 * sign(torch.from_numpy(np.random.default_rng(1).normal(size=COUNT))).float()
    found = run(start, lr=lr, temperature=1e-10, strength=4.5e5)
    assert bool((found.abs() > 1e6).all())
    average = np.zeros(COUNT)
    weight = start.sign().numpy()
    for step, noise in enumerate(noises().astype(np.float32)):
        average = (1.0 - lr) * average + lr * (noise + PULL * weight)
        weight = -np.sign(average)
        assert np.array_equal(weight, sign(found[step]).numpy())
    assert int((sign(found[1:]) != sign(found[:-1])).sum()) > COUNT


@pytest.mark.parametrize("lr", [3e-4, 1e-2])
def test_in_a_whole_training_at_the_published_temperature_it_is_bop_without_a_threshold(lr: float) -> None:
    expected = Training(METHODS["bop"](gamma=lr, threshold=0.0)).trajectory(60)
    assert torch.equal(Training(METHODS["bayes-binn"](lr=lr)).trajectory(60), expected)
    assert int((expected[1:] != expected[:-1]).sum()) > 1000


def test_in_a_whole_training_at_the_published_setting_the_strength_has_no_effect() -> None:
    published = Training(METHODS["bayes-binn"]()).trajectory(60)
    assert torch.equal(Training(METHODS["bayes-binn"](strength=4.5e7)).trajectory(60), published)
    assert not torch.equal(published[0], published[-1])


def test_the_temperature_is_a_hidden_factor_of_the_straight_through_gradient() -> None:
    sample, natural = torch.tensor([1.0, -1.0]), torch.tensor([0.5, -2.0])
    straight = 1.0 / (1.0 - torch.tanh(natural) ** 2)
    assert torch.allclose(natural_slope(sample, natural, 1e-10), straight, rtol=1e-5)
    assert torch.allclose(natural_slope(sample, natural, 1e-8), 0.01 * straight, rtol=1e-5)
    far = torch.tensor([9.1, -30.0])
    assert torch.allclose(natural_slope(sample, far, 1e-10), torch.full((2,), 1e10), rtol=1e-5)


# --- the rule ---


def test_it_starts_far_out_on_the_side_of_the_initial_weight() -> None:
    rule = METHODS["bayes-binn"]()
    assert rule.start(torch.tensor([0.01, -0.02, 0.0, -0.0])).tolist() == [10.0, -10.0, 10.0, 10.0]
    assert rule.deploy is sign


def test_the_smallest_draw_gives_minus_one_and_a_finite_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand_like", torch.zeros_like)
    natural = torch.tensor([10.0, -10.0, 0.0], requires_grad=True)
    weight = METHODS["bayes-binn"](temperature=0.5).read(natural)
    weight.sum().backward()
    assert weight.tolist() == [-1.0] * 3
    assert natural.grad is not None
    assert bool(natural.grad.isfinite().all())


def test_the_same_seed_reads_the_same_weights() -> None:
    natural, read, seen = torch.zeros(100), METHODS["bayes-binn"]().read, []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(read(natural))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


def test_it_keeps_nothing_but_lambda_and_its_learning_rate_follows_a_schedule() -> None:
    natural = torch.ones(3, requires_grad=True)
    optimizer = METHODS["bayes-binn"](lr=0.5, strength=2.0).optimizer([natural])
    for lr, after in ((0.5, -0.5), (0.25, -0.875)):
        optimizer.param_groups[0]["lr"] = lr
        natural.grad = torch.ones(3)
        optimizer.step()
        assert natural.tolist() == [after] * 3
    assert not any(optimizer.state.values())


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.0), ("lr", 1.5), ("lr", math.nan), ("temperature", 0.0), ("strength", -1.0)],
)
def test_refuses_impossible_settings(name: str, value: float) -> None:
    with pytest.raises(BadHyper, match=f"{name} must .*not {value}") as error:
        METHODS["bayes-binn"](**{name: value})
    assert error.value.name == name

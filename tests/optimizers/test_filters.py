"""Filters and growing thresholds (CEMA, SGDT, SGDAT, BOAT, BOLD, Diode): scalar loops, exact identities."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from optimizers import METHODS
from optimizers.core import BadHyper, sign
from suite.experiment.plan import is_latent_free
from tests.support.rules import (
    COUNT,
    STEPS_PER_EPOCH,
    assert_same_signs,
    flips_in,
    random_gradients,
    random_signs,
    run,
    start,
    take_steps,
)
from tests.support.training import Training

FILTERS = ["cema", "sgdt", "sgdat", "boat", "bold", "diode"]
Row = list[float]


def against(value: float, weight: float) -> float:
    """-sign(value), or the weight itself where the value is zero."""
    return weight if value == 0 else -math.copysign(1.0, value)


# --- scalar loops over plain floats, written from the formulas ---


def cema_loop(signs: Row, gradients: np.ndarray, alpha: float, gamma: float) -> list[Row]:
    w, m, r, after = list(signs), [0.0] * len(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            m[i] = (1 - gamma) * m[i] + gamma * g
            r[i] = (1 - alpha) * r[i] + alpha * m[i]
            w[i] = against(r[i], w[i])
        after.append(list(w))
    return after


@pytest.mark.parametrize(("alpha", "gamma"), [(0.05, 0.1), (0.2, 0.3), (0.01, 1.0), (1.0, 0.1)])
def test_cema_equals_a_scalar_loop(alpha: float, gamma: float) -> None:
    gradients = random_gradients()
    expected = cema_loop(random_signs().tolist(), gradients, alpha, gamma)
    assert_same_signs(run("cema", gradients, alpha=alpha, gamma=gamma), expected)


def sgdt_loop(signs: Row, gradients: np.ndarray, lr: float, threshold: float) -> list[Row]:
    w, latent, after = list(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            latent[i] = max(-1.0, min(1.0, latent[i] - lr * g))
            if abs(latent[i]) > threshold:
                w[i] = math.copysign(1.0, latent[i])
        after.append(list(w))
    return after


@pytest.mark.parametrize(("lr", "threshold"), [(0.02, 0.0), (0.02, 0.1), (0.3, 0.1), (2.0, 0.9)])
def test_sgdt_equals_a_scalar_loop(lr: float, threshold: float) -> None:
    gradients = random_gradients()
    expected = sgdt_loop(random_signs().tolist(), gradients, lr, threshold)
    assert_same_signs(run("sgdt", gradients, lr=lr, threshold=threshold), expected)


def sgdat_loop(
    signs: Row, gradients: np.ndarray, lr: float, threshold: float, momentum: float, counted: str
) -> list[Row]:
    zeros = [0.0] * len(signs)
    w, latent, velocity, n, after = list(signs), list(zeros), list(zeros), [0] * len(signs), []
    for step, gradient in enumerate(gradients.tolist()):
        if counted == "epoch" and step % STEPS_PER_EPOCH == 0:
            n = [0] * len(signs)
        for i, g in enumerate(gradient):
            velocity[i] = momentum * velocity[i] + g
            latent[i] -= lr * velocity[i]
            if abs(latent[i]) > threshold * n[i]:
                new = math.copysign(1.0, latent[i])
                n[i] += new != w[i]
                w[i] = new
        after.append(list(w))
    return after


@pytest.mark.parametrize("counted", ["run", "epoch"])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize(("lr", "threshold"), [(0.1, 0.0), (0.1, 0.05), (3.0, 1.0)])
def test_sgdat_equals_a_scalar_loop(lr: float, threshold: float, momentum: float, counted: str) -> None:
    gradients = random_gradients()
    hypers: dict[str, Any] = dict(lr=lr, threshold=threshold, momentum=momentum, counted=counted)
    expected = sgdat_loop(random_signs().tolist(), gradients, lr, threshold, momentum, counted)
    assert_same_signs(run("sgdat", gradients, **hypers), expected)


def boat_loop(signs: Row, gradients: np.ndarray, eta: float, decay: float) -> list[Row]:
    w, m, v, after = list(signs), [0.0] * len(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            v[i] += eta * g**2
            m[i] = (1 - decay) * m[i] - g
            if abs(m[i]) > math.sqrt(v[i]):
                w[i] = math.copysign(1.0, m[i])
        after.append(list(w))
    return after


@pytest.mark.parametrize(("eta", "decay"), [(0.01, 0.02), (0.1, 0.001), (0.0, 0.1), (0.5, 0.0)])
def test_boat_equals_a_scalar_loop(eta: float, decay: float) -> None:
    gradients = random_gradients()
    expected = boat_loop(random_signs().tolist(), gradients, eta, decay)
    assert_same_signs(run("boat", gradients, eta=eta, weight_decay=decay), expected)


def bold_loop(signs: Row, gradients: np.ndarray, eta: float) -> list[Row]:
    w, a, beta, after = list(signs), [0.0] * len(signs), 0.0, []
    for gradient in gradients.tolist():
        flipped = 0
        for i, g in enumerate(gradient):
            a[i] = beta * a[i] + eta * g
            if a[i] * w[i] >= 1:
                w[i], a[i] = -w[i], 0.0
                flipped += 1
        beta = 1 - flipped / len(w)
        after.append(list(w))
    return after


@pytest.mark.parametrize("eta", [0.05, 0.3, 1.0, 10.0])
def test_bold_equals_a_scalar_loop(eta: float) -> None:
    gradients = random_gradients()
    assert_same_signs(run("bold", gradients, eta=eta), bold_loop(random_signs().tolist(), gradients, eta))


def diode_loop(signs: Row, gradients: np.ndarray, lr: float, beta1: float, beta2: float) -> list[Row]:
    torch.manual_seed(0)  # the seed of the first step, in which the slow average is drawn
    draws = torch.rand(len(signs), dtype=torch.float64).tolist()
    w, fast, after = list(signs), [0.0] * len(signs), []
    slow = [-s * u * 1e-3 for s, u in zip(signs, draws, strict=True)]
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            fast[i] = beta1 * fast[i] + (1 - beta1) * g
            slow[i] = beta2 * slow[i] + (1 - beta2) * lr * math.copysign(1.0, fast[i])
            w[i] = against(slow[i], w[i])
        after.append(list(w))
    return after


@pytest.mark.parametrize(
    ("lr", "beta1", "beta2"), [(1e-3, 0.9, 0.95), (1e-4, 0.5, 0.9), (1.0, 0.0, 0.9), (1e-3, 0.9, 0.0)]
)
def test_diode_equals_a_scalar_loop(lr: float, beta1: float, beta2: float) -> None:
    gradients = random_gradients()
    expected = diode_loop(random_signs().tolist(), gradients, lr, beta1, beta2)
    assert_same_signs(run("diode", gradients, lr=lr, beta1=beta1, beta2=beta2), expected)


# --- CEMA is latent SGD with momentum and weight decay ---

LR, DECAY, MU = 0.1, 0.04, 0.9


def signs_of_decoupled_momentum(gradients: np.ndarray, lr: float, decay: float, mu: float) -> np.ndarray:
    """SGD with momentum and decoupled decay (SGDW), on latent weights from zero."""
    latent, velocity, after = np.zeros(gradients.shape[1]), np.zeros(gradients.shape[1]), []
    for gradient in gradients:
        velocity = mu * velocity + gradient
        latent = (1 - lr * decay) * latent - lr * velocity
        after.append(np.sign(latent))
    return np.stack(after)


def signs_of_torchs_sgd(gradients: np.ndarray, **options: Any) -> torch.Tensor:
    latent = torch.zeros(gradients.shape[1], dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([latent], **options)
    return torch.stack([sign(row) for row in take_steps(latent, optimizer, gradients)])


def test_momentum_with_decoupled_decay_is_cema() -> None:
    gradients = random_gradients(1000)
    expected = signs_of_decoupled_momentum(gradients, LR, DECAY, MU)
    assert_same_signs(run("cema", gradients, alpha=LR * DECAY, gamma=1 - MU), expected)


def test_torchs_sgd_with_coupled_decay_is_cema_at_other_rates() -> None:
    """1 - alpha and 1 - gamma are the roots of z² - (1 + mu - lr·decay) z + mu."""
    gradients, lr, decay = random_gradients(1000), 0.1, 0.02
    expected = signs_of_torchs_sgd(gradients, lr=lr, weight_decay=decay, momentum=MU)
    larger, smaller = np.roots([1.0, -(1 + MU - lr * decay), MU])
    assert_same_signs(run("cema", gradients, alpha=1 - larger, gamma=1 - smaller), expected)
    assert 1 - larger == pytest.approx(lr * decay / (1 - MU), rel=0.5)
    decoupled = run("cema", gradients, alpha=lr * decay, gamma=1 - MU)
    assert (decoupled != expected).double().mean().item() > 0.05


def test_cema_without_the_first_average_is_bop_without_a_threshold() -> None:
    gradients = random_gradients()
    found = run("cema", gradients, alpha=0.03, gamma=1.0)
    assert_same_signs(found, run("bop", gradients, gamma=0.03, threshold=0.0))


def test_the_order_of_two_averages_does_not_matter_at_constant_rates() -> None:
    gradients = random_gradients()
    assert_same_signs(
        run("cema", gradients, alpha=0.03, gamma=0.2), run("cema", gradients, alpha=0.2, gamma=0.03)
    )


# --- SGDT and SGDAT are latent SGD beyond a threshold ---


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_without_a_threshold_sgdat_is_sgd_from_zero(momentum: float) -> None:
    gradients = random_gradients()
    expected = signs_of_torchs_sgd(gradients, lr=0.01, momentum=momentum)
    assert_same_signs(run("sgdat", gradients, lr=0.01, threshold=0.0, momentum=momentum), expected)
    if not momentum:
        assert_same_signs(run("sgdt", gradients, lr=0.001, threshold=0.0), expected)


def test_sgdat_with_a_count_of_one_is_sgdt() -> None:
    gradients, zeros = random_gradients(), torch.zeros(COUNT, dtype=torch.float64)
    weight, optimizer = start("sgdat", random_signs(), lr=0.001, threshold=0.002)
    state = dict(latent=zeros.clone(), velocity=zeros.clone(), count=zeros + 1.0, epoch_of_count=zeros[0])
    optimizer.state[weight].update(state)
    rows = []
    for gradient in gradients:
        rows.append(take_steps(weight, optimizer, gradient[None]))
        state["count"].fill_(1.0)
    assert_same_signs(torch.cat(rows), run("sgdt", gradients, lr=0.001, threshold=0.002))


def test_only_the_ratio_of_threshold_and_rate_matters_to_sgdat() -> None:
    gradients = random_gradients()
    plain = run("sgdat", gradients, lr=0.25, threshold=0.125)
    assert_same_signs(run("sgdat", gradients, lr=2.0**-12, threshold=2.0**-13), plain)
    assert not torch.equal(run("sgdat", gradients, lr=0.25, threshold=0.25), plain)


def test_the_clip_of_sgdt_lets_a_weight_flip_back_soon() -> None:
    """Twenty steps to a latent of -1 (without the clip -5), then six of 1/4 back beyond the threshold."""
    gradients = np.array([[1.0]] * 20 + [[-1.0]] * 10)
    found = run("sgdt", gradients, torch.ones(1).double(), lr=0.25, threshold=0.375)
    assert found[:, 0].tolist() == [1.0] + [-1.0] * 24 + [1.0] * 5


def test_the_count_of_sgdat_restarts_in_every_epoch_only_with_counted_epoch() -> None:
    weight, optimizer = start("sgdat", torch.ones(1), lr=1.0, threshold=1.0, counted="epoch")
    counts = []
    for epoch, gradient in [(1, 1.0), (1, -9.0), (1, 20.0), (2, -40.0), (2, -1.0), (3, -1.0)]:
        optimizer.param_groups[0]["epoch"] = epoch
        weight.grad = torch.tensor([gradient])
        optimizer.step()
        counts.append(optimizer.state[weight]["count"].item())
    assert counts == [1.0, 2.0, 3.0, 1.0, 1.0, 0.0]


# --- BOAT, BOLD, Diode ---


@pytest.mark.parametrize("scale", [2.0**-20, 2.0**20])
def test_boat_does_not_depend_on_the_gradients_scale(scale: float) -> None:
    gradients, signs = random_gradients(), random_signs().float()
    plain = run("boat", gradients, signs, eta=0.01, weight_decay=0.02)
    assert_same_signs(run("boat", scale * gradients, signs, eta=0.01, weight_decay=0.02), plain)


def test_boat_does_not_depend_on_the_scale_of_the_loss_in_a_whole_training() -> None:
    scale = 2.0**-10
    scaled, plain = Training(METHODS["boat"]()), Training(METHODS["boat"]())
    scaled.real.param_groups[0]["eps"] *= scale  # Adam's eps is in units of the gradient
    expected = plain.trajectory(60)
    assert torch.equal(scaled.trajectory(60, loss_scale=scale), expected)
    assert flips_in(expected) > 100


def test_boat_without_a_threshold_is_bop_without_a_threshold() -> None:
    gradients = random_gradients()
    found = run("boat", gradients, eta=0.0, weight_decay=0.05)
    assert_same_signs(found, run("bop", gradients, gamma=0.05, threshold=0.0))


def test_boats_threshold_contains_all_squares_and_only_grows() -> None:
    """One large gradient outweighs many later ones: sqrt(0.25 · 100²) = 50 against a sum of ones."""
    gradients = np.array([[100.0]] + [[-1.0]] * 160)
    found = run("boat", gradients, torch.ones(1).double(), eta=0.25, weight_decay=0.0)
    flipped_back = int((found[:, 0] > 0).double().argmax())
    assert found[0].item() == -1.0
    # 100 - n < -sqrt(0.25 (10000 + n)) first holds at n = 151 (-51 against 50.376).
    assert flipped_back == 151


def test_bold_accumulates_to_one_and_restarts_from_zero() -> None:
    """At 1 the weight flips, equality included, and the sum is zero; a lone flip leaves no plasticity."""
    weight, optimizer = start("bold", torch.ones(1), eta=0.25)
    seen = []
    for gradient in (1.0, 1.0, 1.0, 1.0, -1.0, -4.0, 0.0):
        take_steps(weight, optimizer, np.array([[gradient]]))
        state = optimizer.state[weight]
        seen.append((weight.item(), state["accumulated"].item(), state["plasticity"].item()))
    assert seen == [
        (1.0, 0.25, 1.0),
        (1.0, 0.5, 1.0),
        (1.0, 0.75, 1.0),
        (-1.0, 0.0, 0.0),
        (-1.0, -0.25, 1.0),
        (1.0, 0.0, 0.0),
        (1.0, 0.0, 1.0),
    ]


def test_one_huge_step_of_bold_flips_all_weights_with_the_sign_of_their_gradient() -> None:
    gradients, signs = random_gradients(1), random_signs()
    found = run("bold", gradients, signs, eta=1e9)
    assert torch.equal(found[0], -torch.from_numpy(np.sign(gradients[0])))


def test_each_tensor_has_its_own_plasticity_in_bold() -> None:
    first, second = torch.ones(4, requires_grad=True), torch.ones(4, requires_grad=True)
    optimizer = METHODS["bold"](eta=1.0).optimizer([first, second])
    first.grad, second.grad = torch.tensor([1.0, 0.5, 0.5, 0.5]), torch.tensor([1.0, 1.0, 1.0, 0.5])
    optimizer.step()
    assert optimizer.state[first]["plasticity"].item() == 0.75
    assert optimizer.state[second]["plasticity"].item() == 0.25
    optimizer.step()
    assert optimizer.state[first]["accumulated"].tolist() == [1.0, 0.875, 0.875, 0.875]


def test_bold_is_scaled_by_eta_alone() -> None:
    gradients = random_gradients()
    assert_same_signs(run("bold", gradients * 2.0**-10, eta=0.25 * 2.0**10), run("bold", gradients, eta=0.25))


def test_lion_with_one_beta_and_decoupled_decay_is_diode() -> None:
    """Apart from the random start: Lion's latent starts at zero, so Diode's slow average must, too."""
    gradients, lr, decay, beta = random_gradients(1000), 0.1, 0.3, 0.9
    latent, momentum, expected = np.zeros(COUNT), np.zeros(COUNT), []
    for gradient in gradients:
        momentum = beta * momentum + (1 - beta) * gradient
        latent = latent - lr * (np.sign(momentum) + decay * latent)
        expected.append(np.sign(latent))
    signs = random_signs()
    weight, optimizer = start("diode", signs, lr=0.7, beta1=beta, beta2=1 - lr * decay)
    optimizer.state[weight].update(fast=torch.zeros_like(signs), slow=torch.zeros_like(signs))
    assert_same_signs(take_steps(weight, optimizer, gradients), np.stack(expected))


def test_diode_depends_on_its_rate_only_relative_to_its_start() -> None:
    gradients, signs = random_gradients(), random_signs()
    paths = []
    for lr, scale in ((2.0**-10, 1.0), (2.0**-4, 2.0**6), (2.0**-4, 1.0)):
        weight, optimizer = start("diode", signs, lr=lr, beta1=0.9, beta2=0.95)
        torch.manual_seed(3)
        slow = -signs * torch.rand_like(signs) * scale * 1e-3
        optimizer.state[weight].update(fast=torch.zeros_like(signs), slow=slow)
        paths.append(take_steps(weight, optimizer, gradients))
    assert_same_signs(paths[1], paths[0])
    assert not torch.equal(paths[2], paths[0])


def test_diode_starts_by_agreeing_with_every_weight() -> None:
    signs = random_signs(2000).float()
    weight, optimizer = start("diode", signs, lr=1e-4)
    found = take_steps(weight, optimizer, np.zeros((1, 2000)))
    state = optimizer.state[weight]
    assert torch.equal(found[0], signs)
    assert torch.equal(torch.sign(state["slow"]), -signs)
    assert state["slow"].abs().max().item() == pytest.approx(1e-3, rel=0.01)
    assert state["slow"].abs().mean().item() == pytest.approx(0.5e-3, rel=0.05)


# --- pitfalls, state, refused values ---


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("method", FILTERS)
def test_a_dead_gradient_flips_nothing(method: str, zero: float) -> None:
    signs = random_signs()
    hypers: dict[str, Any] = {"threshold": 0.0} if method in ("sgdt", "sgdat") else {}
    found = run(method, np.full((5, COUNT), zero), signs, **hypers)
    assert torch.equal(found, signs.expand(5, -1))


@pytest.mark.parametrize("weight", [1.0, -1.0])
def test_at_the_threshold_the_weight_stays(weight: float) -> None:
    signs = torch.tensor([weight], dtype=torch.float64)

    def flips(method: str, gradients: list[float], **hypers: Any) -> bool:
        path = run(method, weight * np.array(gradients)[:, None], signs, **hypers)
        return bool(path[-1] != path[-2]) if len(gradients) > 1 else bool(path[-1] != signs)

    assert not flips("sgdt", [1.0], lr=0.5, threshold=0.5)
    assert flips("sgdt", [1.0 + 1e-12], lr=0.5, threshold=0.5)
    assert not flips("sgdat", [1.0, -3.0], lr=0.5, threshold=1.0)  # one flip so far: |-0.5 + 1.5| = 1
    assert flips("sgdat", [1.0, -3.0 - 1e-12], lr=0.5, threshold=1.0)
    assert not flips("boat", [1.0], eta=1.0, weight_decay=0.0)
    assert flips("boat", [1.0], eta=1.0 - 1e-12, weight_decay=0.0)
    assert flips("bold", [4.0], eta=0.25)
    assert not flips("bold", [4.0 - 1e-12], eta=0.25)


@pytest.mark.parametrize("zero_average", ["inertia", "slow"])
def test_a_weight_whose_average_is_zero_stays(zero_average: str) -> None:
    method, rates = ("cema", dict(alpha=0.5, gamma=1.0)) if zero_average == "inertia" else ("diode", {})
    signs = torch.tensor([1.0, -1.0])
    weight, optimizer = start(method, signs, **rates)
    other = "momentum" if method == "cema" else "fast"
    optimizer.state[weight].update({other: torch.zeros(2), zero_average: torch.zeros(2)})
    assert torch.equal(take_steps(weight, optimizer, np.zeros((1, 2)))[0], signs)


@pytest.mark.parametrize("method", FILTERS)
def test_the_layers_hold_signs_and_nothing_else(method: str) -> None:
    assert is_latent_free(METHODS[method]())


@pytest.mark.parametrize("method", FILTERS)
def test_the_tensors_shape_and_blocks_change_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    gradients = random_gradients(60, 24 * 10)
    hypers: dict[str, Any] = {"lr": 0.1} if method == "diode" else {}
    flat = run(method, gradients, random_signs(240).float(), **hypers)
    monkeypatch.setattr("optimizers.core.flipper.BLOCK", 50)
    cube = run(method, gradients, random_signs(240).float().reshape(24, 2, 5), **hypers)
    assert torch.equal(cube.flatten(1), flat)
    assert flips_in(flat) > 0


def test_diode_learns_where_its_start_is_soon_forgotten() -> None:
    """At the published defaults the first flips take thousands of steps."""
    training = Training(METHODS["diode"](lr=1e-2, beta1=0.9, beta2=0.99))
    training.real.param_groups[0]["lr"] = 0.0
    before = sum(training.loss(-number).item() for number in range(1, 5))
    for _ in range(60):
        training.step()
    assert sum(training.loss(-number).item() for number in range(1, 5)) < 0.7 * before


@pytest.mark.parametrize(
    ("method", "setting", "words"),
    [
        ("cema", {"alpha": 0.0}, "alpha must lie in (0, 1], not 0.0"),
        ("cema", {"alpha": 1.1}, "alpha must lie in (0, 1], not 1.1"),
        ("cema", {"gamma": -0.1}, "gamma must lie in (0, 1], not -0.1"),
        ("cema", {"gamma": math.nan}, "gamma must lie in (0, 1], not nan"),
        ("sgdt", {"lr": 0.0}, "lr must be > 0, not 0.0"),
        ("sgdt", {"threshold": -1.0}, "threshold must be >= 0, not -1.0"),
        ("sgdat", {"lr": math.nan}, "lr must be > 0, not nan"),
        ("sgdat", {"threshold": math.nan}, "threshold must be >= 0, not nan"),
        ("sgdat", {"momentum": 1.0}, "momentum must lie in [0, 1), not 1.0"),
        ("sgdat", {"momentum": -0.1}, "momentum must lie in [0, 1), not -0.1"),
        ("sgdat", {"counted": "day"}, "counted must be one of ['run', 'epoch'], not 'day'"),
        ("boat", {"eta": -0.1}, "eta must be >= 0, not -0.1"),
        ("boat", {"weight_decay": 1.0}, "weight_decay must lie in [0, 1), not 1.0"),
        ("boat", {"weight_decay": -0.1}, "weight_decay must lie in [0, 1), not -0.1"),
        ("bold", {"eta": 0.0}, "eta must be > 0, not 0.0"),
        ("diode", {"lr": 0.0}, "lr must be > 0, not 0.0"),
        ("diode", {"beta1": 1.0}, "beta1 must lie in [0, 1), not 1.0"),
        ("diode", {"beta2": -0.1}, "beta2 must lie in [0, 1), not -0.1"),
    ],
)
def test_refuses_impossible_settings(method: str, setting: dict[str, Any], words: str) -> None:
    with pytest.raises(BadHyper) as error:
        METHODS[method](**setting)
    assert str(error.value) == words
    assert [error.value.name] == list(setting)

"""Bop with a second moment, adaptive thresholds, or random flips: scalar loops and exact identities."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from optimizers import METHODS
from optimizers.bop_adaptive import quantile_update
from optimizers.core import BadHyper, Flipper
from optimizers.prob_bop import probabilistic_flip
from suite.experiment.plan import is_latent_free
from suite.records.schedules import parse_schedule
from tests.support.rules import (
    COUNT,
    STEPS,
    STEPS_PER_EPOCH,
    assert_same_signs,
    epoch_of,
    flips_in,
    random_gradients,
    random_signs,
    run,
    start,
    take_steps,
)
from tests.support.training import Training

FAMILY = ["bop-second-order", "bop-layer", "bop-quantile", "prob-bop", "prob-bop-second-order"]
Row = list[float]


# --- scalar loops over plain floats, written from the formulas ---


def second_order_loop(
    signs: Row, gradients: np.ndarray, hypers: list[tuple[float, float, float]], unbiased: bool
) -> list[Row]:
    """`hypers`: gamma, sigma and tau of each step."""
    w, m, v, after = list(signs), [0.0] * len(signs), [0.0] * len(signs), []
    for gradient, (gamma, sigma, tau) in zip(gradients.tolist(), hypers, strict=True):
        for i, g in enumerate(gradient):
            m[i] += gamma * (g - m[i])
            v[i] += sigma * (g * g - v[i])
            score = m[i] / (math.sqrt(v[i]) + 1e-10)
            if unbiased:  # as in the branch `conference`
                score = (m[i] / gamma) / (math.sqrt(v[i] / sigma) + 1e-10)
            if w[i] * score > tau:
                w[i] = -w[i]
        after.append(list(w))
    return after


@pytest.mark.parametrize("unbiased", [False, True])
@pytest.mark.parametrize(
    ("gamma", "sigma", "threshold"), [(0.1, 0.01, 0.0), (0.1, 0.01, 0.3), (0.02, 0.3, 0.1), (1.0, 0.1, 0.5)]
)
def test_the_second_order_rule_equals_a_scalar_loop(
    gamma: float, sigma: float, threshold: float, unbiased: bool
) -> None:
    gradients = random_gradients()
    hypers: dict[str, Any] = dict(gamma=gamma, sigma=sigma, threshold=threshold, unbiased=unbiased)
    constant = [(gamma, sigma, threshold)] * STEPS
    expected = second_order_loop(random_signs().tolist(), gradients, constant, unbiased)
    assert_same_signs(run("bop-second-order", gradients, **hypers), expected)


@pytest.mark.parametrize("unbiased", [False, True])
def test_the_second_order_rule_under_the_released_schedule_for_cifar_10(unbiased: bool) -> None:
    """Linear over the training: gamma 1e-2 to 1e-5, sigma 1e-7 to 1e-2, threshold 1e-5 to 1e-8."""
    gradients, preset = random_gradients(), METHODS["bop-second-order"].presets["cifar10"]
    ends = {"gamma": [1e-2, 1e-5], "sigma": [1e-7, 1e-2], "threshold": [1e-5, 1e-8]}
    at = [step / STEPS for step in range(STEPS)]
    gamma, sigma, threshold = (
        [start + (end - start) * progress for progress in at] for start, end in ends.values()
    )
    expected = second_order_loop(
        random_signs().tolist(), gradients, list(zip(gamma, sigma, threshold, strict=True)), unbiased
    )
    assert preset == {name: {"linear": values} for name, values in ends.items()}
    schedules = {name: parse_schedule(written) for name, written in preset.items()}
    groups = [{name: schedule.value(progress) for name, schedule in schedules.items()} for progress in at]
    assert_same_signs(run("bop-second-order", gradients, groups=groups, unbiased=unbiased), expected)


def layer_loop(signs: Row, gradients: np.ndarray, gamma: float, factor: float) -> list[Row]:
    w, m, after = list(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        m = [(1 - gamma) * a + gamma * g for a, g in zip(m, gradient, strict=True)]
        limit = factor * math.sqrt(sum(a * a for a in m) / len(m))
        w = [-s if s * a > limit else s for s, a in zip(w, m, strict=True)]
        after.append(w)
    return after


@pytest.mark.parametrize(("gamma", "threshold"), [(0.1, 0.0), (0.1, 0.3), (0.02, 0.1), (1.0, 1.5)])
def test_the_layers_threshold_equals_a_scalar_loop(gamma: float, threshold: float) -> None:
    gradients = random_gradients()
    expected = layer_loop(random_signs().tolist(), gradients, gamma, threshold)
    assert_same_signs(run("bop-layer", gradients, gamma=gamma, threshold=threshold), expected)


def quantile_loop(signs: Row, gradients: np.ndarray, gamma: float, rate: float) -> list[Row]:
    w, m, after, flips_left = list(signs), [0.0] * len(signs), [], 0.0
    for gradient in gradients.tolist():
        m = [(1 - gamma) * a + gamma * g for a, g in zip(m, gradient, strict=True)]
        flips_left += rate * len(w)
        allowed = math.floor(flips_left)
        flips_left -= allowed
        strongest = sorted(range(len(w)), key=lambda i: w[i] * m[i], reverse=True)
        for i in strongest[:allowed]:
            if w[i] * m[i] > 0:
                w[i] = -w[i]
        after.append(list(w))
    return after


@pytest.mark.parametrize(("gamma", "rate"), [(0.1, 0.05), (0.1, 1.0), (0.02, 0.0123), (1.0, 0.3)])
def test_the_quantile_equals_a_scalar_loop(gamma: float, rate: float) -> None:
    gradients = random_gradients()
    expected = quantile_loop(random_signs().tolist(), gradients, gamma, rate)
    assert_same_signs(run("bop-quantile", gradients, gamma=gamma, flip_rate=rate), expected)


def weight_loop(signs: Row, gradients: np.ndarray, gamma: float, sigma: float, factor: float) -> list[Row]:
    w, m, v, after = list(signs), [0.0] * len(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            m[i] = (1 - gamma) * m[i] + gamma * g
            v[i] = (1 - sigma) * v[i] + sigma * g**2
            if abs(m[i]) > factor * math.sqrt(v[i]):
                w[i] = -math.copysign(1.0, m[i])  # the form of a Schmitt trigger
        after.append(list(w))
    return after


@pytest.mark.parametrize(
    ("gamma", "sigma", "threshold"), [(0.1, 0.01, 0.0), (0.1, 0.02, 0.3), (0.5, 0.3, 0.4)]
)
def test_a_threshold_for_each_weight_is_a_second_moment(gamma: float, sigma: float, threshold: float) -> None:
    gradients = random_gradients()
    expected = weight_loop(random_signs().tolist(), gradients, gamma, sigma, threshold)
    found = run("bop-second-order", gradients, gamma=gamma, sigma=sigma, threshold=threshold)
    assert_same_signs(found, expected)


def probabilistic_loop(
    signs: Row,
    gradients: np.ndarray,
    gamma: float,
    sigma: float | None,
    tau: float,
    alpha: float,
    formula: int,
    annealing: str,
) -> tuple[list[Row], int]:
    """The weights after each step, and how many flips were drawn; the draws are those of each step's seed."""
    count, after, drawn = len(signs), [], 0
    w, m, v, n = list(signs), [0.0] * count, [0.0] * count, [1] * count
    for step, gradient in enumerate(gradients.tolist()):
        torch.default_generator.manual_seed(step)  # torch.manual_seed looks for GPUs each time
        draws = torch.rand(count, dtype=torch.float64).tolist()
        e = epoch_of(step)
        if annealing == "released" and e > 2:
            e = 2
        low = 1 - alpha**e / 2
        high = 1 / low
        for i, g in enumerate(gradient):
            m[i] = (1 - gamma) * m[i] + gamma * g
            score = m[i]
            if sigma is not None:
                v[i] = (1 - sigma) * v[i] + sigma * g * g
                score = m[i] / (math.sqrt(v[i]) + 1e-10)
            if (score > 0) != (w[i] > 0):
                continue
            d = abs(score) / tau
            compared, exponent = {0: (d, d), 11: (d / n[i], d), 14: (d / n[i], d / (e * n[i]))}[formula]
            by_chance = low < compared < high and draws[i] < 1 - math.exp(-exponent)
            drawn += by_chance
            if compared > high or by_chance:
                w[i] = -w[i]
                n[i] += 1
        after.append(list(w))
    return after, drawn


@pytest.mark.parametrize("annealing", ["mended", "released"])
@pytest.mark.parametrize("formula", [0, 11, 14])
@pytest.mark.parametrize("sigma", [None, 0.02])
def test_random_flips_equal_a_scalar_loop_with_the_same_draws(
    sigma: float | None, formula: int, annealing: str
) -> None:
    gradients = random_gradients()
    threshold = 0.3 if formula == 0 else 0.03
    hypers: dict[str, Any] = dict(gamma=0.1, threshold=threshold, alpha=0.9)
    hypers |= {} if sigma is None else {"sigma": sigma}
    expected, drawn = probabilistic_loop(
        random_signs().tolist(), gradients, 0.1, sigma, threshold, 0.9, formula, annealing
    )
    found = run(
        "prob-bop" if sigma is None else "prob-bop-second-order",
        gradients,
        **hypers,
        formula=formula,
        annealing=annealing,
    )
    assert_same_signs(found, expected)
    assert drawn > 50


@pytest.mark.parametrize("method", ["prob-bop", "prob-bop-second-order"])
@pytest.mark.parametrize("formula", [0, 11, 14])
def test_the_released_count_of_epochs_stops_at_two(method: str, formula: int) -> None:
    gradients, threshold = random_gradients(), 0.3 if formula == 0 else 0.03
    hypers: dict[str, Any] = dict(gamma=0.1, threshold=threshold, alpha=0.9, formula=formula)
    mended = run(method, gradients, **hypers, annealing="mended")
    released = run(method, gradients, **hypers, annealing="released")
    two_epochs = 2 * STEPS_PER_EPOCH
    assert torch.equal(mended[:two_epochs], released[:two_epochs])
    assert not torch.equal(mended, released)


# --- exact identities ---


def test_a_second_moment_of_one_is_no_second_moment() -> None:
    gradients = np.sign(random_gradients())  # with sigma = 1, v is the square of the last gradient
    found = run("bop-second-order", gradients, gamma=0.05, sigma=1.0, threshold=0.123)
    assert_same_signs(found, run("bop", gradients, gamma=0.05, threshold=0.123))


def test_the_layers_threshold_is_bop_with_that_threshold_in_each_step() -> None:
    gradients, gamma, m, limits = random_gradients(), 0.05, np.zeros(COUNT), []
    for gradient in gradients:
        m = (1 - gamma) * m + gamma * gradient
        limits.append({"threshold": 0.7 * float(np.sqrt(np.mean(m**2)))})
    expected = run("bop", gradients, groups=limits, gamma=gamma, threshold=1.0)
    assert_same_signs(run("bop-layer", gradients, gamma=gamma, threshold=0.7), expected)


def test_in_a_layer_of_equal_averages_all_or_none_may_flip() -> None:
    gradients = np.repeat(random_gradients(count=1), COUNT, axis=1)
    gradients *= np.random.default_rng(2).choice([-1.0, 1.0], COUNT)
    all_may = run("bop-layer", gradients, gamma=0.1, threshold=0.99)
    assert_same_signs(all_may, run("bop", gradients, gamma=0.1, threshold=0.0))
    assert flips_in(run("bop-layer", gradients, gamma=0.1, threshold=1.01)) == 0


def test_a_quantile_of_all_is_bop_without_a_threshold() -> None:
    gradients = random_gradients()
    found = run("bop-quantile", gradients, gamma=0.1, flip_rate=1.0)
    assert_same_signs(found, run("bop", gradients, gamma=0.1, threshold=0.0))


@pytest.mark.parametrize("rate", [0.004, 0.0123])
def test_a_quantile_never_flips_more_than_its_share(rate: float) -> None:
    signs = random_signs()
    weights = torch.cat(
        [signs[None], run("bop-quantile", random_gradients(), signs, gamma=0.1, flip_rate=rate)]
    )
    flips = (weights[1:] != weights[:-1]).sum(1)
    assert int(flips.max()) == math.ceil(rate * COUNT)
    # With these waves most steps have candidates: even such a small layer uses its share.
    assert 0.9 * rate * COUNT * STEPS < int(flips.sum()) <= rate * COUNT * STEPS


def test_a_quantile_of_all_never_exceeds_all() -> None:
    """In single precision the remainder can round up to one more flip than there are weights."""
    weight, allowance = torch.ones(60), torch.tensor(1.0 - 2.0**-24)
    after, _, left = quantile_update(weight, weight, allowance, weight, gamma=1.0, flip_rate=1.0)
    assert torch.equal(after, -weight)
    assert 0.0 <= left.item() < 1.0


def test_quantile_thresholds_flip_the_same_share_of_every_layer() -> None:
    training = Training(METHODS["bop-quantile"](gamma=0.1, flip_rate=0.01))
    shares = []
    for _ in range(50):
        before = [p.detach().clone() for p in training.weights.param_groups[0]["params"]]
        training.step()
        after = training.weights.param_groups[0]["params"]
        shares.append([float((a != b).float().mean()) for a, b in zip(after, before, strict=True)])
    assert torch.tensor(shares).mean(0).tolist() == pytest.approx([0.01] * len(shares[0]), rel=0.1)


@pytest.mark.parametrize(
    ("method", "hypers"),
    [
        ("bop-layer", {"threshold": 0.3}),
        ("bop-quantile", {"flip_rate": 0.02}),
    ],
)
def test_adaptive_thresholds_do_not_depend_on_the_gradients_scale(
    method: str, hypers: dict[str, Any]
) -> None:
    gradients, signs = random_gradients(), random_signs().float()
    plain = run(method, gradients, signs, gamma=0.1, **hypers)
    assert torch.equal(run(method, 2.0**-20 * gradients, signs, gamma=0.1, **hypers), plain)
    assert flips_in(plain) > COUNT


def test_prob_bop_without_a_band_is_bop() -> None:
    gradients = random_gradients()
    found = run("prob-bop", gradients, gamma=0.1, threshold=0.3, alpha=0.0)
    assert_same_signs(found, run("bop", gradients, gamma=0.1, threshold=0.3))
    second = run("prob-bop-second-order", gradients, gamma=0.1, sigma=0.02, threshold=0.3, alpha=0.0)
    assert_same_signs(second, run("bop-second-order", gradients, gamma=0.1, sigma=0.02, threshold=0.3))


def test_prob_bop_becomes_bop_as_the_band_closes() -> None:
    gradients = random_gradients()
    late = [{"epoch": 100}] * STEPS
    bop = run("bop", gradients, gamma=0.1, threshold=0.3)
    assert_same_signs(run("prob-bop", gradients, groups=late, gamma=0.1, threshold=0.3, alpha=0.5), bop)
    assert not torch.equal(run("prob-bop", gradients, gamma=0.1, threshold=0.3, alpha=0.5), bop)
    released = run(
        "prob-bop", gradients, groups=late, gamma=0.1, threshold=0.3, alpha=0.5, annealing="released"
    )
    assert not torch.equal(released, bop)


@pytest.mark.parametrize(
    ("formula", "epoch", "flips"), [(0, 3, 2.0), (11, 3, 2.0), (14, 1, 2.0), (14, 3, 2.0)]
)
def test_the_chance_in_the_band_is_that_of_the_formula(formula: int, epoch: int, flips: float) -> None:
    torch.manual_seed(0)
    size, strength = 100_000, 1.05
    ones = torch.ones(size, dtype=torch.float64)
    score = ones * 0.1 * strength * (1.0 if formula == 0 else flips)
    weight, count = probabilistic_flip(ones, score, flips * ones, 0.1, 0.9, epoch, formula, "mended")
    expected = 1 - math.exp({0: -strength, 11: -strength * flips, 14: -strength / epoch}[formula])
    assert (weight < 0).double().mean().item() == pytest.approx(expected, abs=0.006)
    assert torch.equal(count, torch.where(weight < 0, flips + 1, flips))


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_at_the_edges_of_the_band_nothing_flips(side: float) -> None:
    """With alpha = 1 the band is 1/2 to 2; just inside the draw decides, above it the flip is certain."""
    weight = side * torch.ones(5, dtype=torch.float64)
    score = side * torch.tensor([0.5, 2.0, 2.0 + 1e-12, -5.0, 0.0], dtype=torch.float64)
    after, _ = probabilistic_flip(weight, score, torch.ones(5).double(), 1.0, 1.0, 1, 11, "mended")
    assert (after != weight).tolist() == [False, False, True, False, False]


@pytest.mark.parametrize(("gamma", "sigma"), [(0.1, 0.01), (0.02, 0.3)])
def test_the_unbiased_form_is_the_biased_one_at_another_threshold(gamma: float, sigma: float) -> None:
    gradients = random_gradients()
    rates: dict[str, Any] = dict(gamma=gamma, sigma=sigma)
    biased = run("bop-second-order", gradients, threshold=0.2, **rates)
    scaled = 0.2 * math.sqrt(sigma) / gamma
    unbiased = run("bop-second-order", gradients, threshold=scaled, unbiased=True, **rates)
    assert_same_signs(unbiased, biased)
    at_the_same = run("bop-second-order", gradients, threshold=scaled, **rates)
    assert (sigma == 0.01) == torch.equal(at_the_same, biased)  # there sqrt(sigma) is gamma


# --- pitfalls, state, refused values ---

WITHOUT_THRESHOLD: dict[str, dict[str, Any]] = {
    "bop-second-order": {"threshold": 0.0},
    "bop-layer": {"threshold": 0.0},
    "bop-quantile": {"flip_rate": 1.0},
    "prob-bop": {},
    "prob-bop-second-order": {},
}


@pytest.mark.parametrize("zero", [0.0, -0.0])
@pytest.mark.parametrize("method", FAMILY)
def test_a_dead_gradient_flips_nothing(method: str, zero: float) -> None:
    signs = random_signs()
    found = run(method, np.full((5, COUNT), zero), signs, **WITHOUT_THRESHOLD[method])
    assert torch.equal(found, signs.expand(5, -1))


@pytest.mark.parametrize("unbiased", [False, True])
def test_at_equality_the_weight_stays_in_the_second_order_rule(unbiased: bool) -> None:
    weight, optimizer = start(
        "bop-second-order", random_signs(2), gamma=0.5, sigma=1.0, threshold=0.5, unbiased=unbiased
    )
    weight.data = torch.tensor([1.0, -1.0], dtype=torch.float64)
    score = (1.0 if unbiased else 0.5) / (1.0 + 1e-10)  # of a first gradient of 1
    equal = [{"threshold": score}]
    assert take_steps(weight, optimizer, np.array([[1.0, -1.0]]), equal).tolist() == [[1.0, -1.0]]
    weight, optimizer = start(
        "bop-second-order", weight.detach(), gamma=0.5, sigma=1.0, threshold=0.5, unbiased=unbiased
    )
    below = [{"threshold": math.nextafter(score, 0.0)}]
    assert take_steps(weight, optimizer, np.array([[1.0, -1.0]]), below).tolist() == [[-1.0, 1.0]]


@pytest.mark.parametrize("method", ["bop-layer"])
def test_at_equality_the_weight_stays_under_an_adaptive_threshold(method: str) -> None:
    """A first gradient of 1 with all rates 1 is its own root mean square."""
    rates: dict[str, Any] = dict(gamma=1.0) if method == "bop-layer" else dict(gamma=1.0, sigma=1.0)
    signs = torch.tensor([1.0, -1.0, 1.0, -1.0], dtype=torch.float64)
    gradient = signs.numpy()[None]
    assert torch.equal(run(method, gradient, signs, threshold=1.0, **rates)[0], signs)
    assert torch.equal(run(method, gradient, signs, threshold=1.0 - 1e-12, **rates)[0], -signs)


@pytest.mark.parametrize("method", FAMILY)
def test_the_family_keeps_no_latent_weight(method: str) -> None:
    assert is_latent_free(METHODS[method]())


@pytest.mark.parametrize("method", FAMILY)
def test_the_tensors_shape_and_blocks_change_nothing(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elementwise rules run in blocks; the others must not."""
    gradients = random_gradients(60, 24 * 10)
    flat = run(method, gradients, random_signs(240).float())
    monkeypatch.setattr("optimizers.core.flipper.BLOCK", 50)
    cube = run(method, gradients, random_signs(240).float().reshape(24, 2, 5))
    assert torch.equal(cube.flatten(1), flat)
    assert flips_in(flat) > 0


@pytest.mark.parametrize("method", FAMILY)
def test_only_rules_that_neither_draw_nor_depend_on_the_layer_are_split_into_blocks(method: str) -> None:
    _, optimizer = start(method, random_signs())
    assert isinstance(optimizer, Flipper)
    assert optimizer.elementwise == (method == "bop-second-order")


@pytest.mark.parametrize("method", ["prob-bop", "prob-bop-second-order"])
def test_the_epoch_is_one_until_the_training_sets_it(method: str) -> None:
    _, optimizer = start(method, random_signs())
    assert optimizer.param_groups[0]["epoch"] == 1


BAD: list[tuple[str, dict[str, Any], str]] = [
    *[
        (method, {"gamma": value}, f"gamma must lie in (0, 1], not {value}")
        for method in FAMILY
        for value in (0.0, -0.1, 1.5, math.nan)
    ],
    *[
        (method, {"sigma": value}, f"sigma must lie in (0, 1], not {value}")
        for method in ("bop-second-order", "prob-bop-second-order")
        for value in (0.0, 1.5)
    ],
    *[
        (method, {"threshold": value}, f"threshold must be >= 0, not {value}")
        for method in ("bop-second-order", "bop-layer")
        for value in (-1e-9, math.nan)
    ],
    ("bop-quantile", {"flip_rate": 0.0}, "flip_rate must lie in (0, 1], not 0.0"),
    ("bop-quantile", {"flip_rate": 1.1}, "flip_rate must lie in (0, 1], not 1.1"),
    *[
        (method, setting, words)
        for method in ("prob-bop", "prob-bop-second-order")
        for setting, words in (
            ({"threshold": 0.0}, "threshold must be > 0, not 0.0"),
            ({"alpha": 1.1}, "alpha must lie in [0, 1], not 1.1"),
            ({"alpha": -0.1}, "alpha must lie in [0, 1], not -0.1"),
            ({"formula": 12}, "formula must be one of [0, 11, 14], not 12"),
            ({"annealing": "fast"}, "annealing must be one of ['mended', 'released'], not 'fast'"),
        )
    ],
]


@pytest.mark.parametrize(("method", "setting", "words"), BAD)
def test_refuses_impossible_settings(method: str, setting: dict[str, Any], words: str) -> None:
    with pytest.raises(BadHyper) as error:
        METHODS[method](**setting)
    assert str(error.value) == words
    assert [error.value.name] == list(setting)

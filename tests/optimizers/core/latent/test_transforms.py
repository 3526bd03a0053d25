"""The weight transforms against numpy formulas of their forward and backward, and exact identities."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.core import Timed, WeightRule, sign
from optimizers.core.latent.transforms import TRANSFORMS, balanced_signs, recu_tau, recu_weight, standardised
from suite.models.blocks.layers import binary_layers
from suite.training.evaluate import assert_binary
from tests.support.training import Training

SHAPES = [(5, 9), (4, 3, 2, 2)]
SCALED = ["xnor", "magnitude_aware", "magnitude_straight"]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
every_transform = pytest.mark.parametrize("name", TRANSFORMS)


def rule_with(name: str, **hypers: Any) -> WeightRule:
    return METHODS["latent-sgd"](**{"transform": name, "clip": None, "pseudo_gradient": "identity", **hypers})


def drawn(shape: tuple[int, ...], seed: int = 0, shift: float = 0.1) -> Tensor:
    """Weights of several magnitudes, in rows with different means; some lie beyond 1."""
    random = torch.Generator().manual_seed(seed)
    weight = torch.randn(shape, generator=random, dtype=torch.float64)
    rows = torch.arange(1, shape[0] + 1).reshape(-1, *[1] * (len(shape) - 1))
    return weight * rows / 3 + shift * rows


def tell(rule: WeightRule, progress: float) -> None:
    """Set the progress of a reading that depends on it."""
    for module in rule.read.modules() if isinstance(rule.read, torch.nn.Module) else ():
        if isinstance(module, Timed):
            module.progress = progress


def read_and_gradient(rule: WeightRule, weight: Tensor, upstream: Tensor, progress: float = 0.0) -> Any:
    """The weight as read in training and its gradient, as numpy rows."""
    tell(rule, progress)
    weight = weight.clone().requires_grad_()
    result = rule.read(weight)
    (result * upstream).sum().backward()
    assert weight.grad is not None
    return result.detach().flatten(1).numpy(), weight.grad.flatten(1).numpy()


def deployed(rule: WeightRule, weight: Tensor) -> Tensor:
    assert rule.deploy is not None
    return rule.deploy(weight)


def signs_of(rows: np.ndarray) -> np.ndarray:
    return np.where(rows < 0, -1.0, 1.0)


# --- forward and backward from the formulas ---


@every_shape
@pytest.mark.parametrize("slope", ["identity", "clipped"])
def test_xnor_is_alpha_times_sign_with_the_gradient_of_both(shape: tuple[int, ...], slope: str) -> None:
    weight, upstream = drawn(shape), drawn(shape, 1)
    result, gradient = read_and_gradient(rule_with("xnor", pseudo_gradient=slope), weight, upstream)
    w, g = weight.flatten(1).numpy(), upstream.flatten(1).numpy()
    alpha = np.abs(w).mean(1, keepdims=True)
    passes = np.abs(w) <= 1 if slope == "clipped" else np.ones_like(w)
    assert 0 < passes.mean() <= 1 and (slope == "identity" or passes.mean() < 1)
    np.testing.assert_allclose(result, alpha * signs_of(w), rtol=1e-12)
    through_alpha = signs_of(w) * (signs_of(w) * g).mean(1, keepdims=True)
    np.testing.assert_allclose(gradient, alpha * passes * g + through_alpha, rtol=1e-11, atol=1e-13)


@every_shape
def test_magnitude_aware_differs_from_xnor_by_the_gradient_through_alpha_alone(
    shape: tuple[int, ...],
) -> None:
    weight, upstream = drawn(shape), drawn(shape, 1)
    result, gradient = read_and_gradient(rule_with("magnitude_aware"), weight, upstream)
    of_xnor, gradient_of_xnor = read_and_gradient(rule_with("xnor"), weight, upstream)
    w, g = weight.flatten(1).numpy(), upstream.flatten(1).numpy()
    assert np.array_equal(result, of_xnor)
    np.testing.assert_allclose(gradient, np.abs(w).mean(1, keepdims=True) * g, rtol=1e-12)
    term = signs_of(w) * (signs_of(w) * g).mean(1, keepdims=True)
    np.testing.assert_allclose(gradient_of_xnor - gradient, term, rtol=1e-10, atol=1e-12)


def released_bi_real_net(
    w: list[float], noise: list[list[float]], lr: float, decay: float
) -> tuple[list[list[float]], list[float]]:
    """Adam on one output's weights as the PyTorch code of Bi-Real Net, ReActNet and AdamBNN binarizes them.

    The weight read is mean|w| sign(w) and its gradient that of clamp(w, -1, 1). Loss: noise · weight.
    """
    w, m, v, after, scales = list(w), [0.0] * len(w), [0.0] * len(w), [], []
    for t, gradient in enumerate(noise, 1):
        scales.append(sum(abs(value) for value in w) / len(w))
        for j, g in enumerate(gradient):
            g = (g if -1 <= w[j] <= 1 else 0.0) + decay * w[j]
            m[j] = 0.9 * m[j] + 0.1 * g
            v[j] = 0.999 * v[j] + 0.001 * g * g
            w[j] -= lr * (m[j] / (1 - 0.9**t)) / (math.sqrt(v[j] / (1 - 0.999**t)) + 1e-7)
        after.append(list(w))
    return after, scales


def test_magnitude_straight_trains_as_the_released_code_of_bi_real_net() -> None:
    """larq's form, magnitude_aware, differs in a few percent of the signs."""
    steps, inputs = 300, 40
    random = np.random.default_rng(0)
    start = random.uniform(-1.2, 1.2, (1, inputs))
    wave = np.sin(np.arange(steps)[:, None] / 25 + random.uniform(0, 6, inputs))
    noise = 0.02 * (wave + random.normal(size=(steps, inputs)))
    signs = {}
    for name in ("magnitude_straight", "magnitude_aware"):
        rule = METHODS["latent-adam"](
            lr=0.02, transform=name, clip=None, weight_decay=5e-3, pseudo_gradient="clipped"
        )
        weight = torch.from_numpy(start).clone().requires_grad_()
        optimizer, path, scales = rule.optimizer([weight]), [], []
        for upstream in torch.from_numpy(noise):
            optimizer.zero_grad()
            read = rule.read(weight)
            (read * upstream).sum().backward()
            scales.append(read[0, 0].abs().item())
            optimizer.step()
            path.append(weight.detach()[0].clone())
        signs[name] = signs_of(torch.stack(path).numpy())
        if name == "magnitude_straight":
            expected, means = released_bi_real_net(start[0].tolist(), noise.tolist(), 0.02, 5e-3)
            np.testing.assert_allclose(scales, means, rtol=1e-9)
            assert np.array_equal(signs[name], signs_of(np.array(expected)))
    differ = float((signs["magnitude_straight"] != signs["magnitude_aware"]).mean())
    flips = int((signs["magnitude_straight"][1:] != signs["magnitude_straight"][:-1]).sum())
    assert differ > 0.02 and flips > inputs


def standardisation_jacobian(w: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The gradient through (w - mean)/std of a row, std with n - 1, from that of the standardised weights."""
    n = w.shape[1]
    std = w.std(1, ddof=1, keepdims=True)
    normal = (w - w.mean(1, keepdims=True)) / std
    return (g - g.mean(1, keepdims=True) - normal * (g * normal).sum(1, keepdims=True) / (n - 1)) / std


@every_shape
@pytest.mark.parametrize("slope", ["identity", "clipped", "approx_sign"])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_standardise_signs_the_standardised_weight_and_has_its_gradient(
    shape: tuple[int, ...], slope: str, clip: float | None
) -> None:
    """The slope is taken at the standardised weight, also where a clip keeps the latent weight within 1."""
    weight, upstream = drawn(shape), drawn(shape, 1)
    rule = rule_with("standardise", pseudo_gradient=slope, clip=clip)
    result, gradient = read_and_gradient(rule, weight, upstream)
    w, g = weight.flatten(1).numpy(), upstream.flatten(1).numpy()
    normal = (w - w.mean(1, keepdims=True)) / w.std(1, ddof=1, keepdims=True)
    slopes = {
        "identity": np.ones_like(w),
        "clipped": np.abs(normal) <= 1,
        "approx_sign": np.maximum(0, 2 - 2 * np.abs(normal)),
    }[slope]
    assert np.array_equal(result, signs_of(normal))
    assert not np.array_equal(result, signs_of(w))
    np.testing.assert_allclose(gradient, standardisation_jacobian(w, g * slopes), rtol=1e-9, atol=1e-12)


@every_shape
@pytest.mark.parametrize("progress", [0.0, 0.5, 0.99])
def test_recu_stops_the_gradient_beyond_its_quantile_and_standardises(
    shape: tuple[int, ...], progress: float
) -> None:
    weight, upstream = drawn(shape), drawn(shape, 1)
    rule = rule_with("recu", pseudo_gradient="approx_sign")  # which it does not use
    result, gradient = read_and_gradient(rule, weight, upstream, progress)
    w, g = weight.flatten(1).numpy(), upstream.flatten(1).numpy()
    n = w.shape[1]
    root = np.sqrt(w.var(1, ddof=1, keepdims=True) + 1e-5)
    normal = 2 * math.sqrt(2) * (w - w.mean(1, keepdims=True)) / root
    tau = 0.85 + (0.99 - 0.85) * (math.e**progress - 1) / (math.e - 1)
    quantile = -np.abs(normal).mean() * math.log(2 - 2 * tau)
    within = np.abs(normal) <= quantile
    assert within.mean() < 1 or progress > 0.9
    assert np.array_equal(result, signs_of(normal))
    clamped = recu_weight(weight, tau).flatten(1).numpy()
    np.testing.assert_allclose(clamped, np.clip(normal, -quantile, quantile), rtol=1e-12)
    # As for standardise, with root in place of std and 2 sqrt(2) in front.
    centred = (w - w.mean(1, keepdims=True)) / root
    g = 2 * math.sqrt(2) * g * within
    expected = (g - g.mean(1, keepdims=True) - centred * (g * centred).sum(1, keepdims=True) / (n - 1)) / root
    np.testing.assert_allclose(gradient, expected, rtol=1e-9, atol=1e-12)


def test_recus_tau_grows_ever_faster_from_085_to_099() -> None:
    steps = [recu_tau(progress) for progress in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert (steps[0], steps[-1]) == (pytest.approx(0.85), pytest.approx(0.99))
    increments = np.diff(steps)
    np.testing.assert_allclose(increments[1:] / increments[:-1], math.exp(0.25), rtol=1e-9)


@every_shape
def test_recu_depends_on_the_time_and_its_clamp_widens(shape: tuple[int, ...]) -> None:
    weight, upstream = drawn(shape), torch.ones(shape, dtype=torch.float64)
    training = Training(METHODS["latent-sgd"](transform="recu"))
    assert len(training.learner.timed) == 1
    for _ in range(2):
        training.step()
    assert training.learner.timed[0].progress == 0.01
    rule, at = rule_with("recu"), {}
    for progress in (0.0, 1.0):
        upstream[0, 0] = 2.0
        at[progress] = read_and_gradient(rule, weight, upstream, progress)[1]
    assert not np.array_equal(at[0.0], at[1.0])


@every_shape
def test_bi_half_gives_the_upper_half_of_each_output_plus_one_with_slope_one(shape: tuple[int, ...]) -> None:
    weight, upstream = drawn(shape), drawn(shape, 1)
    rule = rule_with("bi_half", pseudo_gradient="approx_sign")  # which it does not use
    result, gradient = read_and_gradient(rule, weight, upstream)
    for row, found in zip(weight.flatten(1).tolist(), result.tolist(), strict=True):
        lower = sorted(row)[: len(row) // 2]
        assert found == [-1.0 if value in lower else 1.0 for value in row]
    assert np.array_equal(gradient, upstream.flatten(1).numpy())


# --- exact identities ---


def sorted_signs(weight: Tensor) -> list[list[float]]:
    """bi-half's signs by a stable sort in Python; NaN ranks above all numbers."""
    found = []
    for row in weight.flatten(1).tolist():
        order = sorted(range(len(row)), key=lambda i: (math.isnan(row[i]), row[i] if row[i] == row[i] else 0))
        lower = set(order[: len(row) // 2])
        found.append([-1.0 if i in lower else 1.0 for i in range(len(row))])
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("count", [1, 2, 3, 40, 41])
def test_bi_half_ranks_ties_infinities_and_nan_like_a_stable_sort(count: int, dtype: torch.dtype) -> None:
    weight = torch.randn(8, count, generator=torch.Generator().manual_seed(count), dtype=dtype)
    special = [math.nan, math.inf, -math.inf, 0.0, -0.0]
    tied = (weight * 2).round()
    mixed = weight.clone()
    for row in range(1, 8):  # the first row stays plain
        mixed[row, : row * count // 8] = torch.tensor([special[i % 5] for i in range(row * count // 8)])
    at_median = weight.sort(1).values
    at_median[:, max(count // 2 - 1, 0) : count // 2 + 1] = 0.5  # equal on both sides of the middle
    for drawn_so in (weight, tied, mixed, at_median, weight.new_full((8, count), math.nan)):
        signs = balanced_signs(drawn_so)
        assert signs.dtype == dtype and signs.tolist() == sorted_signs(drawn_so)


@pytest.mark.parametrize("shape", [(6, 10), (6, 11), (3, 4, 3, 3), (2, 1)])
@pytest.mark.parametrize("levels", [0, 1, 3])
def test_bi_half_is_balanced_whatever_the_weights(shape: tuple[int, ...], levels: int) -> None:
    weight = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weight = (weight * levels).round() if levels else weight * 0.0 - 5.0  # with many ties, or all equal
    signs = balanced_signs(weight)
    count = weight[0].numel()
    assert signs.shape == weight.shape
    assert set(signs.unique().tolist()) <= {-1.0, 1.0}
    assert (signs.flatten(1).sum(1) == count % 2).all()  # with an odd number, one more is +1
    rows = zip(weight.flatten(1), signs.flatten(1), strict=True)
    assert count == 1 or all(w[s < 0].max() <= w[s > 0].min() for w, s in rows)
    if len(shape) == 4:
        channels_last = weight.contiguous(memory_format=torch.channels_last)
        found = balanced_signs(channels_last)
        assert torch.equal(found, signs)
        assert found.stride() == channels_last.stride()


@every_shape
@every_transform
def test_a_positive_factor_for_each_output_changes_no_deployed_sign(
    name: str, shape: tuple[int, ...]
) -> None:
    weight, rule = drawn(shape), rule_with(name)
    factors = 2.0 ** torch.arange(-2, shape[0] - 2).reshape(-1, *[1] * (len(shape) - 1))
    assert torch.equal(sign(deployed(rule, factors * weight)), sign(deployed(rule, weight)))
    if name == "standardise":
        assert torch.equal(standardised(factors * weight), standardised(weight))
        upstream = drawn(shape, 1)
        of_scaled = read_and_gradient(rule, factors * weight, upstream)[1]
        of_plain = read_and_gradient(rule, weight, upstream)[1]
        assert np.array_equal(of_scaled * factors.flatten(1).numpy(), of_plain)


@every_shape
@pytest.mark.parametrize("name", ["standardise", "recu", "bi_half"])
def test_a_shift_of_a_whole_output_changes_only_plain_signs(name: str, shape: tuple[int, ...]) -> None:
    weight = drawn(shape)
    assert torch.equal(deployed(rule_with(name), weight + 2.0), deployed(rule_with(name), weight))
    assert not torch.equal(sign(weight + 2.0), sign(weight))


@every_shape
@every_transform
def test_evaluation_sees_the_signs_and_scales_of_the_training(name: str, shape: tuple[int, ...]) -> None:
    weight, rule = drawn(shape).float(), rule_with(name)
    deploy = deployed(rule, weight)
    for progress in (0.0, 0.9):
        tell(rule, progress)
        assert torch.equal(deploy, rule.read(weight))
    assert torch.equal(deploy, deployed(rule, weight))
    drawing = rule_with(name, binarize="stochastic")
    assert torch.equal(deployed(drawing, weight), deploy)
    scales = deploy.abs().flatten(1)
    assert bool((scales == scales[:, :1]).all())
    expected = weight.abs().flatten(1).mean(1) if name in SCALED else torch.ones(shape[0])
    torch.testing.assert_close(scales[:, 0], expected)


@every_transform
def test_outputs_whose_weights_are_all_equal_stay_finite_and_binary(name: str) -> None:
    weight = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0], [-0.5, -0.5, -0.5, -0.5]])
    rule = rule_with(name)
    deploy = deployed(rule, weight)
    assert bool((deploy != 0).all())
    _, gradient = read_and_gradient(rule, weight, torch.ones(3, 4))
    assert np.isfinite(gradient).all()


@every_shape
@pytest.mark.parametrize("name", [*SCALED, "standardise"])
def test_binarizes_with_the_pseudo_gradient_or_its_replacement(name: str, shape: tuple[int, ...]) -> None:
    weight, upstream = drawn(shape), torch.ones(shape, dtype=torch.float64)
    rule = rule_with(name, binarize="ede")
    gradients = [read_and_gradient(rule, weight, upstream, progress)[1] for progress in (0.0, 0.9)]
    assert not np.allclose(gradients[0], gradients[1])
    if name == "magnitude_aware":
        w = weight.flatten(1).numpy()
        t = 1e-3 * 10 ** (4 * 0.9)
        ede = max(t, 1.0) * (1 - np.tanh(t * w) ** 2)
        np.testing.assert_allclose(
            gradients[1], np.abs(w).mean(1, keepdims=True) * ede, rtol=1e-9, atol=1e-12
        )


@every_transform
@pytest.mark.parametrize("model", ["mlp", "convnet"])
def test_networks_learn_with_every_transform(name: str, model: str) -> None:
    training = Training(METHODS["latent-adam"](lr=0.01, transform=name), model)
    before, start = sum(training.step() for _ in range(5)), training.signs()
    for _ in range(45):
        training.step()
    assert sum(training.step() for _ in range(5)) < 0.8 * before
    assert int((training.signs() != start).sum()) > 10
    training.model.eval()
    assert_binary(training.model)
    for _, layer in binary_layers(training.model):
        assert torch.equal(layer.reading()(layer.weight).sign(), layer.binary_weight())


@pytest.mark.parametrize("name", SCALED)
def test_batch_norm_removes_the_scale_in_a_whole_network(name: str) -> None:
    """The same signs give the same outputs, up to batch norm's eps."""
    scaled = Training(METHODS["latent-adam"](transform=name))
    plain = Training(METHODS["latent-adam"]())
    assert torch.equal(scaled.signs(), plain.signs())
    assert scaled.loss(1).item() == pytest.approx(plain.loss(1).item(), rel=0.05)

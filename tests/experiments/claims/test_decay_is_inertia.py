"""A lower rate and larger latent weights at half-time: the same signs, to the bit, for three optimizers."""

from typing import Any

import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.core import BadHyper
from suite.training.step import state_tensors
from tests.support.plugins import CLAIMS, plugin
from tests.support.rules import COUNT, STEPS, assert_same_signs, random_gradients, take_steps
from tests.support.training import PLANNED, Training

PLUGIN = plugin(CLAIMS / "decay_is_inertia.py")
ARMS = {
    "late-sgd": (PLUGIN.late_sgd, "latent-sgd", 1.0),
    "late-momentum": (PLUGIN.late_momentum, "latent-momentum", 0.3),
    "late-adam": (PLUGIN.late_adam, "latent-adam", 0.03),
}
BEFORE, AFTER = 10, 15  # steps before and after half-time


def trained(arm: str, late: str, **hypers: Any) -> tuple[Training, Tensor]:
    method, _, lr = ARMS[arm]
    training = Training(method(late=late, lr=lr, **hypers))
    training.steps = PLANNED // 2 - BEFORE
    return training, training.trajectory(BEFORE + AFTER)


@pytest.mark.parametrize(("arm", "clip"), [("late-sgd", None), ("late-momentum", 0.25), ("late-adam", 0.25)])
def test_both_changes_flip_the_same_weights_ever_after(arm: str, clip: float | None) -> None:
    hypers = {"clip": clip, "pseudo_gradient": "identity"}
    (lower, rows), (higher, others) = (trained(arm, late, **hypers) for late in ("lower-lr", "raise-latents"))
    assert torch.equal(rows, others)
    for small, large in zip(lower.stored(), higher.stored(), strict=True):
        assert torch.equal(8 * small, large)
    # What the optimizer remembers of the gradients is not touched.
    remembered = [state_tensors(training.weights) for training in (lower, higher)]
    assert all(torch.equal(*pair) for pair in zip(*remembered, strict=True))
    _, unchanged = trained(arm, "none", **hypers)
    assert torch.equal(rows[: BEFORE + 1], unchanged[: BEFORE + 1])
    assert not torch.equal(rows, unchanged)
    assert (rows[BEFORE + 1 : -1] != rows[BEFORE + 2 :]).any()


@pytest.mark.parametrize("arm", ARMS)
def test_without_the_change_it_is_the_method_of_the_catalogue(arm: str) -> None:
    method, name, lr = ARMS[arm]
    ours, theirs = Training(method(lr=lr)), Training(METHODS[name](lr=lr))
    for training in (ours, theirs):
        training.steps = PLANNED // 2 - 1
    assert [ours.step() for _ in range(5)] == [theirs.step() for _ in range(5)]
    assert all(torch.equal(*pair) for pair in zip(ours.everything(), theirs.everything(), strict=True))


def test_coupled_weight_decay_tells_the_two_changes_apart() -> None:
    arms = [trained("late-sgd", late, weight_decay=0.5)[1] for late in ("lower-lr", "raise-latents")]
    assert not torch.equal(*arms)


def loop(start: list[float], gradients: list[list[float]], lr: float, late: str, clip: float) -> Any:
    """Momentum 0.8 on one latent weight after another, whose rate or inertia changes at half of STEPS."""
    after = []
    w, b = list(start), [0.0] * len(start)
    for step, gradient in enumerate(gradients):
        if step == STEPS // 2:
            if late == "lower-lr":
                lr /= 3.0
            else:
                w, clip = [3.0 * weight for weight in w], 3.0 * clip
        b = [0.8 * each + g for each, g in zip(b, gradient, strict=True)]
        w = [min(clip, max(-clip, each - lr * buffer)) for each, buffer in zip(w, b, strict=True)]
        after.append(list(w))
    return after


@pytest.mark.parametrize("late", ["lower-lr", "raise-latents"])
def test_momentum_equals_a_scalar_loop(late: str) -> None:
    gradients = random_gradients()
    weight = torch.linspace(-0.5, 0.5, COUNT, dtype=torch.float64)
    expected = torch.tensor(loop(weight.tolist(), gradients.tolist(), 0.02, late, 0.6), dtype=torch.float64)
    rule = PLUGIN.late_momentum(lr=0.02, momentum=0.8, late=late, factor=3.0, clip=0.6)
    stored = weight.clone().requires_grad_()
    found = take_steps(
        stored, rule.optimizer([stored]), gradients, [{"progress": step / STEPS} for step in range(STEPS)]
    )
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=1e-12)
    assert_same_signs(found.sign(), expected.sign())


def test_impossible_values_are_refused() -> None:
    with pytest.raises(BadHyper, match="late must be one of"):
        PLUGIN.late_sgd(late="lower")
    with pytest.raises(BadHyper, match="factor must be > 0"):
        PLUGIN.late_adam(factor=0.0)

"""Adam with parts of its step replaced: scalar loops, and Adam itself where nothing is replaced."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from optimizers import METHODS
from optimizers.core import BadHyper
from tests.support.plugins import CLAIMS, plugin
from tests.support.rules import COUNT, assert_same_signs, random_gradients, take_steps
from tests.support.training import Training

PARTS = plugin(CLAIMS / "adam_parts.py").adam_parts


def test_with_all_parts_it_is_latent_adam() -> None:
    ours, theirs = Training(PARTS()), Training(METHODS["latent-adam"]())
    assert [ours.step() for _ in range(5)] == [theirs.step() for _ in range(5)]
    assert all(torch.equal(*pair) for pair in zip(ours.everything(), theirs.everything(), strict=True))


def loop(start: list[float], gradients: Any, parts: str, lr: float, beta1: float, beta2: float) -> Any:
    """One layer, one weight after another; weight decay 0.1."""
    n = len(start)
    w, m, v, after = list(start), [0.0] * n, [0.0] * n, []
    for t, gradient in enumerate(gradients.tolist(), 1):
        g = [each + 0.1 * weight for each, weight in zip(gradient, w, strict=True)]
        for i in range(n):
            m[i] = beta1 * m[i] + (1 - beta1) * g[i]
            v[i] = beta2 * v[i] + (1 - beta2) * g[i] ** 2
        mean = sum(v) / n
        for i in range(n):
            if parts == "sign-of-gradient":
                step = math.copysign(1.0, g[i])
            elif parts == "sign-of-average":
                step = math.copysign(1.0, m[i])
            else:
                second = mean if parts == "layer-v" else v[i]
                step = m[i] / (1 - beta1**t) / (math.sqrt(second / (1 - beta2**t)) + 1e-7)
            w[i] -= lr * step
        after.append(list(w))
    return after


def run(start: Tensor, gradients: Any, **hypers: Any) -> Tensor:
    weight = start.clone().requires_grad_()
    rule = PARTS(clip=None, weight_decay=0.1, **hypers)
    return take_steps(weight, rule.optimizer([weight]), gradients)


@pytest.mark.parametrize(
    ("parts", "beta1", "beta2"),
    [
        ("layer-v", 0.9, 0.99),
        ("layer-v", 0.0, 0.9),
        ("sign-of-average", 0.9, 0.99),
        ("sign-of-gradient", 0.9, 0.99),
        ("all", 0.0, 0.9),
        ("all", 0.9, 0.0),
        ("all", 0.0, 0.0),
    ],
)
def test_each_part_equals_a_scalar_loop(parts: str, beta1: float, beta2: float) -> None:
    gradients, start = random_gradients(), torch.linspace(-0.3, 0.3, COUNT, dtype=torch.float64)
    found = run(start, gradients, parts=parts, lr=0.02, beta1=beta1, beta2=beta2)
    expected = torch.tensor(loop(start.tolist(), gradients, parts, 0.02, beta1, beta2), dtype=torch.float64)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert_same_signs(found.sign(), expected.sign())


def test_a_layer_of_one_weight_has_adams_second_moment() -> None:
    gradients, start = random_gradients(count=1), torch.zeros(1, dtype=torch.float64)
    adam, layer = (run(start, gradients, parts=parts, lr=0.02) for parts in ("all", "layer-v"))
    torch.testing.assert_close(layer, adam, atol=1e-12, rtol=1e-9)


def test_a_gradient_of_zero_moves_nothing() -> None:
    start = torch.tensor([0.5, -0.5], dtype=torch.float64)
    weight = start.clone().requires_grad_()
    rule = PARTS(parts="sign-of-gradient")
    assert torch.equal(take_steps(weight, rule.optimizer([weight]), torch.zeros(3, 2).numpy())[-1], start)


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(BadHyper, match="parts must be one of"):
        PARTS(parts="none")

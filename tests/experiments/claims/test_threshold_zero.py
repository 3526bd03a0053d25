"""Bop at threshold 0 and latent SGD with weight decay: where they are the same, and in which precision."""

from typing import Any

import pytest
import torch

from optimizers import METHODS
from optimizers.core import BadHyper
from suite.checks.contract.practice import through_a_file
from tests.support.plugins import CLAIMS, plugin
from tests.support.rules import assert_same_signs, flips_in, random_gradients, random_signs, take_steps
from tests.support.training import Training

PLUGIN = plugin(CLAIMS / "threshold_zero.py")
GAMMA = 2.0**-5


def test_in_float32_both_and_the_catalogues_are_one_at_powers_of_two() -> None:
    rules = [
        PLUGIN.bop_at_zero(gamma=GAMMA),
        PLUGIN.sgd_with_decay(gamma=GAMMA, lr=0.25),
        METHODS["bop"](gamma=GAMMA, threshold=0.0),
        # A start so small that the first gradient replaces it.
        METHODS["latent-sgd"](
            lr=0.25, weight_decay=4 * GAMMA, init_scale=2.0**-100, clip=None, pseudo_gradient="identity"
        ),
    ]
    first, *others = (Training(rule).trajectory(40) for rule in rules)
    assert all(torch.equal(first, other) for other in others)
    assert flips_in(first) > len(first[0])


def test_in_float64_both_are_one_at_any_rates() -> None:
    bop, sgd = (
        Training(rule)
        for rule in (
            PLUGIN.bop_at_zero(gamma=0.03, accumulator="float64"),
            PLUGIN.sgd_with_decay(gamma=0.03, lr=0.7, accumulator="float64"),
        )
    )
    assert torch.equal(bop.trajectory(40), sgd.trajectory(40))
    for average, latent in zip(accumulators(bop), accumulators(sgd), strict=True):
        torch.testing.assert_close(average, -0.03 / 0.7 * latent, atol=1e-15, rtol=1e-12)


def accumulators(training: Training) -> list[torch.Tensor]:
    return [state["accumulator"] for state in training.weights.state.values()]


def loop(signs: list[float], gradients: Any, gamma: float) -> Any:
    """Latent SGD at rate 1, one weight after another."""
    w, latent, after = list(signs), [0.0] * len(signs), []
    for gradient in gradients.tolist():
        for i, g in enumerate(gradient):
            latent[i] -= g + gamma * latent[i]
            w[i] = w[i] if latent[i] == 0 else (1.0 if latent[i] > 0 else -1.0)
        after.append(list(w))
    return after


@pytest.mark.parametrize("accumulator", [None, "float64"])
def test_both_equal_a_scalar_loop(accumulator: str | None) -> None:
    gradients = random_gradients()
    gradients[:30, ::2] = 0.0  # a latent weight of zero keeps its sign
    expected = loop(random_signs().tolist(), gradients, GAMMA)
    for rule in (
        PLUGIN.bop_at_zero(gamma=GAMMA, accumulator=accumulator),
        PLUGIN.sgd_with_decay(gamma=GAMMA, lr=1.0, accumulator=accumulator),
    ):
        weight = random_signs().float().requires_grad_()
        assert_same_signs(take_steps(weight, rule.optimizer([weight]), gradients), expected)


def test_a_checkpoint_keeps_all_bits_of_an_accumulator() -> None:
    training = Training(PLUGIN.bop_at_zero(gamma=0.03, accumulator="float64"))
    training.step()
    other = Training(PLUGIN.bop_at_zero(gamma=0.03, accumulator="float64"), seed=2)
    other.weights.load_state_dict(through_a_file(training.weights)[0])
    for ours, theirs in zip(accumulators(training), accumulators(other), strict=True):
        assert theirs.dtype == torch.float64 and torch.equal(ours, theirs)
    assert any(not torch.equal(each, each.float().double()) for each in accumulators(training))


def test_impossible_values_are_refused() -> None:
    with pytest.raises(BadHyper, match="accumulator must be one of"):
        PLUGIN.bop_at_zero(accumulator="float16")
    with pytest.raises(BadHyper, match="lr must be > 0"):
        PLUGIN.sgd_with_decay(lr=0.0)

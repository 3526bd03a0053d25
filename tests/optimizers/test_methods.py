"""The contract of every registered method, on every architecture; and the registration of methods."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from optimizers import METHODS, collect
from optimizers.core import Hyper, Method, WeightRule, log, method, sign, uniform
from optimizers.core.latent.rule import LATENT
from suite.checks.contract.method import (
    STAGES,
    Rule,
    deploys_signs,
    learns,
    owns_the_binary_weights,
    resumes_in_a_network,
    uses_its_hyperparameters,
    with_each_part,
)
from suite.checks.contract.practice import STEPS, advance, everything, start_of
from suite.experiment.build import apply_schedules
from suite.experiment.plan import is_latent_free
from suite.models import MODELS
from suite.models.blocks.layers import BinaryLinear, binary_layers
from suite.records.schedules import Linear
from suite.training.step import optimizers_of, state_tensors
from tests.support.training import Training, small_form

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))


def with_its_own(method: Method) -> Method:
    """The method without the habits that it shares with the rest of the latent family.

    All of them hand their habits to one rule (test_latent.py). latent-adam keeps them.
    """
    own = {name: hyper for name, hyper in method.hypers.items() if hyper is not LATENT.get(name)}
    return method if method.name == "latent-adam" else replace(method, hypers=own)


every_own = pytest.mark.parametrize(
    "method", [with_its_own(method) for method in METHODS.values()], ids=list(METHODS)
)

# All rules are tried with dense layers. Convolutions learn with every method. The other networks take turns:
# one learns with a method that has no latent weights, the next with one that has them.
SOME = ("bop", "latent-adam")
OTHERS = [model for model in MODELS if model not in ("mlp", "convnet")]
everywhere = pytest.mark.parametrize(
    ("method", "model"),
    [
        *(pytest.param(method, "convnet", id=f"{method.name}-convnet") for method in METHODS.values()),
        *(
            pytest.param(METHODS[name], model, id=f"{name}-{model}")
            for model, name in zip(OTHERS, itertools.cycle(SOME), strict=False)
        ),
    ],
)


# --- the contract ---

RULES = [rule for stage in STAGES for rule in stage]
IN_A_NETWORK = (
    owns_the_binary_weights,
    deploys_signs,
    learns,
    resumes_in_a_network,
)
# What a short training does not show: there the decay flips no weight.
NOTES = {"stochastic-rounding-adam": ["weight_decay changes nothing in a short training"]}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
@every_own
def test_a_method_keeps_each_rule(method: Method, rule: Rule) -> None:
    found = list(rule(method))
    expected = NOTES.get(method.name, []) if rule is uses_its_hyperparameters else []
    assert [remark.text.partition(",")[0] for remark in found] == expected


@pytest.mark.parametrize("rule", IN_A_NETWORK, ids=lambda rule: rule.__name__)
@everywhere
def test_a_method_keeps_each_rule_on_every_architecture(method: Method, model: str, rule: Any) -> None:
    assert list(rule(method, small_form(model))) == []


def test_of_the_controls_one_learns() -> None:
    for name, learnt in (("frozen", False), ("real", True)):
        training = Training(METHODS[name]())
        training.real.param_groups[0]["lr"] = 0.0
        before, start = training.loss_on_unseen_batches(), training.signs()
        for _ in range(60):
            training.step()
        assert (training.loss_on_unseen_batches() < 0.9 * before) is learnt
        assert torch.equal(training.signs(), start) is not learnt


@every_method
def test_weights_are_deployed_without_a_scale(method: Method) -> None:
    training = Training(method())
    training.step()
    training.model.eval()
    for _, layer in binary_layers(training.model):
        weight = layer.reading()(layer.weight)
        assert torch.equal(layer.binary_weight(), sign(weight))
        assert layer.binary is (method.name != "real")
        assert bool((weight.abs() == 1).all()) is layer.binary


# --- every method's optimizer ---


@every_own
def test_a_list_of_tensors_equals_single_tensors_bit_for_bit(method: Method) -> None:
    for setting in with_each_part(method):
        rule = method(**setting)
        together, apart = start_of(rule), start_of(rule)
        one, many = [rule.optimizer(together)], [rule.optimizer([tensor]) for tensor in apart]
        advance(one, together, range(STEPS))
        advance(many, apart, range(STEPS))
        for here, there in zip(together, apart, strict=True):
            assert torch.equal(here, there), setting


@every_method
def test_large_tensors_in_blocks_equal_whole_tensors_bit_for_bit(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = start_of(method()), start_of(method())
    of_whole, of_parts = method().optimizer(whole), method().optimizer(parts)
    advance([of_whole], whole, range(STEPS))
    monkeypatch.setattr("optimizers.core.flipper.BLOCK", 50)
    monkeypatch.setattr("optimizers.bop.BLOCK", 50)
    advance([of_parts], parts, range(STEPS))
    for here, there in zip(everything([of_whole], whole), everything([of_parts], parts), strict=True):
        assert torch.equal(here, there)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_method
def test_on_a_gpu_it_learns_as_on_the_cpu(method: Method) -> None:
    for setting in with_each_part(method):
        rule = method(**setting)
        here, there = start_of(rule), [t.detach().cuda().requires_grad_() for t in start_of(rule)]
        on_cpu, on_gpu = rule.optimizer(here), rule.optimizer(there)
        for step in range(STEPS // 2):
            random = torch.Generator().manual_seed(step)
            for cpu, gpu in zip(here, there, strict=True):
                cpu.grad = 1e-2 * torch.randn(cpu.shape, generator=random)
                gpu.grad = cpu.grad.cuda()
            on_cpu.step()
            on_gpu.step()
        for gpu in [*there, *state_tensors(on_gpu)]:
            assert gpu.isfinite().all(), setting
        if method.name not in DRAWS:
            alike = [(sign(c) == sign(g.cpu())).float().mean() for c, g in zip(here, there, strict=True)]
            assert min(alike) > 0.99, setting


DRAWS = {
    "bayes-binn",
    "diode",
    "prob-bop",
    "prob-bop-second-order",
    "stochastic-rounding",
    "stochastic-rounding-adam",
}  # other numbers on another device


# --- hyperparameters ---


@every_method
def test_an_unknown_hyperparameter_is_named_with_the_choices(method: Method) -> None:
    with pytest.raises(TypeError) as error:
        method(leraning_rate=1.0)
    assert "leraning_rate" in str(error.value)
    assert all(name in str(error.value) for name in (method.name, *method.hypers))


@every_method
def test_entries_of_the_groups_can_follow_a_schedule_and_other_hyperparameters_raise(method: Method) -> None:
    for name, default in method.defaults.items():
        training = Training(method())
        if all(name in group for group in training.weights.param_groups):
            assert isinstance(default, float)
            apply_schedules(training.weights, {name: Linear(default, 0.5 * default)}, 0.5)
            training.step()
            assert {group[name] for group in training.weights.param_groups} == {0.75 * default}
        else:
            with pytest.raises(ValueError, match=f"{name} cannot follow a schedule"):
                apply_schedules(training.weights, {name: Linear(1.0, 0.5)}, 0.5)


# Known values of four methods, in addition to the contract.
LATENT_GROUP = {"lr", "weight_decay"}
SCHEDULABLE = {
    "bop": {"gamma", "threshold"},
    "latent-sgd": LATENT_GROUP,
    "latent-momentum": {*LATENT_GROUP, "momentum"},
    "latent-adam": LATENT_GROUP,
}
STATE_BYTES = {"bop": 4, "latent-sgd": 0, "latent-momentum": 4, "latent-adam": 8}  # per binary weight


@pytest.mark.parametrize("name", SCHEDULABLE)
def test_hyperparameters_that_are_entries_of_the_groups(name: str) -> None:
    group = Training(METHODS[name]()).weights.param_groups[0]
    assert {hyper for hyper in METHODS[name].hypers if hyper in group} == SCHEDULABLE[name]


@pytest.mark.parametrize("name", STATE_BYTES)
def test_optimizer_state_per_binary_weight(name: str) -> None:
    training = Training(METHODS[name]())
    training.step()
    step_counters = 4 * len(list(binary_layers(training.model))) if name == "latent-adam" else 0
    assert (
        sum(tensor.nbytes for tensor in state_tensors(training.weights))
        == STATE_BYTES[name] * training.signs().numel() + step_counters
    )


def test_of_these_four_only_bop_is_latent_free() -> None:
    found = {name: is_latent_free(METHODS[name]()) for name in SCHEDULABLE}
    assert found == {"bop": True, "latent-sgd": False, "latent-momentum": False, "latent-adam": False}


def test_a_parameter_without_an_owner_or_with_two_is_refused() -> None:
    def owning(choose: Any) -> WeightRule:
        return WeightRule(
            sign, lambda w: w, lambda params: torch.optim.SGD([dict(params=p) for p in choose(list(params))])
        )

    network = nn.Sequential(
        BinaryLinear(owning(list), 4, 4), BinaryLinear(owning(list), 4, 2), nn.Linear(2, 2)
    )
    optimizers_of(network, owning(lambda weights: [weights]), 0.01)
    for wrong in (lambda weights: [weights[:1]], lambda weights: [[*weights, network[2].weight]]):
        with pytest.raises(ValueError, match="exactly one"):
            optimizers_of(network, owning(wrong), 0.01)


# --- @method, collect ---


def test_a_method_whose_signature_disagrees_is_refused() -> None:
    def rule(lr: float) -> WeightRule:
        """A rule."""
        return METHODS["bop"]()

    rate = log(0.1, 0.01, 1.0)
    described: list[dict[str, Any]] = [{}, {"rate": rate}, {"lr": rate, "mu": rate}]
    for hypers in described:
        with pytest.raises(TypeError, match=r"rule takes \['lr'\]"):
            method(paper="", **hypers)(rule)


def test_a_method_without_a_sentence_is_refused() -> None:
    def rule() -> WeightRule:
        return METHODS["bop"]()

    with pytest.raises(TypeError, match="rule needs a docstring"):
        method(paper="")(rule)


@pytest.mark.parametrize("make", [log, uniform])
@pytest.mark.parametrize(("low", "high"), [(0.2, 0.4), (0.001, 0.002)])
def test_a_default_outside_its_range_is_refused(make: Callable[..., Hyper], low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"default 0.1 lies outside its own range, from {low} to {high}"):
        make(0.1, low, high)
    assert make(low, low, high).default == low and make(high, low, high).default == high


def test_collect_refuses_two_methods_of_one_name() -> None:
    first, second = ModuleType("first"), ModuleType("second")
    for module in (first, second):
        exec(PLUGIN.format(name="mine"), module.__dict__)
    assert collect([first]) == {"mine": first.mine}
    with pytest.raises(ValueError, match="second: a method called 'mine' exists already"):
        collect([first, second])


def test_an_imported_method_is_not_one_of_the_module() -> None:
    module = ModuleType("borrower")
    module.bop = METHODS["bop"]  # type: ignore[attr-defined]
    assert collect([module]) == {}


PLUGIN = '''
import torch
from optimizers.core import WeightRule, log, method, pseudo_gradient


@method(paper="An example, https://example.org", lr=log(0.1, 0.01, 1.0))
def {name}(lr):
    """Signs of plain SGD."""
    return WeightRule(
        start=lambda initial: initial,
        read=pseudo_gradient("identity"),
        optimizer=lambda params: torch.optim.SGD(params, lr),
    )
'''

"""The contract of every registered method, on every architecture; and the registration of methods."""

import io
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import optuna
import pytest
import torch
from torch import Tensor, nn

import optimizers
from optimizers import METHODS, collect, load_plugin
from optimizers.core import BadHyper, Hyper, Method, WeightRule, log, method, sign, uniform
from suite.experiment.build import apply_schedules
from suite.experiment.plan import is_latent_free
from suite.machine.random_keys import random_key, seed_draws
from suite.models import MODELS
from suite.models.blocks.layers import BinaryLinear, binary_layers
from suite.records.schedules import Linear
from suite.training.evaluate import assert_binary
from suite.training.step import optimizers_of, set_progress, state_tensors
from tests.support.training import PLANNED, Training

every_method = pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))

# One architecture for each kind of layer learns with every method, the others with two methods.
KINDS = ("mlp", "convnet")
SOME = ("bop", "latent-adam")
everywhere = pytest.mark.parametrize(
    ("method", "model"),
    [
        pytest.param(method, model, id=f"{method.name}-{model}")
        for model in MODELS
        for method in METHODS.values()
        if model in KINDS or method.name in SOME
    ],
)


# --- methods on architectures ---


@everywhere
def test_every_trainable_parameter_has_exactly_one_owner(method: Method, model: str) -> None:
    training = Training(method(), model)
    binary, real = (
        [id(p) for group in optimizer.param_groups for p in group["params"]]
        for optimizer in (training.weights, training.real)
    )
    assert sorted(binary) == sorted(id(layer.weight) for _, layer in binary_layers(training.model))
    assert sorted(binary + real) == sorted(id(p) for p in training.model.parameters() if p.requires_grad)


# Defaults for trainings of 10^5 steps change too little in 60 steps; these lie in the same ranges.
FAST: dict[str, dict[str, Any]] = {
    "latent-adamax": {"lr": 0.02},
    "latent-lion": {"lr": 0.01},
    "diode": {"lr": 0.1, "beta1": 0.9, "beta2": 0.99},
    "md-tanh-s": {"lr": 0.01},
    "pmf": {"lr": 0.01},
    "stochastic-rounding": {"lr": 30.0},
    "stochastic-rounding-adam": {"lr": 0.005},
}


@everywhere
def test_the_binary_weights_alone_learn(method: Method, model: str) -> None:
    training = Training(method(**FAST.get(method.name, {})), model)
    training.real.param_groups[0]["lr"] = 0.0

    def loss_on_unseen_batches() -> float:
        with torch.no_grad():
            return sum(training.loss(-number).item() for number in range(1, 5)) / 4

    before, start = loss_on_unseen_batches(), training.signs()
    after = before
    while after >= 0.9 * before and training.steps < (10 if method.name == "frozen" else 60):
        for _ in range(10):
            training.step()
        after = loss_on_unseen_batches()
    if method.name == "frozen":
        assert after == before and torch.equal(training.signs(), start)
    else:
        assert after < 0.9 * before and not torch.equal(training.signs(), start)


@everywhere
def test_deployed_weights_are_binary(method: Method, model: str) -> None:
    training = Training(method(), model)
    training.step()
    training.model.eval()
    for _, layer in binary_layers(training.model):
        weight = layer.reading()(layer.weight)
        assert weight.shape == layer.weight.shape
        assert torch.equal(layer.binary_weight(), sign(weight))
        assert layer.binary is (method.name != "real")
        assert bool((weight.abs() == 1).all()) is layer.binary
    assert_binary(training.model)


def saved(*parts: Any) -> list[dict[str, Any]]:
    """Their state dicts, saved to a file and loaded, as in a checkpoint."""
    file = io.BytesIO()
    torch.save([part.state_dict() for part in parts], file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@everywhere
def test_a_resumed_training_continues_bit_for_bit(method: Method, model: str) -> None:
    training, resumed = Training(method(), model), Training(method(), model, seed=2)
    for _ in range(3):
        training.step()
    states = saved(training.model, training.weights, training.real)
    for part, state in zip((resumed.model, resumed.weights, resumed.real), states, strict=True):
        part.load_state_dict(state)
    resumed.steps = training.steps
    assert [resumed.step() for _ in range(3)] == [training.step() for _ in range(3)]
    expected = training.model.state_dict()
    for name, tensor in resumed.model.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


# --- every method's optimizer ---

SHAPES = [(24, 30), (1, 7), (8, 4, 3, 3)]  # of the stored tensors: rows, one row, filters
STEPS = 16  # of a training in which what depends on the progress begins, changes and ends


def start_of(rule: WeightRule, seed: int = 0) -> list[Tensor]:
    """Stored tensors as in a network, the filters channels-last."""
    random = torch.Generator().manual_seed(seed)
    fresh = [0.2 * torch.randn(shape, generator=random) for shape in SHAPES]
    stored = [rule.start(tensor).detach() for tensor in fresh]
    stored[-1] = stored[-1].to(memory_format=torch.channels_last)
    return [tensor.clone().requires_grad_() for tensor in stored]


def advance(optimizers: list[torch.optim.Optimizer], tensors: list[Tensor], steps: range) -> None:
    """Steps with random gradients, the same in every call."""
    for step in steps:
        random = torch.Generator().manual_seed(step)
        for tensor in tensors:
            tensor.grad = 1e-2 * torch.randn(tensor.shape, generator=random)
        for optimizer in optimizers:
            set_progress(optimizer, [], 1 + step // 4, step / STEPS)
        seed_draws(torch.device("cpu"), random_key(step))
        for optimizer in optimizers:
            optimizer.step()


def everything(optimizers: list[torch.optim.Optimizer], tensors: list[Tensor]) -> list[Tensor]:
    return [*tensors, *(tensor for optimizer in optimizers for tensor in state_tensors(optimizer))]


def settings_of(method: Method) -> list[dict[str, Any]]:
    """The defaults, and with each optional hyperparameter on."""
    optional = {name: hyper for name, hyper in method.hypers.items() if hyper.optional}
    return [{}, *({name: value} for name, hyper in optional.items() for value in values_of(hyper))]


def values_of(hyper: Hyper) -> list[Any]:
    choices = getattr(hyper.range, "choices", None)
    return list(choices) if choices else [hyper.default]


@every_method
def test_a_list_of_tensors_equals_single_tensors_bit_for_bit(method: Method) -> None:
    for setting in settings_of(method):
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


@every_method
def test_every_setting_resumes_bit_for_bit_in_mid_training(method: Method) -> None:
    for setting in settings_of(method):
        rule = method(**setting)
        tensors, resumed = start_of(rule), start_of(rule, seed=1)
        optimizer, continued = rule.optimizer(tensors), rule.optimizer(resumed)
        advance([optimizer], tensors, range(STEPS // 2))
        (state,) = saved(optimizer)
        continued.load_state_dict(state)
        for here, there in zip(tensors, resumed, strict=True):
            there.data.copy_(here.data)
        advance([optimizer], tensors, range(STEPS // 2, STEPS))
        advance([continued], resumed, range(STEPS // 2, STEPS))
        for here, there in zip(
            everything([optimizer], tensors), everything([continued], resumed), strict=True
        ):
            assert torch.equal(here, there), setting


@every_method
def test_a_gradient_in_two_halves_equals_the_whole_gradient(method: Method) -> None:
    whole, halves = Training(method()), Training(method())
    for _ in range(5):
        whole.step()
        halves.step(halves=2)
    assert torch.equal(whole.signs(), halves.signs())
    assert all(torch.equal(a, b) for a, b in zip(stored_in(whole), stored_in(halves), strict=True))


def stored_in(training: Training) -> list[Tensor]:
    return [layer.weight.detach() for _, layer in binary_layers(training.model)]


@every_method
def test_under_bfloat16_weights_and_state_stay_float32_and_finite(method: Method) -> None:
    training = Training(method(), "convnet")
    for _ in range(5):
        training.step(precision="bfloat16")
    tensors = [*stored_in(training), *state_tensors(training.weights)]
    assert all(tensor.dtype == torch.float32 and tensor.isfinite().all() for tensor in tensors)
    training.model.eval()
    assert_binary(training.model)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@every_method
def test_on_a_gpu_it_learns_as_on_the_cpu(method: Method) -> None:
    for setting in settings_of(method):
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
def test_the_card_has_a_paper_and_a_summary_of_one_sentence(method: Method) -> None:
    assert re.search(r"https://\S+\.\S+", method.paper)
    assert re.fullmatch(r"[A-Z][^.!?\n]*\.", method.summary)
    assert METHODS[method.name] is method


@every_method
def test_defaults_lie_in_their_ranges(method: Method) -> None:
    for name, hyper in method.hypers.items():
        assert hyper.range._contains(hyper.range.to_internal_repr(hyper.default)), name


@every_method
def test_sampled_settings_build_and_take_a_step(method: Method) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    searched = {name: hyper.range for name, hyper in method.hypers.items() if not hyper.optional}
    optional = [{name: hyper.range} for name, hyper in method.hypers.items() if hyper.optional]
    for space in [searched] * 8 + [searched | one for one in optional] * 2:
        setting = study.ask(space).params
        training = Training(method(**setting))
        training.steps = PLANNED // 2  # after the controls that begin later have begun
        for _ in range(2):
            training.step()
        assert all(p.isfinite().all() for p in training.model.parameters()), setting


@every_method
def test_an_unknown_hyperparameter_is_named_with_the_choices(method: Method) -> None:
    with pytest.raises(TypeError) as error:
        method(leraning_rate=1.0)
    assert "leraning_rate" in str(error.value)
    assert all(name in str(error.value) for name in (method.name, *method.hypers))


CHECKED = [
    (method, name)
    for method in METHODS.values()
    for name, hyper in method.hypers.items()
    if not isinstance(hyper.default, bool)
]


@pytest.mark.parametrize(("method", "name"), CHECKED, ids=[f"{m.name}-{name}" for m, name in CHECKED])
def test_an_impossible_value_is_refused_before_training_and_named(method: Method, name: str) -> None:
    impossible = "impossible" if isinstance(method.hypers[name].default, str) else math.nan
    with pytest.raises(BadHyper) as error:
        method(**{name: impossible})
    assert error.value.name == name
    assert str(error.value).startswith(f"{name} must ")


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


# --- @method, collect, plugins ---


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


@pytest.fixture
def registry() -> Iterator[dict[str, Method]]:
    """METHODS; the test's changes are undone afterwards."""
    with patch.dict(METHODS), patch.dict(optimizers.PLUGINS):
        yield METHODS


def test_a_plugin_becomes_available(tmp_path: Path, registry: dict[str, Method]) -> None:
    path = tmp_path / "mine.py"
    path.write_text(PLUGIN.format(name="my_method"))
    (mine,) = load_plugin(path)
    assert registry["my-method"] is mine
    assert (mine.name, mine.summary, mine.defaults) == ("my-method", "Signs of plain SGD.", {"lr": 0.1})
    training = Training(registry["my-method"](lr=1.0))
    assert training.weights.param_groups[0]["lr"] == 1.0
    start = training.signs()
    training.step()
    assert not torch.equal(training.signs(), start)
    (again,) = load_plugin(path)  # a resumed command loads it again
    assert registry["my-method"] is again


def test_plugins_that_cannot_be_registered(tmp_path: Path, registry: dict[str, Method]) -> None:
    before = dict(registry)
    for name, text, words in (
        ("empty.py", "x = 1\n", "no method in it"),
        ("taken.py", PLUGIN.format(name="bop"), "'bop' exists already"),
        ("missing.py", None, "no such Python file"),
        ("notes.txt", "x = 1\n", "no such Python file"),
    ):
        if text is not None:
            (tmp_path / name).write_text(text)
        with pytest.raises(ValueError, match=words):
            load_plugin(tmp_path / name)
    assert registry == before


def test_a_refused_plugin_leaves_nothing_behind(tmp_path: Path, registry: dict[str, Method]) -> None:
    path = tmp_path / "half.py"
    path.write_text(PLUGIN.format(name="new") + PLUGIN.format(name="bop"))
    with pytest.raises(ValueError, match="'bop' exists already"):
        load_plugin(path)
    assert "new" not in registry


def test_two_plugins_cannot_share_a_name(tmp_path: Path, registry: dict[str, Method]) -> None:
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text(PLUGIN.format(name="shared"))
    (one,) = load_plugin(tmp_path / "one.py")
    with pytest.raises(ValueError, match=r"two\.py: a method called 'shared' exists already"):
        load_plugin(tmp_path / "two.py")
    assert registry["shared"] is one

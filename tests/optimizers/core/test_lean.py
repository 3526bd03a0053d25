"""Optimizers of torch without torch's wrappers: the same numbers, and its compiler stays out."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor
from torch.optim import SGD, Adam, Optimizer

from optimizers import METHODS
from optimizers.core import Method, clear_gradients, run_step
from suite.training.step import set_progress
from tests.support.paths import ROOT
from tests.support.rules import random_gradients, random_signs

EVERY_STEP = """
import sys, torch
from suite.data import load_splits, load_test
from suite.records.trial import Choice
load_splits(Choice("digits", {})).with_test(load_test(Choice("digits", {})))
print(sorted({"torchvision", "sklearn", "pandas"} & set(sys.modules)))

from optimizers import METHODS
from suite.cli.catalogue import state_floats
from suite.experiment.files import experiments
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.models import MODELS
from suite.training.step import make_learner, training_step

make_plan(ExperimentFile(experiments()["demo"]))
batch = [(torch.rand(4, 1, 2, 2), torch.arange(4))]
for method in METHODS.values():
    rule = method()
    model = MODELS["mlp"]((1, 2, 2), 4, rule, 0, hidden=(4,))
    learner = make_learner(model, rule, 0.1, torch.device("cpu"))
    for precision in ("float32", "bfloat16"):
        training_step(learner, batch, seed=0, step=0, epoch=1, progress=0.0, precision=precision)
    learner.load_state_dict(learner.state_dict())
    state_floats(rule)
print("torch._dynamo" in sys.modules)
"""


def test_digits_are_light_and_no_plan_no_card_and_no_training_imports_the_compiler() -> None:
    command = [sys.executable, "-c", EVERY_STEP]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert shown.stdout == "[]\nFalse\n", shown.stderr


def steps(optimizer: Optimizer, weight: Tensor, run) -> Tensor:
    after = []
    for step, gradient in enumerate(torch.from_numpy(random_gradients(steps=30))):
        torch.default_generator.manual_seed(step)
        set_progress(optimizer, [], 1 + step // 10, step / 30)
        weight.grad = gradient.reshape(weight.shape)
        run(optimizer)
        after.append(weight.detach().clone())
    return torch.stack(after)


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_the_bare_step_of_every_method_gives_the_same_bits(method: Method) -> None:
    found = []
    for run in (lambda optimizer: optimizer.step(), run_step):
        weight = random_signs().reshape(6, 10).requires_grad_()
        found.append(steps(method().optimizer([weight]), weight, run))
    assert torch.equal(*found)


@pytest.mark.parametrize("kind", [SGD, Adam])
def test_gradients_are_off_in_the_bare_step_of_torchs_own_optimizers(kind: type[Optimizer]) -> None:
    weight = torch.ones(3, requires_grad=True)
    optimizer = kind([weight], lr=0.1)  # type: ignore[call-arg]
    weight.grad = torch.ones(3)
    run_step(optimizer)
    assert (
        torch.allclose(weight, torch.full((3,), 0.9)) and weight.grad_fn is None and torch.is_grad_enabled()
    )


def test_gradients_are_cleared_as_the_optimizer_clears_them() -> None:
    class Keeps(SGD):
        def zero_grad(self, set_to_none: bool = True) -> None:
            """This one needs its last gradient."""

    params = [torch.ones(3, requires_grad=True) for _ in range(2)]
    for param in params:
        param.grad = torch.ones(3)
    clear_gradients(SGD([params[0]], lr=0.1))
    clear_gradients(Keeps([params[1]], lr=0.1))
    assert params[0].grad is None and params[1].grad is not None


def test_what_is_hooked_to_a_step_runs() -> None:
    weight = torch.ones(3, requires_grad=True)
    seen = []
    before, after, wrapped = (SGD([weight], lr=0.1) for _ in range(3))
    before.register_step_pre_hook(lambda *_: seen.append("before"))
    after.register_step_post_hook(lambda *_: seen.append("after"))
    wrapped.step = lambda: seen.append("wrapped")  # type: ignore[method-assign, assignment]
    for optimizer in (before, after, wrapped):
        run_step(optimizer)
    assert seen == ["before", "after", "wrapped"]

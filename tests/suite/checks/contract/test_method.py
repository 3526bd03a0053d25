"""Each rule of a method's contract against a method that breaks this rule."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from optimizers.core import Method
from suite.checks.contract import method as contract
from suite.checks.contract.method import STAGES

SOURCE = '''
import itertools, os, random
import numpy, torch
from optimizers.core import Hyper, WeightRule, log, method, optional, sign, stored_signs, uniform
from optimizers.core.checks import check_not_negative
calls = itertools.count()

class Mine(torch.optim.Optimizer):
    def __init__(self, params, threshold):
        super().__init__(params, dict(threshold=threshold))
        self.threshold, self.steps = threshold, 0

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["average"] = torch.zeros_like(weight)
                average = state["average"].lerp_(weight.grad, 0.2)
                against = weight * average > {threshold}
                {step}

class CountsItsReads(torch.nn.Module):
    reads = 0
    def forward(self, stored):
        self.reads += 1
        return stored + self.reads * (stored - stored.detach())

def {read}(stored):
    {in_read}
    return {returns}

@method(paper="{paper}", {hypers})
def mine({names}):
    """{summary}"""
    check_not_negative({checks})
    {rule}
    return WeightRule({start}, {reads}, lambda params: Mine({params}, threshold), {more})
'''
GOOD = {
    "threshold": 'group["threshold"]',
    "step": "weight.copy_(torch.where(against, -weight, weight))",
    "read": "read",
    "in_read": "pass",
    "returns": "stored",
    "paper": "Mine, https://example.org",
    "hypers": "threshold=log(1e-3, 1e-6, 1e-2)",
    "names": "threshold",
    "checks": "threshold=threshold",
    "summary": "Flip a weight.",
    "rule": "pass",
    "start": "sign",
    "reads": "read",
    "params": "params",
    "more": "",
}
IN_STEP, IN_READ, IN_RULE = "def step", "def read", "def mine"


def load(folder: Path, **code: str) -> Method:
    """The method of a file in which some parts are others than in GOOD."""
    path = folder / "mine.py"
    path.write_text(SOURCE.format(**{**GOOD, **code}))
    specification = importlib.util.spec_from_file_location("mine", path)
    assert specification and specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.mine


def line_with(folder: Path, words: str) -> int:
    lines = (folder / "mine.py").read_text().splitlines()
    return next(number for number, line in enumerate(lines, 1) if words in line)


@pytest.fixture(autouse=True)
def few_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "DRAWS", 0)


@pytest.mark.parametrize("rule", [rule for stage in STAGES for rule in stage], ids=lambda rule: rule.__name__)
def test_a_good_method_keeps_every_rule(tmp_path: Path, rule: Any) -> None:
    assert list(rule(load(tmp_path))) == []


COPY = "weight = torch.where(against, -weight, weight)"
UP = "weight.copy_(torch.where(weight * average < -group['threshold'], -weight, weight))"
WITH_STEPS = "self.steps += 1; average.mul_(1.0 + 0.5 * self.steps); " + GOOD["step"]
NO_CHECK = {"checks": ""}


@pytest.mark.parametrize(
    ("rule", "code", "words", "place"),
    [
        # what all code of a process shares
        (
            "leaves_torch_alone",
            {"rule": "torch.set_default_dtype(torch.float64)"},
            "the default dtype",
            IN_RULE,
        ),
        (
            "leaves_torch_alone",
            {"rule": "torch.set_grad_enabled(False)"},
            "its function changes whether",
            IN_RULE,
        ),
        ("leaves_torch_alone", {"rule": "torch.manual_seed(0)"}, "changes torch's random state", IN_RULE),
        ("leaves_torch_alone", {"step": "torch.manual_seed(0)"}, "step sets torch's random state", IN_STEP),
        ("leaves_torch_alone", {"in_read": "torch.manual_seed(0)"}, "read sets torch's random", IN_READ),
        (
            "leaves_torch_alone",
            {"step": "torch.set_num_threads(2)"},
            "step changes the number of thr",
            IN_STEP,
        ),
        (
            "leaves_torch_alone",
            {"step": "torch.backends.cudnn.benchmark = True"},
            "step changes cuDNN's choice of algorithms",
            IN_STEP,
        ),
        (
            "leaves_torch_alone",
            {"rule": "torch.use_deterministic_algorithms(True)"},
            "its function changes whether algorithms are deterministic",
            IN_RULE,
        ),
        (
            "leaves_torch_alone",
            {"step": "torch.use_deterministic_algorithms(False, warn_only=True)"},
            "step changes whether algorithms are deterministic",
            IN_STEP,
        ),
        ("leaves_torch_alone", {"step": "random.random()"}, "step changes Python's random state", IN_STEP),
        (
            "leaves_torch_alone",
            {"in_read": "numpy.random.rand()"},
            "read changes NumPy's random state",
            IN_READ,
        ),
        (
            "leaves_torch_alone",
            {"read": "deploy", "reads": "stored_signs", "more": "deploy=deploy", "in_read": "torch.rand(1)"},
            "deploy changes torch's random state",
            "def deploy",
        ),
        (
            "leaves_torch_alone",
            {"rule": "torch.nn.functional.cross_entropy = max"},
            "its function changes torch.nn.functional.cross_entropy",
            IN_RULE,
        ),
        # it works at all
        ("works_in_its_ranges", {"step": "average.div_(weight.grad.abs())"}, "NaN or infinite", IN_STEP),
        (
            "works_in_its_ranges",
            {"rule": "1 / (0.01 - threshold)"},
            "at threshold 0.01 it fails: Zero",
            "1 / (",
        ),
        ("works_in_its_ranges", {"step": "[0][1]"}, "at its defaults it fails: IndexError", "[0][1]"),
        ("owns_the_binary_weights", {"params": "list(params)[:1]"}, "no optimizer or two", "lambda params"),
        # what it says of itself
        ("describes_itself", {"summary": "flips"}, "its summary is not one sentence: 'flips'", IN_RULE),
        ("describes_itself", {"paper": "none"}, "its paper has no link: 'none'", IN_RULE),
        (
            "describes_itself",
            {"hypers": "threshold=Hyper(1.0, log(0.1, 0.1, 0.2).range)"},
            "the default of threshold, 1.0, lies outside its own range",
            IN_RULE,
        ),
        ("refuses_impossible_values", NO_CHECK, "it takes threshold nan without a word", IN_RULE),
        # its weights
        ("deploys_signs", {"start": "lambda w: w"}, "at the start the forward pass of the eval", IN_READ),
        ("deploys_signs", {"step": "weight.mul_(1 + weight.grad)"}, "after step 1 the forward", IN_READ),
        ("deploys_signs", {"returns": "stored.abs() * 0"}, "that are not -1/+1 (0, 0, 0)", IN_READ),
        (
            "deploys_signs",
            {"more": "deploy=lambda w: w.T", "step": "pass"},
            "changes the shape",
            "deploy=lam",
        ),
        ("deploys_signs", {"more": "binary=False"}, "which only a control may", IN_READ),
        ("reads_without_effect", {"in_read": "stored.data.neg_()"}, "`read` writes into the stored", IN_READ),
        (
            "reads_without_effect",
            {"more": "deploy=lambda w: torch.randn_like(w).sign()"},
            "the deployed weight is another one at each call",
            "deploy=lam",
        ),
        (
            "counts_its_flips",
            {"returns": "stored * (-1.0) ** next(calls)"},
            "a comparison of the weights finds",
            IN_READ,
        ),
        # its steps
        ("learns", {"step": COPY}, "does a step change a stored tensor: does it write into a copy?", IN_STEP),
        ("learns", {"step": UP}, "does the loss of a small task fall to 90%", IN_STEP),
        ("learns", {"step": "weight.mul_(1.01)"}, "stored numbers change, their signs do not", IN_STEP),
        ("learns", {"returns": "0 * stored + stored.sign().detach()"}, "get no gradient", IN_READ),
        ("repeats", {"step": "average.mul_(1 + next(calls))"}, "it holds a state outside", IN_STEP),
        ("repeats", {"step": "average.mul_(1 + os.urandom(1)[0] / 256)"}, "draws from a stream", IN_STEP),
        (
            "repeats_in_a_network",
            {"returns": "stored + next(calls) * (stored - stored.detach())"},
            "`read` holds a state",
            IN_READ,
        ),
        ("resumes", {"step": WITH_STEPS}, "the optimizer forgets something", IN_STEP),
        (
            "resumes",
            {"step": "state['k'] = os.stat('.')"},
            "cannot be loaded from a",
            IN_STEP,
        ),
        (
            "resumes",
            {"step": "state['mask'] = weight > 0"},
            "its state has torch.bool, which torch turns into the type of the weight",
            IN_STEP,
        ),
        (
            "learns",
            {"step": "state['n'] = n = state.get('n', 0) + 1; weight.mul_(-1 if n < 9 else float('nan'))"},
            "its weights or its state become NaN or infinite",
            IN_STEP,
        ),
        ("resumes_in_a_network", {"reads": "CountsItsReads()"}, "`read` forgets something", "def forward"),
        ("adds_up_parts", {"reads": "CountsItsReads()"}, "it counts reads or gradients", "def forward"),
        ("keeps_float32", {"step": "state['last'] = weight.grad.bfloat16()"}, "are torch.bfloat16", IN_STEP),
        # its hyperparameters
        (
            "uses_its_hyperparameters",
            {"hypers": GOOD["hypers"] + ", k=uniform(0, 0, 1)", "names": "threshold, k"},
            "k changes nothing in a short training",
            IN_RULE,
        ),
        (
            "uses_its_hyperparameters",
            {"threshold": "self.threshold"},
            "threshold is an entry of the parameter groups, but a step does not read it",
            IN_STEP,
        ),
    ],
)
def test_a_bad_method_breaks_its_rule(
    tmp_path: Path, rule: str, code: dict[str, str], words: str, place: str
) -> None:
    found = list(getattr(contract, rule)(load(tmp_path, **code)))
    assert len(found) == 1 and words in found[0].text
    decorated = 1 if place in (IN_STEP, IN_RULE) else 0  # the line of the decorator
    assert found[0].line == line_with(tmp_path, place) - decorated


WHOLE = '''
import torch
from optimizers.core import WeightRule, integer, log, method, sign

class Median(torch.optim.Optimizer):
    """Of the last k gradients: k is the size of a tensor, which only a whole number can be."""

    def __init__(self, params, k, threshold):
        super().__init__(params, dict(k=k, threshold=threshold))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state["step"], state["last"] = 0, torch.zeros(group["k"], *weight.shape)
                state["last"][state["step"] % group["k"]] = weight.grad
                state["step"] += 1
                against = weight * state["last"].median(dim=0).values > group["threshold"]
                weight.copy_(torch.where(against, -weight, weight))

@method(paper="An example", k=integer(3, 1, 5), threshold=log(1e-3, 1e-5, 1e-1))
def median(k, threshold):
    """Flip where the median of the last gradients is strong enough."""
    return WeightRule(sign, lambda stored: stored, lambda params: Median(params, k, threshold))
'''


def test_a_whole_number_follows_no_schedule_and_need_not_survive_one(tmp_path: Path) -> None:
    path = tmp_path / "median.py"
    path.write_text(WHOLE)
    specification = importlib.util.spec_from_file_location("median", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    assert list(contract.uses_its_hyperparameters(module.median)) == []

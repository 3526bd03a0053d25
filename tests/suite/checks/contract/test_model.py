"""Each rule of a model's contract against a model that breaks this rule."""

from pathlib import Path
from typing import Any

import pytest

from suite.checks.contract import model as contract
from suite.checks.contract.model import STAGES, small_form_of
from suite.checks.contract.practice import Small
from suite.models import MODELS
from suite.models.model import Model
from suite.plugins import load_plugin
from tests.support.registries import restored

SOURCE = '''
import itertools
import torch
from torch import nn
from suite.models.blocks.layers import BinaryLinear, Sign, named, real_linear
from suite.models.blocks.norms import Norm
from suite.models.model import BadOption, model
calls = itertools.count()

class Own(nn.Module):
    def __init__(self, rule, width):
        super().__init__()
        {in_init}

    def forward(self, x):
        {in_forward}
        return {returns}

@model
def mine(shape, classes, rule, *, hidden: tuple[int, ...] = ({hidden},), {options}norm: str = "batch"):
    """{summary}"""
    {in_build}
    norms, (width,) = Norm(norm, 0.1, eps=1e-3), hidden
    if width < 1:
        raise BadOption("hidden", "it is empty")
    first = {layer}(rule, shape[0] * shape[1] * shape[2], width)
    last = {layer}(rule, width, {outputs})
    {in_end}
    return named(
        head={head}, flatten=nn.Flatten(), first=first, norm=norms.after(first), sign=Sign("clipped"),
        own=Own(rule, width), last=last, scores=norms.after(last),
    )
'''
GOOD = {
    "in_init": "pass",
    "in_forward": "pass",
    "returns": "x",
    "hidden": "16",
    "options": "",
    "summary": "A small network.",
    "in_build": "pass",
    "layer": "BinaryLinear",
    "outputs": "classes",
    "in_end": "pass",
    "head": "nn.Identity()",
}
REAL = "(lambda rule, inputs, outputs: real_linear(inputs, outputs))"
STEPS = {"in_init": "self.steps = 0", "in_forward": "self.steps += 1"}


def load(folder: Path, **code: str) -> Small:
    """The small form of a model in which some parts are others than in GOOD."""
    path = folder / "mine.py"
    path.write_text(SOURCE.format(**{**GOOD, **code}))
    with restored():
        (found,) = load_plugin(path)
    assert isinstance(found, Model)
    return small_form_of(found)


def buffer(value: str, more: str = "") -> str:
    return f"self.register_buffer('own', {value}{more})"


@pytest.mark.parametrize("rule", [rule for stage in STAGES for rule in stage], ids=lambda rule: rule.__name__)
def test_a_good_model_keeps_every_rule(tmp_path: Path, rule: Any) -> None:
    assert list(rule(load(tmp_path))) == []


@pytest.mark.parametrize(
    ("rule", "code", "words"),
    [
        ("describes_itself", {"summary": "mine"}, "its summary is not one sentence: 'mine'"),
        ("refuses_impossible_options", {"options": "k: float = 1.0, "}, "it takes k nan without a word"),
        ("refuses_impossible_options", {"options": "k: int = 1, "}, "it takes k -1 without a word"),
        ("refuses_impossible_options", {"options": "k: str = 'a', "}, "it takes k 'impossible' without"),
        (
            "refuses_small_images",
            {"head": "nn.Sequential(nn.ReflectionPad2d(2), nn.AvgPool2d(5, 1))"},
            "it is built for images of 1x1, and then fails on them (RuntimeError: ",
        ),
        ("leaves_torch_alone", {"in_build": "torch.set_num_threads(2)"}, "its function changes the number"),
        ("leaves_torch_alone", {"in_forward": "torch.set_num_threads(2)"}, "a training changes the number"),
        ("leaves_torch_alone", {"in_forward": "torch.rand(1)"}, "an evaluation changes torch's random state"),
        (
            "gives_logits",
            {"outputs": "classes + 1"},
            "for 2 images and 4 classes it gives [2, 5], not [2, 4]",
        ),
        ("gives_logits", {"outputs": "4"}, "for 2 images and 7 classes it gives [2, 4], not [2, 7]"),
        ("gives_logits", {"layer": REAL}, "it has no binary layer"),
        (
            "starts_from_its_seed",
            {"in_init": buffer("torch.full((1,), float(next(calls)))")},
            "a second network of the same seed starts from other numbers",
        ),
        ("starts_from_its_seed", {"in_build": "torch.manual_seed(0)"}, "two seeds start from the same"),
        (
            "starts_alike_for_every_method",
            {"in_build": "rule.binary or torch.rand(1)"},
            "its start depends on the method",
        ),
        (
            "starts_glorot_uniform",
            {"in_end": "first.weight.data.mul_(3)"},
            "its binary layer first does not start from Glorot",
        ),
        (
            "starts_glorot_uniform",
            {"in_init": "self.real = nn.Linear(width, width)", "returns": "self.real(x)"},
            "its real layer own.real does not start from Glorot",
        ),
        (
            "uses_each_binary_layer",
            {"in_init": "self.unused = BinaryLinear(rule, width, width)"},
            "its binary layer own.unused gets no gradient",
        ),
        (
            "computes_with_signs",
            {"in_init": "self.own = BinaryLinear(rule, width, width)", "returns": "x @ self.own.weight"},
            "the size of a latent weight changes its logits",
        ),
        ("learns", {"returns": "torch.zeros_like(x)"}, "it does not learn"),
        ("learns", {"hidden": "15000"}, "it is not tried whether it learns: 1,020,000 binary weights"),
        ("evaluates_each_image_alone", {"returns": "x * next(calls)"}, "other logits the second time"),
        (
            "evaluates_each_image_alone",
            {"in_init": buffer("torch.zeros(1)"), "in_forward": "self.own += 1"},
            "an evaluation changes its buffers",
        ),
        ("evaluates_each_image_alone", {"returns": "x + x.mean(0)"}, "on the other images of its batch"),
        ("repeats", {"returns": "x * next(calls)"}, "a state that all its networks share"),
        ("resumes", {**STEPS, "returns": "x * self.steps"}, "keep what changes in a parameter or a buffer"),
        (
            "can_be_kept",
            {"in_init": buffer("torch.ones(1)", ", persistent=False"), "returns": "x * self.own"},
            "its buffer own.own is not persistent",
        ),
        (
            "can_be_kept",
            {"in_init": "self.own = 1.0 + next(calls)", "returns": "x * self.own"},
            "it computes with more",
        ),
        ("works_in_bfloat16", {"returns": "x / (not torch.is_autocast_enabled('cpu'))"}, "its loss becomes"),
    ],
)
def test_a_bad_model_breaks_its_rule(tmp_path: Path, rule: str, code: dict[str, str], words: str) -> None:
    (remark,) = getattr(contract, rule)(load(tmp_path, **code))
    assert words in remark.text
    lines = (tmp_path / "mine.py").read_text().splitlines()
    assert remark.line and lines[remark.line - 1] == "@model"


@pytest.mark.parametrize("name", MODELS)
def test_the_small_form_of_each_architecture_is_small(name: str) -> None:
    small = small_form_of(MODELS[name])
    assert contract._binary_weights(small) <= 700_000 and small.shape[1] <= 64

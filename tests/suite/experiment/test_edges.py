"""What would fail in the first trials of a sweep fails in its plan: a method at the edges of its ranges."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizers import METHODS
from optimizers.core import integer
from suite.experiment.spec import SpecError
from suite.plugins import PLUGINS
from tests.support.tiny import tiny_plan

PLUGIN = """
import torch
from optimizers.core import WeightRule, choice, integer, log, method, sign, uniform

@method(paper="https://example.org", {hypers})
def mine({names}) -> WeightRule:
    '''Mine.'''
    {rule}
    def as_it_is(weight):
        {start}
        return weight
    def deploy(weight):
        {deploy}
        return weight.sign()
    class Steps(torch.optim.SGD):
        def step(self, closure=None):
            {step}
            return super().step(closure)
    return WeightRule(sign, as_it_is, lambda params: Steps(params, lr=0.0), deploy=deploy)
"""


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    METHODS.pop("mine", None)
    PLUGINS.pop(("method", "mine"), None)


def write(folder: Path, hypers: str, **code: str) -> Path:
    names = ", ".join(f"{part.partition('=')[0].strip()}" for part in hypers.split("; "))
    parts = {part: code.get(part, "pass") for part in ("rule", "start", "deploy", "step")}
    path = folder / "mine.py"
    path.write_text(PLUGIN.format(hypers=hypers.replace("; ", ", "), names=names, **parts))
    return path


def planned(folder: Path, mine: str = "mine") -> None:
    tiny_plan(folder, "plugins=[mine.py]", f"methods=[{mine}, bop]")


@pytest.mark.parametrize(
    ("hypers", "code", "words"),
    [
        ("k=log(5, 1, 15)", {"step": "[0] * k"}, "at k 1.0: TypeError: can't multiply sequence by non-int"),
        ("k=log(5, 1, 15)", {"start": "[0] * k"}, "; if k is a whole number: k=integer(5, 1, 15)"),
        ("k=log(5, 1, 15)", {"deploy": "[0] * k"}, "at k 1.0: TypeError"),
        ("x=uniform(1, 0, 2)", {"rule": "assert x < 2"}, "at x 2.0: AssertionError"),
        ("x=uniform(1, 0, 2)", {"rule": "1 / x"}, "at x 0.0: ZeroDivisionError: float division by zero"),
        ("k=integer(1, 0, 9)", {"rule": "assert k in (0, 1, 9)"}, "at k 3: AssertionError"),
        ("w=choice('a', 'b')", {"step": "{'a': 1}[w]"}, "at w 'b': KeyError: 'b'"),
        (
            "x=uniform(0, 0, 1); y=uniform(0, 0, 1)",
            {"rule": "assert x + y < 2"},
            "at x 1.0, y 1.0: AssertionError",
        ),
    ],
)
def test_a_method_that_fails_inside_its_ranges_is_refused(
    tmp_path: Path, hypers: str, code: dict[str, str], words: str
):
    path = write(tmp_path, hypers, **code)
    with pytest.raises(SpecError) as error:
        planned(tmp_path)
    assert f"methods.0: {path}: mine fails inside its own ranges, at " in str(error.value)
    assert words in str(error.value)
    planned(tmp_path, "{name: mine, tune: []}")  # what is not searched is not tried


def test_a_method_that_works_at_its_edges_is_planned(tmp_path: Path):
    write(tmp_path, "k=integer(5, 1, 15); x=uniform(1, 0, 2)", rule="[0] * k", step="assert 0 <= x <= 2")
    planned(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("{name: mine, k: 2.5}", "a whole number belongs here, not 2.5"),
        ("{name: mine, k: {linear: [5, 1]}}", "a whole number belongs here"),
        ("{name: mine, decay: {k: {linear: [1, 0.1]}}}", "k is a whole number, which cannot decay"),
    ],
)
def test_a_whole_number_stays_one(tmp_path: Path, change: str, words: str):
    write(tmp_path, "k=integer(5, 1, 15)")
    with pytest.raises(SpecError, match=words):
        planned(tmp_path, change)


def test_an_integer_has_a_whole_default_inside_its_range():
    with pytest.raises(ValueError, match=r"the default 2\.5 is no whole number"):
        integer(2.5, 1, 15)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="the default 16 lies outside its own range, from 1 to 15"):
        integer(16, 1, 15)


def test_a_layer_that_no_memory_holds_is_blamed_on_the_model(tmp_path: Path):
    with pytest.raises(
        SpecError, match=r"tasks: model mlp: its smallest binary layer has 100,000,000,000,000"
    ):
        tiny_plan(tmp_path, "tasks.0.model={name: mlp, hidden: [10000000000000]}")

"""A user's own method: whatever its file does, the command and the other methods' runs stay as they are."""

import json
from pathlib import Path

import pytest

from optimizers import METHODS
from tests.suite.cli.conftest import Flipbench

PLUGIN = """
import os, sys
import torch
from torch.nn import functional
from optimizers.core import WeightRule, method, sign

functional.cross_entropy = lambda *a, **k: a[0].sum() * float("nan")  # every run in this process diverges
{at_import}

class Slow(torch.optim.SGD):
    steps = 0

    def step(self, closure=None):
        Slow.steps += 1
        if Slow.steps > 1:
            {in_step}
        return super().step(closure)

def as_it_is(weight):
    return weight

@method(paper="https://example.org")
def {name}() -> WeightRule:
    '''Mine.'''
    {in_rule}
    return WeightRule(sign, as_it_is, lambda params: Slow(params, lr=0.0))
"""


def write(name: str = "mine", at_import: str = "", in_rule: str = "", in_step: str = "pass") -> str:
    text = PLUGIN.format(name=name, at_import=at_import, in_rule=in_rule, in_step=in_step)
    Path(f"{name}.py").write_text(text)
    return f"{name}.py"


@pytest.mark.parametrize(
    ("where", "code", "words"),
    [
        ("at_import", "sys.exit(0)", "--plugin mine.py: SystemExit: 0"),
        ("at_import", "os._exit(0)", "mine.py: has ended its process (exit code 0)"),
        ("at_import", "raise KeyboardInterrupt", "--plugin mine.py: KeyboardInterrupt: "),
        ("at_import", "raise OSError(28, 'x')", "--plugin mine.py: OSError: [Errno 28] x"),
        ("at_import", "raise ValueError('\\udcff')", "--plugin mine.py: ValueError: \\udcff"),
        ("in_rule", "sys.exit(0)", "SystemExit: 0 ({folder}/mine.py:25)"),
        ("in_rule", "os._exit(0)", "mine.py: has ended its process (exit code 0)"),
        ("in_rule", "raise OSError(28, 'x')", "methods.0: OSError: [Errno 28] x"),
    ],
)
def test_no_end_of_a_plugin_is_the_end_of_the_command(
    flipbench: Flipbench, where: str, code: str, words: str
):
    plugin = write(**{where: code})
    ended = flipbench("sweep", "tiny", "--set", "methods=[mine, bop]", "--plugin", plugin, "--json")
    assert ended.code == 2 and ended.out == "" and "Traceback" not in ended.err
    message = ended.err.replace("--set methods=[mine, bop]: ", "")
    assert f"error: {words.format(folder=flipbench.folder)}" in message
    assert not Path("results").exists()


def test_a_plugins_cell_is_trained_in_a_process_of_its_own(flipbench: Flipbench):
    command = ("train", "tiny", "digits.mlp.mine", "--set=methods=[mine]", "--device=cpu", "--json")
    ended = flipbench(*command, "--plugin", write())
    assert ended.code == 0 and ended.json["status"] == "diverged"
    ended = flipbench(*command, "--plugin", write(in_step="sys.exit(0)"))
    assert ended.code == 2 and ended.out == "" and "error: SystemExit: 0 (" in ended.err
    assert "mine" not in METHODS


def test_a_listing_shows_a_plugin_and_what_it_prints_is_no_part_of_it(flipbench: Flipbench):
    card = flipbench("show", "mine", "--plugin", write(), "--json").json
    assert card["summary"] == "Mine." and "mine" not in METHODS
    ended = flipbench("list", "methods", "--plugin", write(in_rule="sys.exit(0)"), "--json")
    assert ended.code == 2 and ended.out == "" and "SystemExit: 0" in ended.err


INTEGER = """
import torch
FAMILY = 5
from optimizers.core import WeightRule, integer, method, sign

@method(paper="https://example.org", k=integer(5, 1, 15))
def mine(k) -> WeightRule:
    '''Mine.'''
    assert type(k) is int and 1 <= k <= 15
    return WeightRule(sign, lambda weight: weight, lambda params: torch.optim.SGD(params, lr=0.0))
"""


def test_whole_numbers_from_the_study_to_the_page(flipbench: Flipbench):
    Path("mine.py").write_text(INTEGER)
    command = ("sweep", "tiny", "--plugin=mine.py", "--set=methods=[mine]", "--json", "--workers=1")
    assert flipbench(*command, "--set=tuning.trials=4").code == 0
    (folder,) = Path("results").iterdir()
    ledger = json.loads((folder / "cells/digits.mlp.mine.json").read_text())
    drawn = [entry["hypers"]["k"] for entry in ledger["studies"][0]["tuning"]]
    assert drawn[0] == 5 and len(set(drawn)) > 1 and all(type(k) is int and 1 <= k <= 15 for k in drawn)
    card = json.loads((folder / "plan.json").read_text())["methods"]["mine"]["hypers"]["k"]
    assert "family" not in json.loads((folder / "plan.json").read_text())["methods"]["mine"]  # it is no text
    assert card == {"default": 5, "range": {"integer": [1, 15]}}
    assert "integer 1 … 15" in (folder / "report/index.html").read_text()
    assert flipbench("verify", str(folder)).code == 0


def test_an_edited_plugin_makes_its_own_runs_again_and_no_others(flipbench: Flipbench):
    Path("mine.py").write_text(INTEGER)
    command = ("sweep", "tiny", "--plugin=mine.py", "--set=methods=[mine, bop]", "--json", "--workers=1")
    assert flipbench(*command, "--set=tuning.trials=1").code == 0
    (folder,) = Path("results").iterdir()
    before = {path.name for path in (folder / "runs").iterdir()}
    Path("mine.py").write_text(INTEGER + "# edited\n")
    ended = flipbench(*command, "--set=tuning.trials=1")
    assert ended.code == 0 and "the file of mine was edited: its runs are made again" in ended.err
    made = {path.name for path in (folder / "runs").iterdir()} - before
    ledger = json.loads((folder / "cells/digits.mlp.mine.json").read_text())
    (study,) = ledger["studies"]
    assert (
        made == {entry["run"] for entry in [*study["tuning"], *study["final"], *ledger["default"]]} != set()
    )
    assert flipbench("verify", str(folder)).code == 0
    assert f"not part of the plan: {len(made)} runs" in flipbench("status", str(folder)).out

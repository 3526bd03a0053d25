"""`check` and `new-method`: from a template to a method that keeps the contract, and what is refused."""

import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.checks.contract import check as contract
from suite.machine.apart import ProcessEnded, apart
from suite.machine.errors import UserError
from tests.suite.cli.conftest import Flipbench

FLIPS = "weight.copy_(torch.where(flips, -weight, weight))"


def edited(old: str, new: str) -> str:
    """my_method.py with a part of its text replaced by another one."""
    path = Path("my_method.py")
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))
    return str(path)


OWN_DATA = '''
import numpy as np
import torch
from suite.data import Images, data_root, dataset

@dataset(classes=2, shape=(1, 4, 4), train=40, test=40, files=("mine.npz",))
def mine(part):
    """Mine."""
    pixels = torch.from_numpy(np.load(data_root() / "mine.npz")["x"])
    return Images(pixels[:, None, None, None].byte().expand(-1, 1, 4, 4), torch.arange(40) % 2)
'''


def test_a_new_method_passes_its_check_and_is_planned_by_the_commands_that_are_named(flipbench: Flipbench):
    ended = flipbench("new-method", "my-method")
    check, demo, place = ended.out.splitlines()
    assert place == "flipbench place my_method.py"
    assert ended.code == 0 and flipbench.files() == ["my_method.py"]
    passed = flipbench(*shlex.split(check)[1:])
    assert (passed.code, passed.out) == (0, "my_method.py: passed (method my-method)\n")
    (arguments,) = [word.removeprefix("ARGS=") for word in shlex.split(demo) if word.startswith("ARGS=")]
    planned = flipbench("plan", "demo", *shlex.split(arguments))
    assert planned.code == 0 and "my-method" in planned.out

    edited(FLIPS, "weight = torch.where(flips, -weight, weight)")
    refused = flipbench("check", "my_method.py", "--json")
    assert refused.code == 1 and not refused.json["passed"]
    (fault,) = refused.json["findings"]
    assert "does it write into a copy?" in fault["text"] and fault["fault"]
    assert "def step" in Path("my_method.py").read_text().splitlines()[fault["line"]]


def test_a_file_is_refused_for_what_it_reaches_and_changes(flipbench: Flipbench):
    flipbench("new-method", "my-method")
    Path("no-data").mkdir()  # where the data sets lie
    edited("import torch\n", "import torch\nfrom suite.data import load_test\ntorch.manual_seed(0)\n")
    edited(FLIPS, f"{FLIPS}; open('no-data/test.bin', 'wb').close()")
    ended = flipbench("check", "my_method.py")
    lines = ended.out.splitlines()
    assert ended.code == 1 and len(lines) == 4 and lines[-1] == "my_method.py: 3 faults (method my-method)"
    assert lines[0].startswith("my_method.py:9: it uses suite.data.load_test: a method needs torch")
    assert lines[1] == "my_method.py: its import changes torch's random state"
    assert "no-data/test.bin: a method or a model computes from the tensors that it gets" in lines[2]
    assert FLIPS in Path("my_method.py").read_text().splitlines()[int(lines[2].split(":")[1]) - 1]


def test_a_data_set_whose_file_is_absent_has_not_passed(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("FLIPBENCH_DATA", str(flipbench.folder))
    (flipbench.folder / "mine.py").write_text(OWN_DATA)
    ended = flipbench("check", "mine.py")
    assert ended.code == 0 and ended.out.splitlines()[-1] == (
        "mine.py: no fault, but not tried: data set mine (data set mine)"
    )
    assert flipbench("check", "mine.py", "--json").json["untried"] == ["data set mine"]
    np.savez(flipbench.folder / "mine.npz", x=np.arange(40) % 2 * 200)
    assert flipbench("check", "mine.py").out.splitlines()[-1] == "mine.py: passed (data set mine)"


def test_a_file_that_ends_its_process_is_refused(flipbench: Flipbench):
    flipbench("new-method", "my-method")
    ended = flipbench("check", edited(FLIPS, "import os; os._exit(0)"))
    assert ended.code == 1 and "my_method.py: has ended its process (exit code 0)" in ended.out


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine.py", None, "mine.py: there is no such file"),
        ("mine.txt", "x = 1", "mine.txt: it is no Python file: its name does not end in .py"),
        ("mine.py", "x = 1\nx = = 2\n", "mine.py:2: invalid syntax"),
        ("mine.py", "x = 1\n1 / 0\n", "mine.py:2: ZeroDivisionError"),
        ("mine.py", "x = 1\n", "mine.py: no method, model or data set in it"),
        ("mine.py", "import sys\nsys.exit(0)\n", "mine.py:2: SystemExit: 0"),
    ],
)
def test_a_file_without_a_method_cannot_be_checked(
    flipbench: Flipbench, name: str, text: str | None, words: str
):
    if text is not None:
        Path(name).write_text(text)
    ended = flipbench("check", name)
    assert ended.code == 2 and ended.out == "" and words in ended.err


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("bop", "there is a method of this name"),
        ("Mine", "it has small letters"),
        ("../mine", "it has small letters"),
        ("x" * 61, "60 at most"),
        ("lambda", "it means something else in Python"),
        ("print", "it means something else in Python"),
        ("sign", "a function that its file needs is called so"),
        ("weight-rule", "a function that its file needs is called so"),
        ("random", "a function that its file needs is called so"),
    ],
)
def test_a_name_that_no_method_can_have_is_refused(flipbench: Flipbench, name: str, words: str):
    ended = flipbench("new-method", name)
    assert ended.code == 2 and words in ended.err and flipbench.files() == []


def test_no_file_is_overwritten(flipbench: Flipbench):
    Path("mine.py").symlink_to("nowhere")
    ended = flipbench("new-method", "mine")
    assert ended.code == 2 and "mine.py exists already" in ended.err
    ended = flipbench("new-method", "mine", "--to", "absent")
    assert ended.code == 2 and "--to absent: there is no such folder" in ended.err
    assert flipbench.files() == ["mine.py"]


def test_a_rule_that_does_not_return_ends_in_the_line_that_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(contract, "RULE_LIMIT", 1)

    def waits(method: object) -> Iterator[Any]:
        while True:
            time.sleep(0.01)
        yield

    (remark,) = contract.carried_out(waits, None, waits)
    assert remark.text == "TookTooLong: it has not returned within 1 s"
    assert remark.line is not None and remark.line - waits.__code__.co_firstlineno in (1, 2)
    assert signal.getsignal(signal.SIGALRM) is signal.SIG_DFL


def test_a_process_that_does_not_end_is_ended():
    with pytest.raises(ProcessEnded, match=r"mine\.py: has not ended within 0\.5 s") as error:
        apart(["mine.py"], time.sleep, 60, limit=0.5)
    assert isinstance(error.value, UserError)

"""One loader for methods, models and data sets of one's own, and what it refuses."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from optimizers import METHODS
from suite.data import DATASETS
from suite.machine.errors import UserError
from suite.machine.plugin_file import imported, loose_import, source_of
from suite.models import MODELS
from suite.plugins import PLUGINS, REGISTRIES, Plugin, PluginError, hashes_of, load_plugin
from tests.support.registries import restored

METHOD = '''
from optimizers.bop import Bop
from optimizers.core import WeightRule, log, method, sign, stored_signs
@method(paper="https://example.org", gamma=log(1e-3, 1e-5, 1e-1))
def {name}(gamma):
    """Mine."""
    return WeightRule(sign, stored_signs, lambda params: Bop(params, gamma, 1e-6))
'''
MODEL = '''
from suite.models.mlp import mlp
from suite.models.model import model
@model
def {name}(shape, classes, rule, *, width: int = 8):
    """Mine."""
    return mlp.build(shape, classes, rule, hidden=(width,))
'''
DATA = '''
import torch
from suite.data import Images, dataset
@dataset(classes=2, shape=(1, 4, 4), train=40, test=10)
def {name}(part, *, level: int = 200):
    """Mine."""
    labels = torch.arange(40 if part == "train" else 10) % 2
    return Images((labels[:, None, None, None] * level).byte().expand(-1, 1, 4, 4), labels)
'''
TEXTS = {"method": METHOD, "model": MODEL, "data": DATA}
TAKEN = {"method": ("bop", "method"), "model": ("mlp", "model"), "data": ("digits", "data set")}


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    with restored():
        yield


def written(folder: Path, *texts: str, name: str = "mine.py") -> Path:
    path = folder / name
    path.write_text("".join(texts))
    return path


def test_one_file_holds_any_mixture_and_a_command_may_load_it_again(tmp_path: Path) -> None:
    path = written(tmp_path, *(text.format(name=f"my_{kind}") for kind, text in TEXTS.items()))
    for _ in range(2):
        method, model, data = load_plugin(path)
        assert METHODS["my-method"] is method
        assert MODELS["my-model"] is model
        assert DATASETS["my-data"] is data
    here = Plugin(path, source_of(path))
    assert {(kind, f"my-{kind}"): here for kind in TEXTS} == PLUGINS
    assert hashes_of("my-model", "my-data") == {"model": here.source, "data": here.source}
    assert hashes_of("mlp", "my-data") == {"data": here.source} and hashes_of("mlp", "digits") == {}
    assert "mlp" in MODELS and MODELS["mlp"].name == "mlp"  # what the file imports is not its own


@pytest.mark.parametrize("kind", TEXTS)
def test_a_name_that_is_taken_is_refused_and_nothing_of_the_file_stays(tmp_path: Path, kind: str) -> None:
    name, word = TAKEN[kind]
    before = {each: dict(registry) for each, registry in REGISTRIES.items()}
    others = (text.format(name=f"my_{each}") for each, text in TEXTS.items())
    path = written(tmp_path, *others, TEXTS[kind].format(name=name))
    with pytest.raises(PluginError, match=rf"mine\.py: a {word} called '{name}' exists already"):
        load_plugin(path)
    assert before == REGISTRIES and not PLUGINS
    load_plugin(written(tmp_path, TEXTS[kind].format(name="mine"), name="one.py"))
    with pytest.raises(PluginError, match=rf"two\.py: a {word} called 'mine' exists already"):
        load_plugin(written(tmp_path, TEXTS[kind].format(name="mine"), name="two.py"))
    assert PLUGINS.keys() == {(kind, "mine")}


def test_two_data_sets_of_one_name_in_a_file_are_refused(tmp_path: Path) -> None:
    again = "other = mine\nfrom dataclasses import replace\nthird = replace(mine, train=8)\n"
    with pytest.raises(PluginError, match="a data set called 'mine' exists already"):
        load_plugin(written(tmp_path, DATA.format(name="mine"), again))


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("mine.py", "x = 1\n", r"no method, model or data set in it: decorate a function with @method"),
        ("mine.py", "from suite.models.mlp import mlp\n", "no method, model or data set in it"),
        ("mine.txt", "x = 1\n", r"mine\.txt: it is no Python file: its name does not end in \.py"),
        ("absent.py", None, r"absent\.py: there is no such file"),
        ("folder.py", None, r"folder\.py: it is a folder"),
        ("mine.py", MODEL.format(name="ä"), "the model 'ä' needs a name of letters, digits"),
        ("mine.py", DATA.format(name="x" * 61), "needs a name of letters, digits"),
    ],
)
def test_what_cannot_be_a_plugin(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    (tmp_path / "folder.py").mkdir()
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=words):
        load_plugin(tmp_path / name)
    assert not PLUGINS


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (MODEL.replace("rule, *, width: int = 8", "rule, width=8"), "takes shape, classes, rule, then its"),
        (MODEL.replace("width: int = 8", "width"), "the option width needs a default"),
        (MODEL.replace("width: int = 8", "width=None"), "the option width needs a default"),
        (MODEL.replace("width: int = 8", "width=(1, 'a')"), "the option width needs a default"),
        (MODEL.replace('"""Mine."""', ""), "needs a docstring"),
        (DATA.replace("part, *, level: int = 200", "part, *parts"), "takes part, then its options after a"),
        (DATA.replace("level", "validation"), "validation is an option of every data set"),
    ],
)
def test_a_function_that_cannot_be_registered_is_refused_when_it_is_defined(
    tmp_path: Path, text: str, words: str
) -> None:
    with pytest.raises(TypeError, match=words):
        load_plugin(written(tmp_path, text.format(name="mine")))


@pytest.mark.parametrize("reached", [True, False], ids=["on the path", "beside the file"])
@pytest.mark.parametrize("line", ["import helper", "from helper.rule import x", "def later(): import helper"])
def test_a_file_that_imports_another_loose_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, reached: bool
) -> None:
    """A change of that one would be in no run's name: old and new runs would be one row."""
    (tmp_path / "helper").mkdir()
    (tmp_path / "helper" / "__init__.py").touch()
    (tmp_path / "helper" / "rule.py").write_text("x = 1")
    if reached:
        monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "mine.py").write_text(f"{line}\n{MODEL.format(name='mine')}")
    with pytest.raises(PluginError, match=r"mine\.py: it imports helper from .*A plugin is one file"):
        load_plugin(tmp_path / "mine.py")
    assert not PLUGINS


@pytest.mark.parametrize("folder", ["site-packages", "python/dist-packages"])
def test_what_is_installed_and_what_is_flipbenchs_may_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / "helper.py").write_text("x = 1")
    monkeypatch.syspath_prepend(tmp_path / folder)
    lines = (
        "import sys, json, numpy.linalg, torch, report, helper\nfrom os import path\nfrom __main__ import x\n"
    )
    tree = lines + MODEL.format(name="mine")
    (tmp_path / "mine.py").write_text(tree)
    assert loose_import(tmp_path / "mine.py") == ""
    assert imported(ast.parse(tree)) >= {"sys", "numpy", "helper", "suite", "__main__"}

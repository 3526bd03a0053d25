"""The command: its surface, its exit codes, and that a mistake writes nothing."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
from typer.testing import CliRunner

from optimizers import METHODS, PLUGINS
from suite.cli import catalogue
from suite.cli import main as cli
from suite.cli.views.catalogue import reflowed
from suite.data import DATASETS
from suite.models import MODELS
from suite.records.files import read_json, write_json
from tests.support.paths import ROOT
from tests.support.photographs import write_tree

TINY = """
version: 1
summary: Tiny.
tasks: [{data: {name: digits, train_limit: 100}, model: {name: mlp, hidden: [8]}}]
methods: [bop, latent-adam]
train: {epochs: 1, batch_size: 50}
tuning: {trials: 2}
seeds: 2
"""


class Told(NamedTuple):
    """What a command left behind: exit code, stdout, stderr."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Flipbench:
    """The command, run in this process in a folder of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> None:
        self.folder, self.monkeypatch, self.capfd = folder, monkeypatch, capfd

    def __call__(self, *arguments: str) -> Told:
        self.monkeypatch.setattr(sys, "argv", ["flipbench", *arguments])
        self.capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self.capfd.readouterr()
        return Told(int(ended.value.code or 0), out, err)

    def files(self) -> list[str]:
        """Everything in the folder, the experiment apart."""
        found = sorted(str(path.relative_to(self.folder)) for path in self.folder.rglob("*"))
        return [name for name in found if not name.startswith("experiments")]


@pytest.fixture
def flipbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture) -> Flipbench:
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "tiny.yaml").write_text(TINY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("FLIPBENCH_DATA", str(tmp_path / "no-data"))
    monkeypatch.setenv("FLIPBENCH_DOWNLOAD", "0")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path.with_name(f"{tmp_path.name}-cache")))
    return Flipbench(tmp_path, monkeypatch, capfd)


# ---- the surface

EXPERIMENT = {"EXP", "--set", "--plugin"}
RUNNING = EXPERIMENT | {"--engine", "--device", "--workers", "--threads", "--results", "--dry-run", "--json"}
SURFACE = {
    "list": {"--plugin", "--json"},
    "plan": EXPERIMENT | {"--results", "--json"},
    "sweep": RUNNING,
    "tune": RUNNING,
    "train": (RUNNING | {"cell", "--seed", "--final"}) - {"--engine", "--workers", "--dry-run"},
    "prepare": {
        "imagenet",
        "SRC",
        "DST",
        "--encoding",
        "--side",
        "--quality",
        "--damaged",
        "--workers",
        "--check",
    }
    | {"--json"},
    "report": {"EXP", "--results"},
    "show": {"METHOD", "--plugin", "--json"},
    "status": {"EXP", "--watch", "--results", "--json"},
    "verify": {"EXP", "--replay", "--plugin", "--results", "--json"},
}


def test_the_surface_is_these_commands_and_options():
    # Adding to it is a decision: it needs a line here, in the README and in the command's help.
    group: Any = typer.main.get_command(cli.app)
    found = {
        name: {option.metavar or option.opts[0] if option.param_type_name == "argument" else option.opts[0]
               for option in command.params}
        for name, command in group.commands.items()
    }  # fmt: skip
    assert found == SURFACE


@pytest.mark.parametrize("name", SURFACE)
def test_every_command_explains_itself_and_its_options(name: str):
    result = CliRunner().invoke(cli.app, [name, "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert result.exit_code == 0
    assert all(option in result.output for option in SURFACE[name])
    group: Any = typer.main.get_command(cli.app)
    command = group.commands[name]
    assert len(command.help) > 30 and all(getattr(option, "help", None) for option in command.params)


def test_without_a_command_there_is_help():
    result = CliRunner().invoke(cli.app, [], env={"COLUMNS": "200"})
    assert all(name in result.output for name in SURFACE)


# ---- looking


def test_list_names_all_there_is(flipbench: Flipbench):
    told = flipbench("list")
    names = [*METHODS, *MODELS, *DATASETS, "tiny", "Tiny."]
    assert told.code == 0 and all(name in told.out for name in names)


def test_list_as_json(flipbench: Flipbench):
    told = flipbench("list", "--json")
    assert set(told.json) == {"methods", "models", "data", "experiments"}
    assert told.json["methods"]["bop"]["hypers"]["gamma"]["default"] == 1e-4
    assert told.json["experiments"] == {"tiny": "Tiny."} and told.err == ""


def test_what_a_method_keeps_is_measured(flipbench: Flipbench):
    cards = flipbench("list", "--json").json["methods"]
    kept = {name: (card["latent_free"], card["state_floats"]) for name, card in cards.items()}
    assert kept["bop"] == (True, 1)  # an average
    assert kept["latent-sgd"] == (False, 0) and kept["latent-momentum"] == (False, 1)
    assert kept["latent-adam"] == (False, 2)  # two moments


def test_show_tells_all_about_a_method(flipbench: Flipbench):
    told, card = flipbench("show", "latent-adam"), flipbench("show", "latent-adam", "--json").json
    method = METHODS["latent-adam"]
    words = [method.summary, method.paper, "optimizers/latent.py", "BinaryConnect"]
    words += [*method.hypers, *map(str, method.hypers.values())]
    assert told.code == 0 and all(word in told.out for word in words)
    assert card["name"] == "latent-adam" and set(card["hypers"]) == set(method.hypers)
    assert "straight through" in card["file_description"] and card["description"] == method.summary


def test_show_tells_the_presets(flipbench: Flipbench):
    told = flipbench("show", "bop")
    for name, values in METHODS["bop"].presets.items():
        assert name in told.out and values.keys() <= set(told.out.split())
    assert "{linear: [0.0005, 5e-07]}" in told.out
    assert "preset" not in flipbench("show", "boat").out


def test_what_is_optional_is_off_in_the_card_and_one_row_in_the_list(flipbench: Flipbench):
    card = [line.split() for line in flipbench("show", "latent-sgd").out.splitlines()]
    (row,) = [words for words in card if words[:1] == ["ags"]]
    assert row == ["ags", "off", "log", "0.001", "…", "0.1,", "published", "0.01"]
    assert "7 optional" in flipbench("list").out


def test_a_docstring_is_reflowed_but_for_its_lists_and_formulas():
    text = "One\ntwo.\n\n* three\n  four\n* five\n\n    six = 7\n    eight\n\nnine\nten"
    assert reflowed(text) == "One two.\n\n* three four\n* five\n\n    six = 7\n    eight\n\nnine ten"


def listed(folder: Path, *arguments: str) -> list[str]:
    """What `list` prints in a process of its own, and last whether it has imported torch."""
    script = (
        "import sys\nfrom suite.cli.main import main\n"
        "try:\n    main()\nfinally:\n    print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", script, "list", *arguments]
    environment = {**os.environ, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(ROOT)}
    told = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    assert told.stderr == ""
    return told.stdout.splitlines()


def test_the_second_list_imports_no_torch_and_prints_the_same(tmp_path: Path):
    first, second = listed(tmp_path), listed(tmp_path)
    assert (first.pop(), second.pop()) == ("True", "False") and first == second and len(first) > 20
    (kept,) = tmp_path.rglob("*.json")
    kept.write_text(kept.read_text().replace("bop", "bob"))  # damaged: made again, and mended
    assert [*first, "True"] == listed(tmp_path)
    assert [*first, "False"] == listed(tmp_path)


def test_an_edit_is_noticed(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch):
    source = flipbench.folder / "source"
    for part in ("optimizers", "suite"):
        shutil.copytree(ROOT / part, source / part)
    monkeypatch.setattr(catalogue, "ROOT", source)
    keys = [catalogue.source_key(source)]
    for file in (
        "optimizers/bop.py",
        "optimizers/core/hyper.py",
        "suite/models/mlp.py",
        "suite/data/sets/digits.py",
    ):
        assert flipbench("list", "--json").json["methods"]
        kept = catalogue.cache_file()
        write_json(kept, {**read_json(kept), "cards": {"methods": {}, "models": {}, "data": {}}})
        assert not flipbench("list", "--json").json["methods"]  # what is kept is what is printed
        with open(source / file, "a") as edited:
            edited.write("\n")
        keys.append(catalogue.source_key(source))
    assert flipbench("list", "--json").json["methods"]
    (source / "optimizers" / "new.py").touch()
    assert len({*keys, catalogue.source_key(source)}) == 6


def test_without_a_place_to_keep_them_the_cards_are_made_again(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    (flipbench.folder / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(flipbench.folder / "file"))
    assert "bop" in flipbench("list", "--json").json["methods"]
    assert flipbench.files() == ["file"]


PLUGIN = """
import torch
from optimizers.core import WeightRule, method, sign

@method(paper="https://example.org")
def mine() -> WeightRule:
    \"\"\"Never flips.\"\"\"
    return WeightRule(sign, lambda weight: weight, lambda params: torch.optim.SGD(params, lr=0.0))
"""


def test_a_plugins_methods_are_listed_and_never_kept(flipbench: Flipbench):
    Path("mine.py").write_text(PLUGIN)
    try:
        told = flipbench("list", "--plugin", "mine.py")
        assert told.code == 0 and "Never flips." in told.out and not catalogue.cache_file().exists()
        card = flipbench("show", "mine", "--plugin", "mine.py", "--json").json
        assert card["latent_free"] and card["file"] == str(flipbench.folder / "mine.py")
    finally:
        METHODS.pop("mine", None)
        PLUGINS.pop("mine", None)
    assert "mine" not in flipbench("list", "--json").json["methods"]


def test_a_plugin_that_cannot_take_a_step_is_named(flipbench: Flipbench):
    Path("mine.py").write_text(PLUGIN.replace("lr=0.0", "lr=-1.0"))
    try:
        told = flipbench("list", "--plugin", "mine.py")
        assert told.code == 2 and "Traceback" not in told.err
        assert "mine.py: mine: ValueError: Invalid learning rate" in told.err
    finally:
        METHODS.pop("mine", None)
        PLUGINS.pop("mine", None)


def test_plan_shows_cells_and_costs_and_writes_nothing(flipbench: Flipbench):
    told = flipbench("plan", "tiny")
    assert told.code == 0 and flipbench.files() == []
    for words in ("digits.mlp.bop", "digits.mlp.latent-adam", "2 cells, 8 runs, 8 epochs", "results/tiny"):
        assert words in told.out


def test_plan_as_json_is_what_the_sweep_will_write_down(flipbench: Flipbench):
    told = flipbench("plan", "experiments/tiny.yaml", "--json", "--set", "seeds=3")
    assert (told.json["runs"], told.json["epochs"], told.json["seeds"]) == (10, 10, [1001, 1002, 1003])
    assert [cell["cell"] for cell in told.json["cells"]] == ["digits.mlp.bop", "digits.mlp.latent-adam"]
    assert told.json["disk_bytes"] > 10_000 and told.json["experiment"].startswith("tiny-")


@pytest.mark.parametrize("command", ["sweep", "tune"])
def test_a_dry_run_writes_nothing(flipbench: Flipbench, command: str):
    told = flipbench(command, "tiny", "--dry-run")
    assert told.code == 0 and "2 cells, 8 runs" in told.out and flipbench.files() == []
    assert flipbench(command, "tiny", "--dry-run", "--json").json["runs"] == 8


# ---- training


def test_train_leaves_one_record_and_repeats_it_for_free(flipbench: Flipbench):
    command = ("train", "tiny", "digits.mlp.bop", "--seed", "3", "--final", "--device", "cpu", "--json")
    first = flipbench(*command)
    run = Path(first.json["run"])
    assert first.code == 0 and "epoch" in first.err and run.parent == Path("results/tiny/runs")
    trial, result = (read_json(run / f"{name}.json") for name in ("trial", "result"))
    assert (trial["seed"], trial["stage"], trial["method"]) == (3, "final", "bop")
    assert {**result, "run": str(run)} == first.json and "test_top1" in result["scores"]
    before = (run / "result.json").stat().st_mtime_ns
    again = flipbench(*command)
    assert again.json == first.json and again.err == ""
    assert (run / "result.json").stat().st_mtime_ns == before


def test_train_without_final_never_sees_the_test_set(flipbench: Flipbench):
    told = flipbench("train", "tiny", "digits.mlp.bop", "--device", "cpu", "--results", "elsewhere")
    assert told.code == 0 and "val_top1" in told.out and "test_top1" not in told.out
    assert "record: elsewhere/tiny/runs/" in told.out and not Path("results").exists()


def test_a_damaged_result_is_an_error_and_no_number(flipbench: Flipbench):
    command = ("train", "tiny", "digits.mlp.bop", "--device", "cpu", "--json")
    result = Path(flipbench(*command).json["run"]) / "result.json"
    result.write_text(result.read_text()[:-20])
    told = flipbench(*command)
    assert told.code == 2 and told.out == "" and f"{result} is damaged" in " ".join(told.err.split("\n"))


def test_sigterm_saves_a_training_and_the_same_command_goes_on(tmp_path: Path):
    (tmp_path / "long.yaml").write_text(TINY.replace("epochs: 1", "epochs: 4000"))
    command = [sys.executable, "-m", "suite.cli", "train", "long.yaml", "digits.mlp.bop", "--device", "cpu"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    first = ""
    for _ in range(2):
        training = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, stdout=subprocess.PIPE
        )
        assert training.stderr is not None
        first = training.stderr.readline()
        training.send_signal(signal.SIGTERM)
        rest = training.communicate(timeout=60)[1]
        assert training.returncode == 75, rest
        stopped = re.search(
            r"^stopped after step (\d+) of 8000, and saved; the same command goes on", rest, re.M
        )
        assert stopped, rest
        epochs = next((tmp_path / "results").glob("long/runs/*/epochs.jsonl")).read_text().splitlines()
        assert len(epochs) == (int(stopped[1]) - 1) // 2  # two steps each; the last may not be evaluated yet
    assert int(first.split()[1]) > 1  # the second went on from where the first had stopped


# ---- preparing images


def test_prepare_makes_what_imagenet_reads(flipbench: Flipbench):
    write_tree(Path("tree"))
    told = flipbench(
        "prepare", "imagenet", "tree", "packed", "--encoding", "pixels", "--workers", "1", "--check"
    )
    assert told.code == 0 and "every byte is as its checksum says" in told.out
    assert (
        "packed: 12 images of train and 6 of val in 2 shards" in told.out
        and "2 of the shards made now" in told.out
    )
    again = flipbench("prepare", "imagenet", "tree", "packed", "--encoding", "pixels", "--json")
    assert again.json["made"] == 0 and again.json["damaged"] == [] and not again.json["checked"]
    data = "{name: imagenet, folder: packed, size: 32, validation: 0.3}"
    change = ("--set", f"tasks.0.data={data}", "--set", "train.batch_size=4", "--device", "cpu")
    flipbench.monkeypatch.setenv("FLIPBENCH_DATA", str(flipbench.folder))
    flipbench.monkeypatch.setenv("FLIPBENCH_DECODERS", "0")
    trained = flipbench("train", "tiny", "imagenet.mlp.bop", "--final", "--json", *change)
    assert trained.code == 0 and trained.json["steps"] == 2 and "test_top5" in trained.json["scores"]


def test_prepare_names_what_is_damaged_or_stops(flipbench: Flipbench):
    write_tree(Path("tree"))
    damaged = Path("tree/train/n01440764/n01440764_1.JPEG")
    damaged.write_bytes(damaged.read_bytes()[:400])
    told = flipbench("prepare", "imagenet", "tree", "packed", "--workers", "1")
    assert (
        told.code == 2 and f"the image {damaged} is damaged" in told.err and "--damaged leave-out" in told.err
    )
    left = flipbench("prepare", "imagenet", "tree", "packed", "--workers", "1", "--damaged", "leave-out")
    assert left.code == 0 and "11 images of train" in left.out
    assert "1 damaged images are left out" in left.out and "  train/n01440764/n01440764_1.JPEG" in left.out
    shard = Path("packed/val-00000.bin")
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    again = flipbench("prepare", "imagenet", "tree", "packed", "--damaged", "leave-out", "--check")
    assert again.code == 2 and f"{shard} is damaged" in again.out


# ---- mistakes: one message, exit code 2, nothing written

MISTAKES = {
    "plan tiyn": "experiments/tiyn.yaml: no such experiment file; did you mean 'tiny'?",
    "plan nowhere/tiny.yaml": "nowhere/tiny.yaml: no such experiment file; did you mean 'tiny'?",
    "plan tiny --set train.epochs=0": "--set train.epochs=0: train.epochs: must be at least 1, not 0",
    "plan tiny --set epochs": "--set epochs: write path=value, for example train.epochs=5",
    "plan tiny --plugin absent.py": "absent.py: no such Python file",
    "list --plugin absent.py": "absent.py: no such Python file",
    "train tiny digits.mlp.bpo": "tiny has no cell 'digits.mlp.bpo'; did you mean 'digits.mlp.bop'?",
    "train tiny digits.mlp.bop --device gpu": "there is no device 'gpu'; the choices are auto",
    "sweep tiny --device cuda:99": "no cuda:99 on this machine",
    "sweep mnist.yaml": "mnist.yaml: no such experiment file",
    "sweep tiny --set tasks.0.data=mnist --device cpu": "data set 'mnist': 4 of its files are absent",
    "train tiny mnist.mlp.bop --set tasks.0.data=mnist --device cpu": "data set 'mnist': 4 of its files",
    "prepare imagenet absent packed": "there is no folder absent/train",
    "prepare cifar tree packed": "'cifar' is not one of 'imagenet'",
    "prepare imagenet experiments packed --side 0": "Invalid value for '--side'",
    "plan tiny --set train.batch_parts=3": "--set train.batch_parts=3: train.batch_parts: a batch of 50",
    "plan tiny --set train.batch_parts=0": "train.batch_parts: must be at least 1, not 0",
    "plan tiny --set train.augment=resized-crop-flip": "train.augment: digits has no 'resized-crop-flip'",
    "plan tiny --set train.augment=flip": "train.augment: there is no 'flip'",
    "report tiny": "results/tiny/plan.json does not exist",
    "show bpo": "there is no method 'bpo'; did you mean 'bop'?",
    "status tiny": "results/tiny/plan.json does not exist",
    "status tiny --watch": "--watch needs a terminal",
    "verify tiny": "results/tiny/plan.json does not exist",
    "train tiny": "Missing argument 'cell'",
    "train tiny digits.mlp.bop --seed -1": "Invalid value for '--seed'",
    "sweep tiny --workers none": "Invalid value for '--workers'",
    "sweep tiny --epochs 5": "No such option: --epochs",
    "swep tiny": "No such command 'swep'. Did you mean 'sweep'?",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_message_and_writes_nothing(flipbench: Flipbench, command: str):
    told = flipbench(*command.split())
    assert told.code == 2 and told.out == ""
    assert MISTAKES[command] in told.err and "Traceback" not in told.err
    assert flipbench.files() == []


@pytest.mark.parametrize("command", ["sweep tiny", "train tiny digits.mlp.bop"])
def test_a_results_folder_that_is_none(flipbench: Flipbench, command: str):
    Path("results").write_text("a file in its place")
    told = flipbench(*command.split(), "--device", "cpu")
    assert told.code == 2 and "error: cannot write results/tiny" in told.err and "Not a directory" in told.err
    assert flipbench.files() == ["results"] and Path("results").read_text() == "a file in its place"


def test_several_mistakes_are_one_error(flipbench: Flipbench):
    Path("experiments/tiny.yaml").write_text(TINY.replace("bop", "bpo").replace("mlp", "mpl"))
    told = flipbench("plan", "tiny")
    lines = told.err.splitlines()
    assert told.code == 2 and len(lines) == 2 and lines[0].startswith("error: experiments/tiny.yaml:4:")


def test_the_installed_command_ends_with_the_same_codes(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(TINY.replace("epochs: 1", "epochs: one"))
    command = [sys.executable, "-m", "suite.cli", "plan", str(tmp_path / "bad.yaml")]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert told.returncode == 2 and told.stdout == ""
    assert told.stderr == (
        f"error: {tmp_path}/bad.yaml:6:9: train.epochs: a whole number belongs here, not the text 'one'\n"
    )

"""The command: its surface, its start, its exit codes, and that a mistake writes nothing."""

import os
import shutil
import subprocess
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from suite.cli import main as cli
from suite.cli.options import results_folder
from suite.machine import repository
from tests.suite.cli.conftest import TINY, Flipbench
from tests.support.paths import ROOT

# ---- the surface

EXPERIMENT = {"EXP", "--set", "--plugin"}
RUNNING = EXPERIMENT | {"--engine", "--device", "--workers", "--threads", "--results", "--dry-run", "--json"}
SURFACE = {
    "list": {"KIND", "--plugin", "--json"},
    "plan": EXPERIMENT | {"--results", "--json", "--measure", "--device", "--workers"},
    "sweep": RUNNING | {"--adopt"},
    "tune": RUNNING | {"--adopt"},
    "train": (RUNNING | {"cell", "--seed", "--final", "--keep-weights"})
    - {"--engine", "--workers", "--dry-run"},
    "load": {"RUN_OR_FILE", "--test", "--device", "--threads", "--plugin", "--json"},
    "claims": {"[NAME]", "--publish", "--results", "--json"},
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
    "study": {"EXP", "--effective", "--results", "--json"},
    "report": {"EXP", "[OTHER]", "--figure", "--to", "--results", "--json"},
    "publish": {"EXP", "--results"},
    "export": {"EXP", "--csv", "--parquet", "--tensorboard", "--to", "--results"},
    "merge": {"EXP", "OTHER", "--to", "--results"},
    "place": {"FILE", "--method", "--decay", "--task", "--quick", "--device", "--workers", "--results"},
    "dashboard": {"EXP", "--port", "--results"},
    "check": {"FILE", "--json"},
    "new-method": {"NAME", "--to"},
    "show": {"NAME", "--kind", "--plugin", "--json"},
    "status": {"EXP", "--watch", "--results", "--json"},
    "verify": {"EXP", "--draws", "--replay", "--plugin", "--results", "--json"},
}
GLOBAL = {"--version", "--install-completion", "--show-completion"}


def names(command: Any) -> set[str]:
    """The arguments and options of a command, as its help shows them."""
    return {
        option.metavar or option.opts[0] if option.param_type_name == "argument" else option.opts[0]
        for option in command.params
    }


def test_the_surface_is_these_commands_and_options():
    # Adding to it is a decision: it needs a line here, in the README and in the command's help.
    group: Any = typer.main.get_command(cli.app)
    assert {name: names(command) for name, command in group.commands.items()} == SURFACE
    assert names(group) == GLOBAL


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
    assert all(name in result.output for name in (*SURFACE, *GLOBAL))


# ---- the version


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=n", "-c", "user.email=e@example.org", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.strip()


def test_the_version_has_the_commit_of_its_own_repository_only(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    plain = f"flipbench {installed_version('flipbench')}"

    def printed(root: Path) -> str:
        monkeypatch.setattr(repository, "ROOT", root)
        repository.git_state.cache_clear()
        ended = flipbench("--version")
        assert ended.code == 0
        return ended.out

    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(flipbench.folder.parent))
    try:
        assert printed(flipbench.folder) == f"{plain}\n"  # no repository
        git(flipbench.folder, "init", "--quiet")
        assert printed(flipbench.folder) == f"{plain}\n"  # one without a commit
        git(flipbench.folder, "commit", "--quiet", "--allow-empty", "--message", "first")
        commit = git(flipbench.folder, "rev-parse", "HEAD")[:7]
        assert printed(flipbench.folder) == f"{plain} (commit {commit})\n"
        assert printed(flipbench.folder / "experiments") == f"{plain}\n"  # inside somebody else's repository
    finally:
        repository.git_state.cache_clear()


# ---- mistakes: one message, exit code 2, nothing written

MISTAKES = {
    "plan tiyn": "experiments/tiyn.yaml: no such experiment file; did you mean 'tiny'?",
    "plan nowhere/tiny.yaml": "nowhere/tiny.yaml: no such experiment file; did you mean 'tiny'?",
    "plan tiny --set train.epochs=0": "--set train.epochs=0: train.epochs: must be at least 1, not 0",
    "plan tiny --set epochs": "--set epochs: write path=value, for example train.epochs=5",
    "plan tiny --plugin absent.py": "absent.py: there is no such file",
    "list --plugin absent.py": "absent.py: there is no such file",
    "list everything": "'everything' is not one of 'methods', 'models', 'data', 'probes', 'experiments'",
    "train tiny digits.mlp.bpo": "tiny has no cell 'digits.mlp.bpo'; did you mean 'digits.mlp.bop'?",
    "train tiny digits.mlp.bop --device gpu": "there is no device 'gpu'; the choices are auto",
    "train tiny digits.mlp.bop --device meta": "nothing can be trained on 'meta'; the choices are auto",
    "train tiny digits.mlp.bop --device hpu": "hpu'; the choices are auto",
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
    "report absent": "no sweep was started there; the choices are ",
    "publish tiny": "results/tiny/plan.json does not exist",
    "publish records.tar.xz": "records.tar.xz is an archive, and published as it is",
    "verify absent.tar.xz": "error: absent.tar.xz does not exist",
    "export tiny": "choose at least one of --csv, --parquet and --tensorboard",
    "export tiny --csv": "results/tiny/plan.json does not exist",
    "export tiny --csv --to experiments/tiny.yaml": "Invalid value for '--to'",
    "merge tiny": "Missing argument 'OTHER'",
    "merge tiny other": "results/tiny/plan.json does not exist",
    "dashboard tiny": "results/tiny/optuna.log does not exist",
    "dashboard tiny --port 70000": "Invalid value for '--port'",
    "show bpo": "there is no method, model, data set, probe or experiment 'bpo'; did you mean 'bop'?",
    "show tiny --kind method": "there is no method 'tiny'; the choices are ",
    "show mnist": "several things are called 'mnist': choose with --kind data or --kind experiment",
    "show experiments/tiny.yaml --kind model": "leave out --kind model",
    "show absent.yaml": "absent.yaml: no such experiment file",
    "status tiny": "results/tiny/plan.json does not exist",
    "status tiny --watch": "--watch needs a terminal",
    "verify tiny": "results/tiny/plan.json does not exist",
    "train tiny": "Missing argument 'cell'",
    "train tiny digits.mlp.bop --seed -1": "Invalid value for '--seed'",
    "sweep tiny --workers none": "Invalid value for '--workers'",
    "sweep tiny --workers 10001": "Invalid value for '--workers'",
    "sweep tiny --epochs 5": "No such option: --epochs",
    "swep tiny": "No such command 'swep'. Did you mean 'sweep'?",
}


@pytest.mark.parametrize("command", MISTAKES)
def test_a_mistake_is_one_message_and_writes_nothing(flipbench: Flipbench, command: str):
    ended = flipbench(*command.split())
    assert ended.code == 2 and ended.out == ""
    assert MISTAKES[command] in ended.err and "Traceback" not in ended.err
    assert flipbench.files() == []


@pytest.mark.parametrize("file", ["experiments/tiny.yaml", "./experiments/tiny.yaml", "elsewhere/tiny.yml"])
def test_the_file_of_an_experiment_leads_to_its_results(tmp_path: Path, file: str):
    for name, path in (("tiny", "tiny.yaml"), ("paper/x", "experiments/paper/x.yaml")):
        assert results_folder(path, tmp_path) == tmp_path / name
    assert results_folder(file, tmp_path) == tmp_path / "tiny"
    (tmp_path / "odd.yaml").mkdir()  # a folder of results, whatever its name, is itself
    assert results_folder("odd.yaml", tmp_path) == tmp_path / "odd.yaml"


@pytest.mark.parametrize("command", ["sweep tiny", "train tiny digits.mlp.bop", "report tiny"])
def test_a_results_folder_that_is_none(flipbench: Flipbench, command: str):
    Path("results").write_text("a file in its place")
    ended = flipbench(*command.split(), "--results", "results")
    assert ended.code == 2 and "'--results': dir 'results' is a file" in ended.err
    assert flipbench.files() == ["results"] and Path("results").read_text() == "a file in its place"


def test_several_mistakes_are_one_error(flipbench: Flipbench):
    Path("experiments/tiny.yaml").write_text(TINY.replace("bop", "bpo").replace("mlp", "mpl"))
    ended = flipbench("plan", "tiny")
    lines = ended.err.splitlines()
    assert ended.code == 2 and len(lines) == 2 and lines[0].startswith("error: experiments/tiny.yaml:4:")


# ---- processes of their own


def test_the_module_ends_with_the_same_codes(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(TINY.replace("epochs: 1", "epochs: one"))
    command = [sys.executable, "-m", "suite.cli", "plan", str(tmp_path / "bad.yaml")]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr == (
        f"error: {tmp_path}/bad.yaml:6:9: train.epochs: a whole number belongs here, not the text 'one'\n"
    )


QUICK = (
    "--help",
    "--version",
    "sweep --help",
    "list",
    "list experiments",
    "show demo",
    "status nothing",
    "verify nothing",
    "status tiny",
    "verify tiny",
    "report tiny",
)
RUN_ALL = """
import sys
from suite.cli.main import main
for command in sys.stdin.read().splitlines():
    sys.argv = ["flipbench", *command.split()]
    if command.startswith("report"):  # without its drawings, which take most of its time
        import report.draw.svg
        report.draw.svg.rendered = lambda *_: b"<svg>\\n</svg>\\n"
    try:
        main()
    except SystemExit as ended:
        found = {"torch", "optuna", "optimizers", "pandas"} & set(sys.modules)
        print(command, "ends with", ended.code, *sorted(found), file=sys.__stderr__)
"""


def test_commands_that_only_read_import_no_torch_and_most_no_pandas(flipbench: Flipbench, tiny_records: Path):
    """In one process. The report comes last: it needs pandas."""
    flipbench("list")  # keeps the cards
    shutil.copytree(tiny_records, "results/tiny")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", RUN_ALL]
    ended = subprocess.run(
        command, input="\n".join(QUICK), env=environment, capture_output=True, text=True, check=True
    )
    lines = [line for line in ended.stderr.splitlines() if " ends with " in line]
    assert lines == [
        f"{command} ends with {2 * ('nothing' in command)}{' pandas' * command.startswith('report')}"
        for command in QUICK
    ]

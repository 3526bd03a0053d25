"""`train` and `prepare`: one record for each run, and images that are converted once."""

import re
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from suite.cli import train as train_command
from suite.data import load_splits
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.machine import preemption
from suite.records.experiment import ExperimentFolder
from suite.records.files import owned, read_json
from suite.records.schema import EpochLine
from suite.sweep.coordinator import prepare_folder
from tests.suite.cli.conftest import TINY, Flipbench
from tests.support.photographs import write_tree

# ---- train


def test_train_leaves_one_record_and_repeats_it_for_free(flipbench: Flipbench):
    command = ("train", "tiny", "digits.mlp.bop", "--seed", "3", "--final", "--device", "cpu", "--json")
    first = flipbench(*command)
    run = Path(first.json["run"])
    assert first.code == 0 and "epoch" in first.err and run.parent == Path("results/tiny/runs")
    trial, result = (read_json(run / f"{name}.json") for name in ("trial", "result"))
    assert (trial["seed"], trial["stage"], trial["method"]) == (3, "final", "bop")
    assert {**result, "run": str(run)} == {**first.json, "run": str(run)}
    assert "test_top1" in result["scores"]
    before = (run / "result.json").stat().st_mtime_ns
    again = flipbench(*command)
    assert again.json == first.json and again.err == ""
    assert (run / "result.json").stat().st_mtime_ns == before


def test_several_processes_with_probes_are_refused_before_a_folder_is_made(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = flipbench(
        "train", "tiny", "digits.mlp.bop", "--final", "--device", "cpu", "--set", "probes=[signs]"
    )
    assert ended.code == 2 and "2 train this run together" in " ".join(ended.err.split())
    assert not Path("results").exists()


@pytest.mark.parametrize(
    ("size", "words"),
    [
        ("abc", "WORLD_SIZE is 'abc': a number of processes"),
        ("2", "RANK, MASTER_ADDR, MASTER_PORT is not set"),
    ],
)
def test_variables_that_no_torchrun_has_set_are_refused(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch, size: str, words: str
):
    monkeypatch.setenv("WORLD_SIZE", size)
    for name in ("RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    ended = flipbench("train", "tiny", "digits.mlp.bop", "--device", "cpu")
    assert ended.code == 2 and words in " ".join(ended.err.split())
    assert not Path("results").exists()


@pytest.mark.parametrize(("sha256", "code"), [("0" * 64, 2), ("", 0)])
def test_train_on_images_that_have_changed_is_refused(flipbench: Flipbench, sha256: str, code: int):
    """A sweep refuses them, too: the run would count among those of other images."""
    plan = make_plan(ExperimentFile(flipbench.folder / "experiments" / "tiny.yaml"))
    record = load_splits(plan.cells[0].data).record
    folder = flipbench.folder / "results" / "tiny"
    prepare_folder(plan, folder, {"digits": replace(record, sha256=sha256 or record.sha256)})
    ended = flipbench("train", "tiny", "digits.mlp.bop", "--final", "--device", "cpu")
    assert ended.code == code
    assert ("data/digits.json: the images of this data set have changed" in ended.err) == bool(code)
    assert bool(list((folder / "runs").iterdir())) == (not code)
    edited = replace(plan.cells[0].first, plugins={"data": "0123"})  # a file of one's own may make others
    assert ExperimentFolder(folder).other_images(edited, record) is None


def test_train_without_final_never_sees_the_test_set(flipbench: Flipbench):
    ended = flipbench("train", "tiny", "digits.mlp.bop", "--device", "cpu", "--results", "elsewhere")
    assert ended.code == 0 and "val_top1" in ended.out and "test_top1" not in ended.out
    assert "record: elsewhere/tiny/runs/" in ended.out and not Path("results").exists()


def test_a_damaged_result_is_an_error_and_no_number(flipbench: Flipbench):
    command = ("train", "tiny", "digits.mlp.bop", "--device", "cpu", "--json")
    result = Path(flipbench(*command).json["run"]) / "result.json"
    result.write_text(result.read_text()[:-20])
    ended = flipbench(*command)
    assert ended.code == 2 and ended.out == ""
    assert f"{result} is damaged" in " ".join(ended.err.split("\n"))


def test_two_processes_never_train_the_same_run(flipbench: Flipbench):
    command = ("train", "tiny", "digits.mlp.bop", "--device", "cpu")
    run = Path(flipbench(*command, "--json").json["run"])
    before = sorted(path.name for path in run.iterdir())
    with owned(run) as mine:
        assert mine
        ended = flipbench(*command)
    assert ended.code == 2 and f"{run}: another process trains this run" in ended.err
    assert sorted(path.name for path in run.iterdir()) == before


@pytest.fixture
def signals_of_its_own() -> Iterator[None]:
    """What this process does at SIGTERM is as before when the test is over."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)
    preemption._stop.clear()


LONG = ("train", "long.yaml", "digits.mlp.bop", "--device", "cpu")
STOPPED = re.compile(r"^stopped after step (\d+) of 8000, and saved; the same command resumes the run$", re.M)


@pytest.mark.usefixtures("signals_of_its_own")
def test_sigterm_saves_a_training_and_the_same_command_resumes_it(
    flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch
):
    """In this process. Stored batches have a test of the signal to a command's own process."""
    Path("long.yaml").write_text(TINY.replace("epochs: 1", "epochs: 4000"))
    shown: list[EpochLine] = []

    def show_and_stop(line: EpochLine) -> None:
        shown.append(line)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(train_command, "_print_epoch", show_and_stop)
    for _ in range(2):
        ended = flipbench(*LONG)
        assert ended.code == 75, ended.err
        check_stop(ended.err)
        preemption._stop.clear()
    first, second = (line.epoch for line in shown)
    assert 1 == first < second  # it began where the first had stopped


def check_stop(err: str) -> None:
    """The message has the step of the record: two steps an epoch; the last may not be evaluated yet."""
    stopped = STOPPED.search(err)
    assert stopped, err
    epochs = next(Path("results").glob("long/runs/*/epochs.jsonl")).read_text().splitlines()
    assert len(epochs) == (int(stopped[1]) - 1) // 2


# ---- prepare


def test_prepare_makes_what_imagenet_reads(flipbench: Flipbench):
    write_tree(Path("tree"))
    ended = flipbench(
        "prepare", "imagenet", "tree", "packed", "--encoding", "pixels", "--workers", "1", "--check"
    )
    assert ended.code == 0 and "every byte matches its checksum" in ended.out
    assert (
        "packed: 12 images of train and 6 of val in 2 shards" in ended.out
        and "2 of the shards made now" in ended.out
    )
    again = flipbench("prepare", "imagenet", "tree", "packed", "--encoding", "pixels", "--json")
    assert again.json["made"] == 0 and again.json["damaged"] == [] and not again.json["checked"]
    data = "{name: imagenet, folder: packed, size: 32, validation: 0.3}"
    change = ("--set", f"tasks.0.data={data}", "--set", "train.batch_size=4", "--device", "cpu")
    flipbench.monkeypatch.setenv("FLIPBENCH_DATA", str(flipbench.folder))
    flipbench.monkeypatch.setenv("FLIPBENCH_DECODERS", "0")
    trained = flipbench("train", "tiny", "imagenet.mlp.bop", "--final", "--json", *change)
    assert trained.code == 0 and trained.json["steps"] == 2 and "test_top5" in trained.json["scores"]


def test_prepare_names_damaged_images_or_stops(flipbench: Flipbench):
    write_tree(Path("tree"))
    damaged = Path("tree/train/n01440764/n01440764_1.JPEG")
    damaged.write_bytes(damaged.read_bytes()[:400])
    ended = flipbench("prepare", "imagenet", "tree", "packed", "--workers", "1")
    assert ended.code == 2 and f"the image {damaged} cannot be used" in ended.err
    assert "--damaged leave-out" in ended.err
    left = flipbench("prepare", "imagenet", "tree", "packed", "--workers", "1", "--damaged", "leave-out")
    assert left.code == 0 and "11 images of train" in left.out
    assert "1 damaged images are left out" in left.out and "  train/n01440764/n01440764_1.JPEG" in left.out
    shard = Path("packed/val-00000.bin")
    shard.write_bytes(shard.read_bytes()[:-1] + b"!")
    again = flipbench("prepare", "imagenet", "tree", "packed", "--damaged", "leave-out", "--check")
    assert again.code == 2 and f"{shard} is damaged" in again.out

"""Networks to take home: `train --keep-weights`, a sweep that keeps them, and `load`."""

import contextlib
import dataclasses
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from suite.records.archive import ARCHIVE, read_contents, write_archive
from suite.records.files import read_json
from suite.records.run import WEIGHTS
from suite.records.trial import Choice
from suite.records.weights import find_kept, kept_content, read_kept
from suite.sweep.pool import Machine
from tests.suite.cli.conftest import TINY, Flipbench
from tests.support.attempts import InlinePool, swept
from tests.support.fake_records import damage

KEEPING = TINY.replace("batch_size: 50", "batch_size: 50, keep_weights: true")
TRAIN = ("train", "tiny", "digits.mlp.bop", "--device", "cpu", "--json")
SWEEP = ("sweep", "tiny", "--device", "cpu", "--workers", "1")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The records of a sweep that kept its networks."""
    place = tmp_path_factory.mktemp("kept")
    swept(place, text=KEEPING)
    return place / "results"


@pytest.fixture
def run(flipbench: Flipbench, kept: Path) -> Path:
    """One of its final runs, to spoil."""
    run = min(path.parent for path in kept.glob(f"runs/*/{WEIGHTS}"))
    return Path(shutil.copytree(run, Path("results/tiny/runs") / run.name))


def rewrite(run: Path, **changes: Any) -> Path:
    """A copy of the network of a run, taken home, with another header."""
    found, content = find_kept(run)
    network = read_kept(content, found)
    file = Path("taken-home.safetensors")
    file.write_bytes(kept_content(dataclasses.replace(network.header, **changes), network.tensors))
    return file


# ---- load


def test_load_shows_a_network_and_has_its_scores_again(flipbench: Flipbench, run: Path):
    shown = flipbench("load", str(run))
    assert shown.code == 0 and shown.err == ""
    words = " ".join(shown.out.split())
    assert f"run {run.name}, seed {read_json(run / 'trial.json')['seed']}" in words
    assert "images uint8 1x8x8 (channels, height, width), read as x / 127.5 - 1, in float32" in words
    assert "1 8x64 1 64 2,048" in words and "4 10x8 1 10 320" in words  # a layer: its bits, bytes, floats
    rest = 4 * (2 * 8 + 2 * 10) * 2 + 2 * 8  # batch norm: scale, shift, mean, variance, and two counters
    size = 64 + 10 + rest
    floats = 2048 + 320 + rest
    assert f"size {size:,} bytes, {floats:,} with float32 weights: {floats / size:.1f} times" in words
    scores = read_json(run / "result.json")["scores"]
    for name in ("test_loss", "test_top1", "test_top5"):
        assert f"{name} {scores[name]!r} {scores[name]!r}" in words

    printed = flipbench("load", str(run), "--json").json
    assert (printed["bytes"], printed["float_bytes"], printed["same"]) == (size, floats, True)
    assert printed["again"] == {name: scores[name] for name in ("test_loss", "test_top1", "test_top5")}
    only = flipbench("load", str(run), "--json", "--no-test").json
    assert only == {**printed, "again": None, "same": None}


def test_a_file_needs_neither_its_run_nor_its_method(flipbench: Flipbench, run: Path):
    _, content = find_kept(run)
    trial = dataclasses.replace(read_kept(content, run).header.trial, method=Choice("mine", {}), plugin="ab")
    ended = flipbench("load", str(rewrite(run, trial=trial)), "--json")
    assert ended.code == 0 and ended.json["same"] and ended.json["trial"]["method"] == "mine"


def test_other_scores_than_recorded_are_an_exit_code(flipbench: Flipbench, run: Path):
    _, content = find_kept(run)
    scores = read_kept(content, run).header.scores
    other = rewrite(run, scores=dataclasses.replace(scores, test_loss=1.5), threads=3)
    ended = flipbench("load", str(other), "--threads", "1", "--json")
    assert ended.code == 1 and ended.json["same"] is False
    assert f"other scores: test_loss 1.5 recorded, {scores.test_loss!r} now; the run" in ended.err
    assert "made on cpu with 3 threads, this is cpu with 1" in ended.err and "top1" not in ended.err


def test_where_the_images_are_absent_it_is_only_shown(flipbench: Flipbench, run: Path):
    _, content = find_kept(run)
    trial = dataclasses.replace(read_kept(content, run).header.trial, data=Choice("fashion-mnist", {}))
    ended = flipbench("load", str(rewrite(run, trial=trial)), "--json")
    assert ended.code == 0 and ended.json["same"] is None
    assert "not evaluated, because images are absent: " in ended.err and "no-data" in ended.err


@pytest.mark.parametrize("name", [WEIGHTS, "result.json"])
def test_a_damaged_run_is_an_error(flipbench: Flipbench, run: Path, name: str):
    damage(run / name)
    ended = flipbench("load", str(run))
    assert ended.code == 2 and ended.out == "" and f"error: {run / name} is damaged: " in ended.err


# ---- train


def test_train_keeps_the_network_of_a_final_run(flipbench: Flipbench):
    refused = flipbench(*TRAIN, "--keep-weights")
    assert (
        refused.code == 2 and "--keep-weights: only a final run keeps its network: add --final" in refused.err
    )
    assert not Path("results").exists()
    plain = flipbench(*TRAIN, "--final")
    run = Path(plain.json["run"])
    before = sorted(run.iterdir())
    late = flipbench(*TRAIN, "--final", "--keep-weights")
    assert late.code == 2 and late.out == "" and sorted(run.iterdir()) == before
    assert f"{run}: this run is finished and holds no network" in late.err and "--results" in late.err
    again = flipbench(*TRAIN, "--final", "--keep-weights", "--results", "elsewhere")
    assert again.json["digest"] == plain.json["digest"] and WEIGHTS in again.json["files"]
    assert flipbench(*TRAIN, "--final", "--keep-weights", "--results", "elsewhere").json == again.json
    assert flipbench("load", again.json["run"]).code == 0
    none = flipbench("load", str(run))
    assert none.code == 2 and f"{run} holds no {WEIGHTS}: only final runs keep" in none.err


def test_the_experiment_may_ask_for_it(flipbench: Flipbench):
    Path("experiments/tiny.yaml").write_text(KEEPING)
    assert WEIGHTS in flipbench(*TRAIN, "--final").json["files"]
    assert WEIGHTS not in flipbench(*TRAIN).json["files"]


# ---- a sweep and its archive


class HerePool(InlinePool, contextlib.AbstractContextManager[InlinePool]):
    """A pool in this process that keeps networks if the real one was asked to."""

    def __init__(self, machine: Machine, plugins: object) -> None:
        super().__init__(machine.keep_weights)

    def __exit__(self, *_: object) -> None:
        self.close()


@pytest.fixture
def here(flipbench: Flipbench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps run in this process and write no report."""
    report = ModuleType("report.build")
    report.build_report = lambda folder, show=None: folder / "report" / "index.html"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "report.build", report)
    monkeypatch.setattr("suite.sweep.pool.LocalPool", HerePool)
    monkeypatch.setattr("os.sync", lambda: None)


@pytest.mark.usefixtures("here")
def test_a_sweep_keeps_the_networks_of_its_final_runs(flipbench: Flipbench, tiny_records: Path):
    Path("experiments/tiny.yaml").write_text(KEEPING)
    ended = flipbench(*SWEEP)
    assert ended.code == 0 and "hold no network" not in ended.err
    stages = {
        path.parent.name: read_json(path)["stage"] for path in Path("results").glob("tiny/runs/*/trial.json")
    }
    assert sorted(stages) == sorted(path.name for path in tiny_records.glob("runs/*"))  # the same runs
    finals = {name for name, stage in stages.items() if stage == "final"}
    assert {path.parent.name for path in Path("results").glob(f"tiny/runs/*/{WEIGHTS}")} == finals
    verified = flipbench("verify", "tiny")
    assert verified.code == 0 and f"{len(finals)} kept networks of " in verified.out


@pytest.mark.usefixtures("here")
def test_runs_that_finished_without_their_network_are_not_made_again(
    flipbench: Flipbench, tiny_records: Path
):
    Path("experiments/tiny.yaml").write_text(KEEPING)
    shutil.copytree(tiny_records, "results/tiny")
    finals = len(list(tiny_records.glob("runs/*/test_correct.npy")))
    ended = flipbench(*SWEEP)
    assert ended.code == 0 and list(Path("results").glob(f"tiny/runs/*/{WEIGHTS}")) == []
    assert f"of the final runs {finals} were finished before and hold no network; none is" in ended.err
    chosen = next(Path("results").glob("tiny/runs/*/test_correct.npy")).parent
    shutil.move(chosen, "aside")  # as the message says
    again = flipbench(*SWEEP, "--no-adopt")
    assert f"of the final runs {finals - 1} were finished" in again.err and (chosen / WEIGHTS).exists()
    digests = [read_json(folder / "result.json")["digest"] for folder in (chosen, Path("aside"))]
    assert digests[0] == digests[1]


@pytest.mark.usefixtures("here")
def test_an_archive_holds_no_networks_and_its_runs_are_whole(flipbench: Flipbench, kept: Path):
    Path("experiments/tiny.yaml").write_text(KEEPING)
    archive = Path("results/published/tiny") / ARCHIVE
    archive.parent.mkdir(parents=True)
    contents = write_archive(kept, archive)
    assert not any(WEIGHTS in each.name for each in contents.files)
    assert read_contents(archive).finished_runs == sorted(path.name for path in (kept / "runs").iterdir())
    assert flipbench("verify", "tiny").code == 0
    ended = flipbench(*SWEEP)
    assert ended.code == 0 and f"adopted from {archive}: " in ended.err
    assert "were finished before and hold no network" in ended.err
    run = min(path.parent for path in kept.glob(f"runs/*/{WEIGHTS}")).name
    none = flipbench("load", f"results/tiny/runs/{run}")
    assert none.code == 2 and "the file is not here: an archive holds none" in none.err
    itself = flipbench("load", str(archive))
    assert itself.code == 2 and "it is an archive of records, which holds no networks" in itself.err

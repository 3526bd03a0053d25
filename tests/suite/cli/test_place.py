"""`flipbench place`: a method of one's own among published baselines, from the check to its page."""

import contextlib
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from report.page.advice import Origin, command_of
from report.read.experiment import read_records
from suite.checks.placement import NoBaselines, placed_file, read_baselines, standard_experiments
from suite.cli import place as cli_place
from suite.experiment.plan import make_plan
from suite.experiment.spec import ExperimentFile
from suite.machine.errors import UserError
from suite.records.archive import ARCHIVE, unpacked, write_archive
from suite.records.experiment import ExperimentFolder
from suite.records.files import read_json, write_json
from suite.records.placement import LIST, Repeated, read_placement
from suite.records.trial import PROTOCOL
from tests.suite.cli.conftest import Flipbench
from tests.support.attempts import swept
from tests.support.paths import ROOT
from tests.support.tiny import CPU

STANDARD = """
version: 1
summary: Tiny.
tasks: [{data: {name: digits, train_limit: 100}, model: {name: mlp, hidden: [8]}}]
methods: [bop, {name: latent-adam, studies: 4}, frozen, latent-sgd]
train: {epochs: 1, batch_size: 50}
tuning: {trials: 2, studies: 3}
seeds: 2
claim:
  {id: C1, title: x, sentence: x, source: x, supports: x, refutes: x, limits: x, tests: [
    {kind: contrast, says: x, of: {bop: 1, latent-sgd: -1}, expect: above}]}
"""
METHOD = '''
"""Bop without its average."""
import torch
from optimizers.core import WeightRule, log, method, sign


class Instant(torch.optim.Optimizer):
    def __init__(self, params, threshold):
        super().__init__(params, dict(threshold=threshold))

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for weight in group["params"]:
                against = weight * weight.grad > group["threshold"]
                weight.copy_(torch.where(against, -weight, weight))


@method(paper="none", threshold=log(1e-3, 1e-5, 1e-1))
def instant(threshold):
    """Flip at once."""
    return WeightRule(sign, lambda stored: stored, lambda params: Instant(params, threshold))
'''

REPEATED = Repeated(method="x", run="0" * 16, published=0.5, here=0.5, same_bits=True)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The baselines of a standard experiment; one run of latent-sgd is missing."""
    place = tmp_path_factory.mktemp("standard")
    plan = swept(place, text=STANDARD)
    records = place / "results"
    (cell,) = (cell.name for cell in plan.cells if cell.name.endswith("latent-sgd"))
    run = read_json(records / "cells" / f"{cell}.json")["default"][0]["run"]
    (records / "runs" / run / "result.json").unlink()
    write_archive(records, place / ARCHIVE)
    return place / ARCHIVE


@pytest.fixture
def standard(flipbench: Flipbench, archive: Path) -> Path:
    """The folder of the command with the standard experiment `tiny` and its published archive."""
    folder = flipbench.folder
    (folder / "experiments" / "standard").mkdir(parents=True, exist_ok=True)
    (folder / "experiments" / "standard" / "tiny.yaml").write_text(STANDARD)
    published = folder / "results" / "published" / "standard" / "tiny"
    published.mkdir(parents=True)
    shutil.copy(archive, published / ARCHIVE)
    (folder / "instant.py").write_text(METHOD)
    return folder


def test_a_newcomer_is_trained_alone_and_stands_among_the_whole_baselines(
    flipbench: Flipbench, standard: Path
) -> None:
    ended = flipbench("place", "instant.py", "--task", "tiny", "--device", "cpu", "--workers", "1")
    assert ended.code == 0, ended.err
    assert "3 baselines from" in ended.err and "1 left out, as runs are missing" in ended.err
    assert ended.err.count("the same bits") == 2
    folder = standard / "results" / "placed" / "instant"
    placed = read_placement(folder)
    (task,) = placed.tasks
    assert (task.left_out, task.same_bits, task.comparable) == (["latent-sgd"], True, True)
    runs = {path.parent.name for path in (folder / "tiny" / "runs").glob("*/result.json")}
    plugin = {name for name in runs if "plugin" in read_json(folder / "tiny" / "runs" / name / "trial.json")}
    assert 6 + 6 <= len(plugin) <= 18  # tuning and final runs; a winner may be the default
    assert flipbench("verify", "placed/instant/tiny").code == 0
    text = (folder / "placement.md").read_text()
    assert "instant reaches" in text and "all pairs of 3 methods at once" in text
    assert "1 method of standard/tiny has not all runs yet" in text
    assert "3 independent studies (some baselines: 4) of 2 trials" in text
    rows = {each.method: each for each in read_records(folder / "tiny").cells}
    assert {name: len(cell.ledger.studies) for name, cell in rows.items()} == {
        "bop": 3, "latent-adam": 4, "frozen": 3, "instant": 3
    }  # fmt: skip
    assert f"Baselines: archive {task.archive[:12]}" in text and "gave the same bits" in text
    for file in ("index.html", "placement.tex", "tiny/report/index.html", "tiny.yaml"):
        assert (folder / file).stat().st_size
    assert "flipbench train standard/tiny digits.mlp." in (folder / "tiny/report/index.html").read_text()

    before = {path: path.stat().st_mtime_ns for path in folder.glob("tiny/runs/*/result.json")}
    page = (folder / "index.html").read_bytes()
    again = flipbench("place", "instant.py", "--task", "tiny", "--device", "cpu", "--workers", "1")
    assert again.code == 0 and (folder / "index.html").read_bytes() == page
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("tiny/runs/*/result.json")}

    (standard / "instant.py").write_text(METHOD.replace("log(1e-3,", "log(2e-3,"))
    edited = flipbench(
        "place", "instant.py", "--task", "tiny", "--quick", "--device", "cpu", "--workers", "1"
    )
    assert edited.code == 0, edited.err
    text = (standard / "results" / "placed" / "instant-quick" / "placement.md").read_text()
    assert "one other file of this name was placed" in text and "A first look" in text
    quick = read_records(standard / "results" / "placed" / "instant-quick" / "tiny")
    assert {len(cell.ledger.studies) for cell in quick.cells} == {1}
    assert len(read_json(standard / "results" / "placed" / LIST)["placements"]) == 2


@pytest.mark.parametrize("method", ["bop", "instant"])
def test_the_advised_command_of_a_placement_trains(flipbench: Flipbench, standard: Path, method: str) -> None:
    placed = flipbench(
        "place", "instant.py", "--task", "tiny", "--quick", "--device", "cpu", "--workers", "1"
    )
    assert placed.code == 0, placed.err
    records = read_records(standard / "results" / "placed" / "instant-quick" / "tiny")
    (cell,) = (cell for cell in records.cells if cell.method == method)
    origin = Origin("standard/tiny", ["claim=null"], {"instant": "instant.py"})
    words = shlex.split(command_of(records, cell, origin))
    ended = flipbench(*words[1:])
    assert ended.code == 0, ended.err


def test_another_machine_makes_the_handshake_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two processors of one type round differently, and so do two versions of torch."""
    made = []
    monkeypatch.setattr(cli_place, "_handshake", lambda *_: made.append(None) or [REPEATED])
    baselines: Any = SimpleNamespace(experiment="standard/a", sha256="0", left_out=(), seed_sd=0.01)
    here = cli_place._task([], baselines, CPU)
    assert "torch" in here.device and cli_place._task([here], baselines, CPU) == here and len(made) == 1
    monkeypatch.setattr("suite.machine.environment.device_name", lambda device: "Another CPU")
    assert cli_place._task([here], baselines, CPU).device.startswith("Another CPU") and len(made) == 2


def test_a_restart_makes_no_handshake_again_and_loses_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two tasks the second one's handshake is kept, also after a stop in the first."""
    made: list[str] = []

    def handshake(baselines: Any, device: object) -> list[Repeated]:
        made.append(baselines.experiment)
        return [REPEATED]

    def baselines(experiment: str, archive: Path) -> SimpleNamespace:
        return SimpleNamespace(
            experiment=experiment, archive=archive, sha256=experiment, left_out=(), seed_sd=0.01
        )

    def stopped(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    both = {f"standard/{name}": tmp_path / name for name in "ab"}
    monkeypatch.setattr(cli_place, "_checked", lambda file, method: "mine")
    monkeypatch.setattr(cli_place, "_standard", lambda tasks, results: both)
    monkeypatch.setattr(cli_place, "_baselines", baselines)
    monkeypatch.setattr(cli_place, "_plan", lambda *_: None)
    monkeypatch.setattr(cli_place, "_handshake", handshake)
    monkeypatch.setattr("report.placement.build_placement", lambda folder, show: folder)
    (file := tmp_path / "mine.py").write_text("def mine(): pass\n")
    for run_plan in (lambda *_, **__: True, stopped, lambda *_, **__: True):
        monkeypatch.setattr("suite.cli.sweep.run_plan", run_plan)
        with contextlib.suppress(KeyboardInterrupt):
            cli_place.place(file, None, None, None, False, "cpu", 1, tmp_path)
        known = read_placement(tmp_path / "placed" / "mine").tasks
        assert [task.experiment for task in known] == list(both)
    assert made == list(both)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("instant.py", "--task", "tinny"), "there are no baselines of 'tinny'"),
        (("instant.py", "--method", "bop"), "it holds no method 'bop'"),
        (("instant.py", "--decay", "gamma", "--task", "tiny"), "--decay: instant has no hyperparameter"),
        (("absent.py",), "absent.py"),
        ((str(ROOT / "optimizers" / "bop.py"),), "the catalogue has a method 'bop' already"),
    ],
)
def test_a_bad_request_is_refused(
    flipbench: Flipbench, standard: Path, arguments: tuple[str, ...], words: str
) -> None:
    ended = flipbench("place", *arguments, "--device", "cpu", "--workers", "1")
    assert ended.code == 2 and words in ended.err
    assert "handshake" not in ended.err and not (standard / "results" / "placed").exists()


def test_a_device_is_looked_for_before_the_placement_counts(flipbench: Flipbench, standard: Path) -> None:
    ended = flipbench("place", "instant.py", "--task", "tiny", "--device", "nonsense")
    assert ended.code == 2 and "there is no device 'nonsense'" in ended.err
    assert not (standard / "results" / "placed").exists()


def test_a_method_with_a_fault_is_not_placed(flipbench: Flipbench, standard: Path) -> None:
    (standard / "instant.py").write_text(METHOD.replace("weight.copy_(", "weight.clone().copy_("))
    ended = flipbench("place", "instant.py", "--task", "tiny", "--device", "cpu")
    assert ended.code == 1 and "does not pass the check" in ended.err
    assert not (standard / "results" / "placed").exists()


def test_an_experiment_with_too_few_whole_baselines_is_left_out_unless_it_is_named(
    flipbench: Flipbench, standard: Path, archive: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (standard / "experiments" / "standard" / "begun.yaml").write_text(STANDARD)
    published = standard / "results" / "published" / "standard" / "begun"
    published.mkdir(parents=True)
    with unpacked(archive) as folder:
        for path in (folder / "runs").glob("*/result.json"):
            path.unlink()
        write_archive(folder, published / ARCHIVE)
    named = flipbench("place", "instant.py", "--task", "begun", "--device", "cpu")
    assert named.code == 2 and "fewer than 2 methods have all their runs in it" in named.err
    assert not (standard / "results" / "placed").exists()
    both = {"standard/begun": published / ARCHIVE, "standard/tiny": archive}
    found = cli_place._all_baselines(both, named=False)  # all that have an archive
    assert [each.experiment for each in found] == ["standard/tiny"]
    assert "standard/begun is left out: " in capfd.readouterr().err
    with pytest.raises(NoBaselines):
        cli_place._all_baselines(both, named=True)


def test_a_damaged_archive_is_an_error(flipbench: Flipbench, standard: Path) -> None:
    (path,) = (standard / "results").rglob(ARCHIVE)
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-100])
    ended = flipbench("place", "instant.py", "--task", "tiny", "--device", "cpu")
    assert ended.code == 2 and ARCHIVE in ended.err
    assert not (standard / "results" / "placed").exists()  # nothing was tried, so nothing is counted


def test_baselines_of_another_protocol_are_none(archive: Path, tmp_path: Path) -> None:
    with unpacked(archive) as folder:
        records = ExperimentFolder(folder)
        write_json(records.plan_path, {**read_json(records.plan_path), "protocol": PROTOCOL + 1})
        write_archive(folder, other := tmp_path / ARCHIVE)
    with pytest.raises(UserError, match=f"protocol {PROTOCOL + 1}, this flipbench has {PROTOCOL}"):
        read_baselines("standard/tiny", other)


def test_the_handshake_takes_the_first_final_runs_of_methods_that_compete(archive: Path) -> None:
    found = read_baselines("standard/tiny", archive)
    assert found.whole == ("bop", "latent-adam", "frozen") and found.left_out == ("latent-sgd",)
    first = [(each.method, *each.study[1:]) for each in found.repeated]
    assert first == [("bop", "random", 0), ("latent-adam", "random", 0)]
    assert {each.method for each in found.finals} == {"bop", "latent-adam"} and len(found.finals) == 6 + 8
    pairs = [[each.score for each in found.finals[at : at + 2]] for at in range(0, 14, 2)]
    pooled = sum((one - other) ** 2 / 2 for one, other in pairs) / len(pairs)
    assert found.seed_sd == pytest.approx(pooled**0.5) and pooled > 0
    jumps = [
        replace(each, method="erratic", study=("x", "random", 0), score=float(n))
        for n, each in enumerate(found.finals)
    ]
    beside = replace(found, whole=(*found.whole, "erratic"), finals=(*found.finals, *jumps))
    assert beside.seed_sd == found.seed_sd


@pytest.mark.parametrize("quick", [False, True])
def test_an_experiment_that_is_ahead_of_its_archive_has_no_baseline_trained(
    archive: Path, tmp_path: Path, quick: bool
) -> None:
    """The placed file has the studies of the archive: only the newcomer's runs are missing."""
    ahead = STANDARD
    for old, new in (("[bop", "[{name: bop, studies: 10}"), ("studies: 4", "studies: 9"), ("s: 3", "s: 5")):
        ahead = ahead.replace(old, new)
    (tmp_path / "tiny.yaml").write_text(ahead)
    found, source = read_baselines("standard/tiny", archive), ExperimentFile(tmp_path / "tiny.yaml")
    text = placed_file(source, found, {"name": "frozen", "label": "new"}, quick)
    (placed := tmp_path / "placed.yaml").write_text(text)
    plan = make_plan(ExperimentFile(placed))
    studies = {cell.method_label: plan.tuning_of(cell).studies for cell in plan.cells}
    many = {"bop": 3, "latent-adam": 4, "frozen": 3, "new": 3}
    assert studies == (dict.fromkeys(many, 1) if quick else many)


def test_a_diverged_run_says_nothing_about_seeds(archive: Path, tmp_path: Path) -> None:
    """Nor does it stand for its method on another machine."""
    before = read_baselines("standard/tiny", archive)
    lost = before.repeated[0].run
    with unpacked(archive) as folder:
        path = folder / "runs" / lost / "result.json"
        write_json(path, {**read_json(path), "status": "diverged"})
        write_archive(folder, other := tmp_path / ARCHIVE)
    found = read_baselines("standard/tiny", other)
    assert lost not in {each.run for each in found.finals} and len(found.finals) == 13
    assert found.repeated[0] == before.finals[1]
    assert len(before.seed_scores) == 7 and len(found.seed_scores) == 6


def test_baselines_of_one_seed_measure_no_machine(tmp_path: Path) -> None:
    swept(tmp_path, text=STANDARD.replace("seeds: 2", "seeds: 1"))
    write_archive(tmp_path / "results", tmp_path / ARCHIVE)
    with pytest.raises(UserError, match="its studies have one final run each"):
        read_baselines("standard/tiny", tmp_path / ARCHIVE)


def test_only_published_standard_experiments_are_offered(standard: Path) -> None:
    (standard / "experiments" / "standard" / "unpublished.yaml").write_text(STANDARD)
    offered = standard_experiments(Path("results"))
    assert "standard/tiny" in offered and "standard/unpublished" not in offered

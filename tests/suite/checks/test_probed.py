"""Records with probes are verified, replayed, archived, adopted and merged as those without."""

import os
import shutil
from pathlib import Path

import pytest

from suite.checks.adopt import adoption
from suite.checks.merge import Source, merge_records, require_mergeable
from suite.checks.replay import replay
from suite.checks.verify import Verification
from suite.records.archive import ARCHIVE, write_archive
from suite.records.experiment import ExperimentFolder
from suite.records.files import read_json, write_json
from tests.support.attempts import swept
from tests.support.fake_records import final_run
from tests.support.tiny import tiny_plan

CELL = "digits.mlp.latent-adam"
CHANGES = ("methods=[latent-adam]", "train.epochs=1", "tuning={trials: 2}", "seeds=1")
PROBED = "probes=[signs, reestimate, interpolate, {name: distort, draws: 1}]"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("probed")
    swept(place, *CHANGES, PROBED)
    return place / "results"


def test_they_are_intact_and_their_tuning_runs_are_those_without_probes(
    tmp_path: Path, records: Path
) -> None:
    assert Verification(records).run().findings == {}
    folder = ExperimentFolder(records)
    plan = folder.plan()
    (cell,) = tiny_plan(tmp_path, *CHANGES).cells
    (study,) = folder.ledger(plan.cells[0], plan).studies
    first = study.tuning[0].run
    trial = folder.run(first).trial()
    assert first == cell.trial(cell.published, trial.seed, "tune").run_id and trial.probes == ()
    tuned, final = folder.run(first).result(), folder.run(study.final[0].run).result()
    assert tuned and tuned.probes == {} and final and len(final.probes) == 4


def test_a_replay_repeats_the_probes_and_names_the_ones_that_differ(tmp_path: Path, records: Path) -> None:
    run = final_run(records, CELL, 0)
    assert replay(run, {}) is None
    changed = shutil.copytree(run, tmp_path / run.name)
    result = read_json(changed / "result.json")
    result["probes"]["interpolate"]["val_top1.kept.b1"] = 0.25
    write_json(changed / "result.json", {**result, "digest": "0" * 64})
    found = replay(changed, {})
    assert found is not None and "probes.interpolate.val_top1.kept.b1: 0.25 recorded, 0." in found.text
    assert found.text.count("recorded") == 1


def test_an_archive_of_them_is_adopted_and_two_folders_are_merged(
    tmp_path: Path, records: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sync", lambda: None)
    folder, new = ExperimentFolder(records), tmp_path / "new"
    write_archive(records, tmp_path / ARCHIVE)
    for part in ("runs", "cells"):
        (new / part).mkdir(parents=True)
    with adoption(tmp_path / ARCHIVE, new, folder.plan(), {"digits": folder.data("digits")}, False) as found:
        assert " finished runs" in found.carry_out()[0]
    assert sorted(os.listdir(new / "runs")) == sorted(os.listdir(records / "runs"))
    one, other = (shutil.copytree(records, tmp_path / name) for name in "ab")
    shutil.rmtree(final_run(one, CELL, 0))
    sources = [Source(path, path, Verification(path).run()) for path in (one, other)]
    require_mergeable(sources, tmp_path / "c")
    done = merge_records(sources, tmp_path / "c")
    assert not done.contradictions and Verification(tmp_path / "c").run().findings == {}

"""`verify` finds every damage and contradiction in the records, executes nothing, and can repeat the runs."""

import hashlib
import json
import math
import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import suite.training.provenance
from optimizers import METHODS
from suite.checks.replay import different_environments, replay
from suite.checks.run import Finding
from suite.checks.verify import Verification, Verified
from suite.cli.main import app
from suite.cli.views.verify import chosen_runs
from suite.data import load_splits
from suite.experiment.plan import Plan
from suite.experiment.spec import ExperimentFile, SpecError
from suite.machine.errors import UserError
from suite.machine.plugin_file import source_of
from suite.plugins import PLUGINS
from suite.records.agreement import NamedRun
from suite.records.files import DamagedRecord, digest, read_json, write_array, write_json
from suite.records.run import FILES, WEIGHTS, RunFolder
from suite.records.schedules import SHAPES, parse_decay, parse_schedule
from suite.records.schema import DataRecord, Failure, GitState, Place
from suite.records.seeds import final_seed
from suite.records.trial import PROTOCOL, Choice, Trial
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine
from suite.training.checkpoint import load_checkpoint
from suite.training.loop import train
from tests.support.paths import ROOT
from tests.support.tiny import CPU, Json, tiny_plan, tiny_trial

BOP = "digits.mlp.bop"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep that kept its networks, one of its hyperparameters on a schedule."""
    folder = tmp_path_factory.mktemp("intact")
    methods = "methods=[{name: bop, decay: {gamma: {cosine: 0.0}}}, latent-adam]"
    plan = tiny_plan(folder, methods, "tuning={trials: 3}", "seeds=2", "train.keep_weights=true")
    prepare_folder(plan, folder / "results", {"digits": digits_record(plan)})
    with LocalPool(Machine(("cpu",), keep_weights=True)) as pool:
        assert Sweep(plan, folder / "results", pool).run()
    return folder / "results"


def digits_record(plan: Plan) -> DataRecord:
    return load_splits(plan.cells[0].data).record


@pytest.fixture
def folder(tmp_path: Path, intact: Path) -> Path:
    """A copy of it, to spoil."""
    shutil.copytree(intact, tmp_path / "results")
    return tmp_path / "results"


def verify(folder: Path) -> Verified:
    return Verification(folder).run()


def ledger(folder: Path, cell: str = BOP) -> Json:
    return read_json(folder / "cells" / f"{cell}.json")


def study(folder: Path, cell: str = BOP) -> Json:
    return ledger(folder, cell)["studies"][0]


def run_of(folder: Path, phase: str = "final", number: int = 0, cell: str = BOP) -> Path:
    return folder / "runs" / study(folder, cell)[phase][number]["run"]


def all_runs(folder: Path) -> int:
    """How many runs there are: a winner may be the published default."""
    return len(list((folder / "runs").iterdir()))


def loser(folder: Path) -> Path:
    """A tuning run that is neither the winner nor the published default."""
    return run_of(folder, "tuning", loser_number(folder))


def loser_number(folder: Path) -> int:
    return 2 if study(folder)["winner"]["number"] == 1 else 1


def reseal(run: Path, change: Callable[[Json], object] = lambda result: None) -> None:
    """Change a result and hash the other files as they are now, as a forger would."""
    result = read_json(run / "result.json")
    change(result)
    files = [run / name for name in FILES if (run / name).exists()]
    result["files"] = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    write_json(run / "result.json", result)


def found_in(found: Verified) -> list[tuple[str, str]]:
    """Kind and file of every finding."""
    return [(finding.kind, finding.file) for finding in found.findings]


# ---- what is there


def test_a_finished_sweep_is_all_there_and_intact(intact: Path) -> None:
    seen: list[None] = []
    found = Verification(intact, on_run=lambda: seen.append(None)).run()
    assert found.findings == {} and found.exit_code == 0
    assert found.counts == Counter({("tuning", "done"): 6, ("final", "done"): 4, ("default", "done"): 4})
    files = [p for p in (intact / "runs").rglob("*") if p.is_file() and p.name != ".lock"]
    assert (found.files, found.bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert found.folders == len(seen) == len(set(found.finished)) == all_runs(intact)
    networks = list(intact.glob(f"runs/*/{WEIGHTS}"))
    assert found.networks == len(networks) == all_runs(intact) - 6  # none of a tuning run
    small, of_floats = 16 * (64 + 10) // 8, 4 * 16 * (64 + 10)  # of the binary weights
    assert found.float_bytes - found.network_bytes == len(networks) * (of_floats - small)


def test_a_run_is_whole_without_its_network(folder: Path) -> None:
    for file in folder.glob(f"runs/*/{WEIGHTS}"):
        file.unlink()
    found = verify(folder)
    assert found.findings == {} and found.networks == 0


def test_what_is_planned_and_not_there_is_missing(folder: Path) -> None:
    shutil.rmtree(run_of(folder, "final", 1))
    (run_of(folder, "final", 0) / "result.json").unlink()
    adams = named_in(ledger(folder, "digits.mlp.latent-adam"))
    (folder / "cells" / "digits.mlp.latent-adam.json").unlink()
    (folder / "data" / "digits.json").unlink()
    found = verify(folder)
    assert found.exit_code == 1
    assert found.counts["final", "missing"] == 3 and found.counts["final", "unfinished"] == 1
    assert found.counts["tuning", "missing"] == 3 and found.counts["tuning", "done"] == 3
    texts = {finding.file: finding.text for finding in found.findings if finding.kind == "missing"}
    assert f"1 of 2 final runs are not there: {run_of(folder, 'final', 1).name}" == texts[f"cells/{BOP}.json"]
    assert texts["cells/digits.mlp.latent-adam.json"] == "2 of 2 default runs are not there"
    assert f"runs/{run_of(folder, 'final', 0).name}" in texts and "data/digits.json" in texts
    assert sum(finding.kind == "note" for finding in found.findings) == len(
        adams
    )  # latent-adam's runs have no ledger


GUESSED = {"val_loss": math.log(10), "val_top1": 0.1, "val_top5": 0.5}  # of ten digits


def of_test(scores: Json) -> Json:
    return {name.replace("val", "test"): score for name, score in scores.items()}


def test_failed_and_diverged_runs_are_counted(folder: Path) -> None:
    failed, diverged = loser(folder), run_of(folder, "final", 0)
    (failed / "result.json").unlink()
    RunFolder(failed).fail(Failure(kind="error", error="ValueError: no such luck", where="in step 3"))
    write_array(diverged / "flips.npz", np.zeros((0, 2), np.int32))
    (diverged / "epochs.jsonl").write_text("")
    (diverged / "test_correct.npy").unlink()
    (diverged / WEIGHTS).unlink()
    reseal(diverged, lambda r: r.update(status="diverged", epochs=0, steps=0, diverged_at_step=1))
    reseal(diverged, lambda r: r.update(scores={**GUESSED, **of_test(GUESSED)}))
    found = verify(folder)
    text = "error in step 3: ValueError: no such luck"
    assert list(found.findings) == [Finding("failed", f"runs/{failed.name}/failure.json", text)]
    assert found.exit_code == 1
    assert found.counts["tuning", "failed"] == 1 and found.counts["final", "diverged"] == 1


def test_a_run_outside_the_plan_is_no_error(folder: Path, tmp_path: Path) -> None:
    trial = tiny_trial(tmp_path)
    train(trial, RunFolder(folder / "runs" / trial.run_id), CPU)
    found = verify(folder)
    assert found.exit_code == 0 and found_in(found) == [("note", f"runs/{trial.run_id}")]
    assert "not part of the plan" in next(iter(found.findings)).text
    (folder / "runs" / trial.run_id / "epochs.jsonl").write_bytes(b"")
    assert ("damaged", f"runs/{trial.run_id}/epochs.jsonl") in found_in(verify(folder))


def test_two_trials_can_share_a_run(folder: Path) -> None:
    value = ledger(folder)
    (of_study,) = value["studies"]
    first, second = (e for e in of_study["tuning"] if e["number"] != of_study["winner"]["number"])
    of_study["tuning"][second["number"]] = {**first, "number": second["number"]}
    write_json(folder / "cells" / f"{BOP}.json", value)
    found = verify(folder)
    assert found_in(found) == [("note", f"runs/{second['run']}")]  # its trial is no more
    assert found.counts["tuning", "done"] == 6
    assert found.folders == len(found.finished) == len(set(found.finished)) == all_runs(folder)


# ---- damage


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found_in_every_file(folder: Path, name: str) -> None:
    run = run_of(folder)
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    found = verify(folder)
    assert ("damaged", f"runs/{run.name}/{name}") in found_in(found) and found.exit_code == 2
    assert found.counts["final", "damaged"] == 1
    assert len(found.findings) == 1  # one, though trial.json has a checksum of its own and one in result.json


@pytest.mark.parametrize("file", ["result.json", "failure.json", "checkpoint.pt", "checkpoint.previous.pt"])
def test_damage_is_found_in_files_without_a_hash_in_the_result(folder: Path, file: str) -> None:
    run = run_of(folder)
    if file != "result.json":
        (run / "result.json").unlink()
    (run / file).write_bytes(b"0" * 100)
    assert ("damaged", f"runs/{run.name}/{file}") in found_in(verify(folder))


def test_damaged_ledgers_and_data(folder: Path) -> None:
    for name in (f"cells/{BOP}.json", "data/digits.json"):
        (folder / name).write_text((folder / name).read_text().replace("1", "2", 1))
    found = verify(folder)
    assert found.exit_code == 2
    assert {("damaged", f"cells/{BOP}.json"), ("damaged", "data/digits.json")} < set(found_in(found))
    assert found.counts["tuning", "damaged"] == 3 and found.counts["final", "damaged"] == 2


def test_the_optuna_journal_is_derived_and_not_checked(folder: Path) -> None:
    (folder / "optuna.log").write_text("damaged")
    assert verify(folder).findings == {}


def test_files_that_were_set_aside_are_notes(folder: Path) -> None:
    names = ["plan.json.damaged", "cells/x.json.damaged", "data/x.json.damaged"]
    names += [f"runs/{run_of(folder).name}/checkpoint.pt.damaged"]
    for name in names:
        (folder / name).touch()
    found = verify(folder)
    assert found_in(found) == [("note", name) for name in names] and found.exit_code == 0


def test_a_damaged_plan_is_an_error(folder: Path) -> None:
    (folder / "plan.json").write_text("{}")
    with pytest.raises(DamagedRecord, match=r"plan\.json"):
        verify(folder)


def test_a_run_in_progress_is_left_alone(folder: Path) -> None:
    run = run_of(folder)
    (run / "result.json").unlink()
    (run / "environment.json").write_text("being written")
    hold = [sys.executable, "-c", HOLD, str(run)]
    with subprocess.Popen(hold, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT) as holder:
        assert holder.stdout and holder.stdout.readline() == "held\n"
        assert found_in(verify(folder)) == [("missing", f"runs/{run.name}")]
        holder.communicate()
    assert ("damaged", f"runs/{run.name}/environment.json") in found_in(verify(folder))


HOLD = """
import sys
from pathlib import Path
from suite.records.files import owned
with owned(Path(sys.argv[1])) as mine:
    assert mine
    print("held", flush=True)
    sys.stdin.read()
"""


# ---- contradictions between files that are each intact


def other_trial(folder: Path) -> str:
    run = run_of(folder)
    write_json(run / "trial.json", {**read_json(run / "trial.json"), "seed": 5})
    reseal(run)
    return f"runs/{run.name}/trial.json"


def more_files(folder: Path) -> str:
    run = loser(folder)
    write_array(run / "test_correct.npy", np.zeros(4, np.uint8))
    return f"runs/{run.name}/test_correct.npy"


def scores_of_the_test_set(folder: Path) -> str:
    reseal(loser(folder), lambda result: result["scores"].update(test_top1=0.9))
    return f"runs/{loser(folder).name}/result.json"


def better_test_score(folder: Path) -> str:
    reseal(run_of(folder), lambda result: result["scores"].update(test_top1=0.99))
    return f"runs/{run_of(folder).name}/test_correct.npy"


def better_than_guessing(**scores: float) -> Callable[[Path], str]:
    """A tuning run that diverged, and whose scores are not all those of guessing."""

    def spoil(folder: Path) -> str:
        run = loser(folder)
        (run / "epochs.jsonl").write_text("")
        reseal(
            run,
            lambda result: result.update(
                status="diverged", epochs=0, steps=0, diverged_at_step=1, scores={**GUESSED, **scores}
            ),
        )
        return f"runs/{run.name}/result.json"

    return spoil


def more_test_images(folder: Path) -> str:
    """With a byte of other images, of which none is right: the sum is the same."""
    run = run_of(folder)
    packed = np.load(run / "test_correct.npy")
    right = int(np.unpackbits(packed).sum())
    bits = np.zeros(8 * (len(packed) + 1), bool)
    bits[:right] = True
    write_array(run / "test_correct.npy", np.packbits(bits))
    reseal(run)
    return f"runs/{run.name}/test_correct.npy"


def better_validation_score(folder: Path) -> str:
    reseal(loser(folder), lambda result: result["scores"].update(val_top1=0.999))
    return f"runs/{loser(folder).name}/result.json"


def fewer_epochs(folder: Path) -> str:
    run = run_of(folder)
    (run / "epochs.jsonl").write_text("".join((run / "epochs.jsonl").read_text().splitlines(True)[:2]))
    reseal(run)
    return f"runs/{run.name}/epochs.jsonl"


def other_flips(folder: Path) -> str:
    run = run_of(folder)
    flips = np.load(run / "flips.npz")["flips"]
    flips[1, 0] += 1
    write_array(run / "flips.npz", flips)
    reseal(run)
    return f"runs/{run.name}/flips.npz"


def no_array(folder: Path) -> str:
    (run_of(folder) / "flips.npz").write_bytes(b"not an array")
    reseal(run_of(folder))
    return f"runs/{run_of(folder).name}/result.json"


def no_test_images(folder: Path) -> str:
    (run_of(folder) / "test_correct.npy").unlink()
    reseal(run_of(folder))
    return f"runs/{run_of(folder).name}/result.json"


def half_a_run(folder: Path) -> str:
    fewer_epochs(folder)
    reseal(run_of(folder), lambda result: result.update(epochs=2))
    return f"runs/{run_of(folder).name}/result.json"


def longer_flips(folder: Path) -> str:
    run = run_of(folder)
    write_array(run / "flips.npz", np.zeros((13, 2), np.int32))
    reseal(run)
    return f"runs/{run.name}/flips.npz"


def images_of_the_test_set(folder: Path) -> str:
    more_files(folder)
    reseal(loser(folder))
    return f"runs/{loser(folder).name}/test_correct.npy"


def changed(change: Callable[[Json], object]) -> Callable[[Path], str]:
    """A change of the ledger, which gets its seal again."""

    def spoil(folder: Path) -> str:
        value = ledger(folder)
        change(value)
        write_json(folder / "cells" / f"{BOP}.json", value)
        return f"cells/{BOP}.json"

    return spoil


def in_study(change: Callable[[Json], object]) -> Callable[[Path], str]:
    """The same in the cell's study."""
    return changed(lambda value: change(value["studies"][0]))


def named_in(value: Json) -> set[str]:
    """The runs that a ledger names."""
    entries = [*value["default"]]
    for each in value["studies"]:
        entries += each["tuning"] + each["final"]
    return {entry["run"] for entry in entries}


def swapped_seeds(value: Json) -> None:
    first, second = value["final"]
    first["run"], second["run"] = second["run"], first["run"]


def changed_index(folder: Path) -> str:
    record = read_json(folder / "data" / "digits.json")
    record["validation_index"][0] += 1
    write_json(folder / "data" / "digits.json", record)
    return "data/digits.json"


def changed_data(**changes: Any) -> Callable[[Path], str]:
    def spoil(folder: Path) -> str:
        path = folder / "data" / "digits.json"
        write_json(path, {**read_json(path), **changes})
        return "data/digits.json"

    return spoil


def other_draw(**hypers: float) -> Callable[[Path], str]:
    def spoil(folder: Path) -> str:
        number = loser_number(folder)
        in_study(lambda value: value["tuning"][number]["hypers"].update(hypers))(folder)
        return f"runs/{loser(folder).name}/trial.json"

    return spoil


def put(folder: Path, like: Path, trial: Json) -> Path:
    """The run of a trial, with the result of another run."""
    run = folder / "runs" / digest(trial)[:16]
    shutil.copytree(like, run)
    write_json(run / "trial.json", trial)
    reseal(run, lambda result: result.update(run=run.name))
    return run


def final_of_another_trial(folder: Path) -> str:
    """A run of the loser's setting, as if it were of the winner's."""
    trial = {**read_json(loser(folder) / "trial.json"), "stage": "final", "seed": final_seed(0, 0, 0)}
    run = put(folder, run_of(folder), trial)
    in_study(lambda value: value["final"][0].update(run=run.name))(folder)
    return f"runs/{run.name}/trial.json"


def other_tuning_run(**changes: Any) -> Callable[[Path], str]:
    """A run of another trial, as if it were the planned one."""

    def spoil(folder: Path) -> str:
        trial = {**read_json(loser(folder) / "trial.json"), **changes}
        run, number = put(folder, loser(folder), trial), loser_number(folder)
        in_study(lambda value: value["tuning"][number].update(run=run.name))(folder)
        return f"runs/{run.name}/trial.json"

    return spoil


def other_training(folder: Path) -> str:
    train = read_json(loser(folder) / "trial.json")["train"]
    return other_tuning_run(train={**train, "batch_size": 25})(folder)


def final_run_as_tuning(folder: Path) -> str:
    run, number = run_of(folder), loser_number(folder)
    in_study(lambda value: value["tuning"][number].update(run=run.name))(folder)
    return f"runs/{run.name}/trial.json"


def another_winner(folder: Path) -> str:
    value = ledger(folder)
    (of_study,) = value["studies"]
    entry = of_study["tuning"][loser_number(folder)]
    score = read_json(folder / "runs" / entry["run"] / "result.json")["scores"]["val_top1"]
    of_study["winner"] = {"number": entry["number"], "value": score, "hypers": entry["hypers"]}
    write_json(folder / "cells" / f"{BOP}.json", value)
    return f"cells/{BOP}.json"


def other_network(folder: Path) -> str:
    run, other = run_of(folder, "final", 0), run_of(folder, "final", 1)
    (run / WEIGHTS).write_bytes((other / WEIGHTS).read_bytes())
    reseal(run)
    return f"runs/{run.name}/{WEIGHTS}"


def other_layers(folder: Path) -> str:
    run = run_of(folder)
    reseal(run, lambda result: result["layers"][0].update(name="first"))
    return f"runs/{run.name}/{WEIGHTS}"


def network_of_a_tuning_run(folder: Path) -> str:
    run = loser(folder)
    (run / WEIGHTS).write_bytes((run_of(folder) / WEIGHTS).read_bytes())
    reseal(run)
    return f"runs/{run.name}/{WEIGHTS}"


CONTRADICTIONS: list[tuple[Callable[[Path], str], str]] = [
    (other_trial, "is the trial of run"),
    (more_files, "result.json does not know this file"),
    (scores_of_the_test_set, "a tuning run has seen the test set: test_top1"),
    (images_of_the_test_set, "a tuning run has seen the test set"),
    (better_test_score, "images are right here, but test_top1 is 0.99"),
    (no_test_images, "the files are not as docs/records.md says: KeyError: 'test_correct.npy'"),
    (more_test_images, "holds (46,) of uint8, not bits of 360 test images"),
    (better_than_guessing(val_top1=0.99), "it diverged, and its val_top1 of 0.99 is not that of guessing"),
    (better_than_guessing(val_top5=0.1), "it diverged, and its val_top5 of 0.1 is not that of guessing"),
    (better_than_guessing(val_loss=0.1), "it diverged, and its val_loss of 0.1 is not that of guessing"),
    (better_validation_score, "its validation score is not that of the last epoch"),
    (fewer_epochs, "does not hold the 3 epochs of result.json"),
    (half_a_run, "has 2 epochs of the trial's 3"),
    (other_flips, "its flips of epoch 1 are not those of epochs.jsonl"),
    (longer_flips, "its shape is (13, 2), not steps and layers (12, 2)"),
    (no_array, "the files are not as docs/records.md says"),
    (another_winner, "is better on validation"),
    (
        in_study(lambda value: value["winner"].update(value=0.99)),
        "winner.value is 0.99, the validation score",
    ),
    (in_study(lambda value: value["winner"]["hypers"].update(gamma=0.5)), "not those of its trial"),
    (in_study(lambda value: value["winner"].update(number=7)), "trial 7, which it does not name"),
    (in_study(lambda value: value.update(winner=None)), "it names final runs, but no winner"),
    (
        in_study(lambda value: value["tuning"][2].update(number=3)),
        "random study 0: tuning names the trials [0, 1, 3], which are counted from 0",
    ),
    (
        in_study(lambda value: value["tuning"].append(value["tuning"][0])),
        "the trials [0, 1, 2, 0], which are counted",
    ),
    (
        in_study(lambda value: value["tuning"].append({**value["tuning"][0], "number": 3})),
        "names random study 0 trial 3, which is not",
    ),
    (
        in_study(lambda value: value["final"][0].update(number=3)),
        "names random study 0 seed 3, which is not planned",
    ),
    (in_study(lambda value: value["final"][0].update(number=1)), "names random study 0 seed 1 twice"),
    (in_study(lambda value: value.update(track="tpe")), "names tpe study 0 trial 0, which is not planned"),
    (in_study(lambda value: value.update(number=1)), "names random study 1 trial 0, which is not planned"),
    (
        changed(lambda value: value["studies"].append(value["studies"][0])),
        "names random study 0 trial 0 twice",
    ),
    (
        changed(lambda value: value["default"][0].update(study=1)),
        "names default study 1 seed 0, which is not",
    ),
    (
        changed(lambda value: value["default"].append(value["default"][0])),
        "names default study 0 seed 0 twice",
    ),
    (
        changed(lambda value: value["default"][0].update(run=value["default"][1]["run"])),
        "names one run as the final runs of two seeds",
    ),
    (
        in_study(lambda value: value["final"][0].update(run=value["final"][1]["run"])),
        "names one run as the final runs of two seeds",
    ),
    (in_study(lambda value: value["tuning"][1]["hypers"].update(sigma=0.5)), "the plan has no sigma"),
    (in_study(lambda value: value["tuning"][1]["hypers"].pop("gamma")), "the ledger has no gamma"),
    (other_network, "its trial: not those of the run"),
    (other_network, "its scores: not those of the run"),
    (other_layers, "its layers: not those of the run"),
    (network_of_a_tuning_run, "a tuning run keeps no network"),
    (other_draw(gamma=0.5), "hypers.gamma is {'cosine': ["),
    (other_draw(threshold=0.5), "in the ledger it is 0.5"),
    (other_draw(**{"real.lr": 0.5}), "real.lr is "),
    (other_training, "train.batch_size is 25, in the plan it is 50"),
    (other_tuning_run(seed=5), "seed is 5, in the plan it is "),
    (final_run_as_tuning, "; stage is 'final', in the plan it is 'tune'"),
    (other_tuning_run(plugin="0123"), "plugin is '0123', in the plan it is 'absent'"),
    (final_of_another_trial, "in the ledger it is "),
    (changed(lambda value: value.update(cell="digits.mlp.x")), "cell is digits.mlp.x, not digits.mlp.bop"),
    (changed_index, "the validation index does not match its hash"),
    (changed_data(classes=2, val=9), "classes is 2, in the plan it is 10"),
    (changed_data(shape=[3, 8, 8], train=9, test=9), "shape is [3, 8, 8], in the plan it is [1, 8, 8]"),
]


@pytest.mark.parametrize("spoil, words", CONTRADICTIONS)
def test_a_contradiction_is_found_and_its_file_named(
    folder: Path, spoil: Callable[[Path], str], words: str
) -> None:
    file = spoil(folder)
    found = verify(folder)
    named = [finding for finding in found.findings if finding.file == file and words in finding.text]
    assert [finding.kind for finding in named] == ["contradictory"], list(found.findings)
    assert found.exit_code == 2


def test_the_runs_of_a_ledger_against_the_plan_count_as_damaged(folder: Path) -> None:
    in_study(lambda value: value["tuning"][2].update(number=3))(folder)
    found = verify(folder)
    assert found.counts["tuning", "damaged"] == 3 and found.counts["final", "damaged"] == 2
    assert {kind for kind, _ in found_in(found)} == {"contradictory", "note"}


def resealed(name: str, **changes: Any) -> Callable[[Path], str]:
    """A change of a JSON file of a final run, which gets its checksum again."""

    def spoil(folder: Path) -> str:
        run = run_of(folder)
        write_json(run / name, {**read_json(run / name), **changes})
        return f"runs/{run.name}/{name}"

    return spoil


def other_epoch_lines(folder: Path) -> str:
    run = run_of(folder)
    path = run / "epochs.jsonl"
    path.write_text(path.read_text().replace('"val_top1"', '"validation"', 1))
    reseal(run)
    return f"runs/{run.name}/epochs.jsonl"


SHAPELESS: list[tuple[Callable[[Path], str], str]] = [
    (resealed("trial.json", seed="five"), "seed: "),
    (resealed("environment.json", threads="many"), "threads: "),
    (resealed("result.json", status="fine"), "status: "),
    (resealed("result.json", run="0123"), "it is that of run 0123"),
    (other_epoch_lines, "val_top1: field required"),
    (changed(lambda value: value.clear()), "cell: field required"),
    (in_study(lambda value: value["tuning"][0].update(number="first")), "studies.0.tuning.0.number: "),
    (changed_data(val="all"), "val: "),
]


@pytest.mark.parametrize("spoil, words", SHAPELESS)
def test_a_sealed_file_that_cannot_be_decoded_is_damaged(
    folder: Path, spoil: Callable[[Path], str], words: str
) -> None:
    file = spoil(folder)
    found = verify(folder)
    named = [finding for finding in found.findings if finding.file == file and words in finding.text]
    assert [finding.kind for finding in named] == ["damaged"], list(found.findings)
    assert found.exit_code == 2


def test_batch_norm_that_is_estimated_again_changes_the_last_validation_score(folder: Path) -> None:
    trial = read_json(loser(folder) / "trial.json")
    trial["train"]["reestimate_batch_norm"] = True
    run = put(folder, loser(folder), trial)
    reseal(run, lambda result: result["scores"].update(val_top1=0.999))
    assert found_in(verify(folder)) == [("note", f"runs/{run.name}")]


def test_without_the_winners_run_nothing_can_be_compared_with_it(folder: Path) -> None:
    shutil.rmtree(run_of(folder, "tuning", study(folder)["winner"]["number"]))
    assert found_in(verify(folder)) == [("missing", f"cells/{BOP}.json")]


def test_without_tuning_the_final_runs_repeat_the_trial_of_the_plan(folder: Path) -> None:
    plan = read_json(folder / "plan.json")
    write_json(folder / "plan.json", {**plan, "tuning": {**plan["tuning"], "tracks": []}})
    trial, like = {**plan["cells"][0]["trial"], "real": {"lr": 0.5}}, run_of(folder)
    run = put(folder, like, trial)
    changed(lambda value: value.update(studies=[]))(folder)
    changed(lambda value: value["default"][0].update(run=run.name))(folder)
    lr = read_json(folder / "plan.json")["cells"][0]["trial"]["real"]["lr"]
    words = f"real.lr is 0.5, in the ledger it is {lr}"
    assert Finding("contradictory", f"runs/{run.name}/trial.json", words) in verify(folder).findings


def test_of_two_equal_trials_the_winner_has_the_lower_loss(folder: Path) -> None:
    number, other = study(folder)["winner"]["number"], loser_number(folder)
    score = read_json(run_of(folder, "tuning", number) / "result.json")["scores"]
    run = run_of(folder, "tuning", other)
    lines = [json.loads(line) for line in (run / "epochs.jsonl").read_text().splitlines()]
    lines[-1]["val_top1"] = score["val_top1"]
    (run / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    reseal(run, lambda result: result["scores"].update(score, val_loss=score["val_loss"] + 0.1))
    assert verify(folder).findings == {}
    reseal(run, lambda result: result["scores"].update(val_loss=score["val_loss"] - 0.1))
    (finding,) = verify(folder).findings
    assert (
        finding.text
        == f"random study 0: the winner is trial {number}, but trial {other} is better on validation"
    )


def test_swapped_seeds_are_found(folder: Path) -> None:
    in_study(swapped_seeds)(folder)
    runs = [entry["run"] for entry in study(folder)["final"]]
    assert found_in(verify(folder)) == [("contradictory", f"runs/{run}/trial.json") for run in runs]


def test_a_decayed_hyperparameter_starts_from_the_drawn_value(intact: Path) -> None:
    trial = read_json(run_of(intact, "tuning", 1) / "trial.json")
    drawn = study(intact)["tuning"][1]["hypers"]
    assert trial["hypers"]["gamma"] == {"cosine": [drawn["gamma"], 0.0]}  # else the test above shows nothing


DECAYS = [
    {"linear": 0.1},
    {"cosine": 0.0},
    {"exponential": 0.5},
    {"step": {"factor": 0.1, "at": [0.5]}},
    {"restart": {"of": {"step": {"factor": 0.1, "at": [0.5]}}, "at": [0.5]}},
    {"restart": {"of": {"linear": 0.0}, "at": [0.5]}},
]


def found_against(drawn: Json, used: Json, planned: Json, folder: Path) -> list[str]:
    """The hyperparameters in which the trial of a run is not the named one."""

    def trial(hypers: Json) -> Trial:
        options = {name: value for name, value in hypers.items() if name != "real.lr"}
        like = tiny_trial(folder, stage="final")
        return replace(like, method=Choice("latent-sgd", options), real_lr=hypers.get("real.lr", 0.01))

    named = NamedRun(Place("final", "random", 0, 0), "0" * 16, {"real.lr": 0.01, **drawn}, trial(planned))
    text = named.problem(trial(used))
    return [part.split(" is ")[0] for part in text.split("; ")] if text else []


@pytest.mark.parametrize("decay", DECAYS, ids=str)
def test_every_decay_starts_from_the_drawn_value(decay: dict[str, Any], tmp_path: Path) -> None:
    assert {next(iter(each)) for each in DECAYS} == set(SHAPES)
    shape = parse_decay(decay)
    planned = {"lr": shape.scaled(0.1)}
    assert found_against({"lr": 0.3}, {"lr": shape.scaled(0.3)}, planned, tmp_path) == []
    assert found_against({"lr": 0.2}, {"lr": shape.scaled(0.3)}, planned, tmp_path) == ["hypers.lr"]
    others = [0.3, *(parse_decay(each).scaled(0.3) for each in DECAYS if each != decay)]
    assert all(found_against({"lr": 0.3}, {"lr": other}, planned, tmp_path) for other in others)


def test_every_hyperparameter_of_a_trial_is_a_drawn_one(tmp_path: Path) -> None:
    schedule = parse_schedule({"cosine": [0.3, 0.0]})
    used = {"lr": schedule, "momentum": 0.9}  # a default may be a schedule itself

    def found(**drawn: Any) -> list[str]:
        return found_against(drawn, used, used, tmp_path)

    assert found(**used) == []
    assert found(lr=schedule) == ["hypers.momentum"]
    assert found(**used, clip=1.0) == ["hypers.clip"]
    assert found(**used, **{"real.lr": 0.1}) == ["real.lr"]


# ---- runs of another protocol


def of_another_protocol(folder: Path) -> Path:
    """A finished run as protocol 2 could have written it: its trial has another shape."""
    trial = {**read_json(run_of(folder) / "trial.json"), "protocol": 2, "real": 0.01}
    return put(folder, run_of(folder), trial)


def test_a_run_of_another_protocol_is_a_note(folder: Path) -> None:
    run = of_another_protocol(folder)
    reseal(run, lambda result: (result.pop("layers"), result.update(speed=1.0)))
    environment = read_json(run / "environment.json")
    del environment["threads"]
    write_json(run / "environment.json", environment)
    found = verify(folder)
    assert [(finding.kind, finding.text) for finding in found.findings] == [
        ("note", f"made under protocol 2, this code has {PROTOCOL}"),
        ("note", "not part of the plan: no intact ledger names this run (of another protocol)"),
    ]
    assert found.exit_code == 0 and found_in(found)[0][1] == f"runs/{run.name}/trial.json"


@pytest.mark.parametrize("name", [*FILES, "result.json"])
def test_damage_is_found_under_another_protocol_too(folder: Path, name: str) -> None:
    run = of_another_protocol(folder)
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    assert ("damaged", f"runs/{run.name}/{name}") in found_in(verify(folder))


def test_epochs_of_another_protocol_are_not_compared(folder: Path) -> None:
    trial = {**read_json(run_of(folder) / "trial.json"), "protocol": 2}
    run = put(folder, run_of(folder), trial)
    path = run / "epochs.jsonl"
    path.write_text(path.read_text().replace('"train_seconds"', '"seconds_of_training"'))
    reseal(run)
    assert [kind for kind, _ in found_in(verify(folder))] == ["note", "note"]


def test_a_planned_run_is_of_the_plans_protocol(folder: Path) -> None:
    run = of_another_protocol(folder)
    in_study(lambda value: value["final"][0].update(run=run.name))(folder)
    found = verify(folder)
    contradiction = Finding(
        "contradictory", f"runs/{run.name}/trial.json", f"protocol is 2, in the plan it is {PROTOCOL}"
    )
    assert contradiction in found.findings
    assert found.counts["final", "damaged"] == 1 and found.exit_code == 2


# ---- nothing from a record is executed


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def bombed(place: str, run: Path, mark: Path) -> None:
    """Put a pickle into a file that the suite reads, with all hashes right."""
    bomb = pickle.dumps(Bomb(mark))
    if place == "flips.npz":
        np.savez(run / place, flips=np.array([Bomb(mark)], dtype=object))
        reseal(run)
    elif place == "test_correct.npy":
        np.save(run / place, np.array([Bomb(mark)], dtype=object))
        reseal(run)
    elif place == "bare pickle":
        (run / "flips.npz").write_bytes(bomb)
        reseal(run)
    else:
        torch.save(Bomb(mark), run / "checkpoint.pt")
        content = (run / "checkpoint.pt").read_bytes()
        (run / "checkpoint.pt").write_bytes(hashlib.sha256(content).digest() + content)
        (run / "result.json").unlink()


@pytest.mark.parametrize("place", ["flips.npz", "test_correct.npy", "bare pickle", "checkpoint.pt"])
def test_a_pickle_in_a_record_is_never_run(folder: Path, tmp_path: Path, place: str) -> None:
    run, mark = run_of(folder), tmp_path / "executed"
    bombed(place, run, mark)
    result = CliRunner().invoke(app, ["verify", str(folder), "--replay", "all"])
    assert not mark.exists()
    if place == "checkpoint.pt":
        assert result.exit_code == 1  # its bytes are what was hashed: it is only unfinished
        assert load_checkpoint(run) is None and (run / "checkpoint.pt.damaged").exists()
    else:
        assert result.exit_code == 2 and f"runs/{run.name}/" in result.output
    assert not mark.exists()
    pickle.loads(pickle.dumps(Bomb(mark)))
    assert mark.exists()  # the bomb works


def test_yaml_runs_nothing(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    (tmp_path / "bad.yaml").write_text(f"version: !!python/object/apply:os.mkdir ['{mark}']\n")
    with pytest.raises(SpecError, match="tags have no meaning here"):
        ExperimentFile(tmp_path / "bad.yaml")
    assert not mark.exists()


# ---- replay


def test_a_replay_gives_the_same_bits(intact: Path) -> None:
    for run in (run_of(intact), run_of(intact, "tuning", 1, "digits.mlp.latent-adam")):
        assert replay(run, {}) is None


def test_a_replay_uses_the_recorded_number_of_threads(folder: Path) -> None:
    made_by(run_of(folder), threads=2)
    try:
        replay(run_of(folder), {})
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.fixture
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records and replays made by one clean commit."""
    monkeypatch.setattr(suite.training.provenance, "git_state", lambda: ("abc", False))


def made_by(run: Path, **changes: Any) -> None:
    """Write down that a run was made in another environment."""
    before = read_json(run / "environment.json")
    write_json(run / "environment.json", {**before, "git": {"commit": "abc", "dirty": False}, **changes})


def forged(run: Path) -> None:
    flips = np.load(run / "flips.npz")["flips"]
    flips[2, 1] += 1
    write_array(run / "flips.npz", flips)
    lines = [json.loads(line) for line in (run / "epochs.jsonl").read_text().splitlines()]
    lines[1] |= {"val_top1": 0.999, "seconds": 0.0}
    (run / "epochs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    reseal(run, lambda result: (result.update(digest="0" * 64), result["scores"].update(val_top1=0.999)))


@pytest.mark.usefixtures("same_code")
def test_a_forged_record_does_not_repeat(folder: Path) -> None:
    run = run_of(folder)
    made_by(run)
    forged(run)
    reseal(run, lambda result: result.update(binary_weights=7))
    found = replay(run, {})
    assert found is not None and (found.kind, found.file) == ("contradictory", f"runs/{run.name}")
    assert "flips differ from step 3 on (layer " in found.text
    assert "epochs differ from epoch 2 on (val_top1)" in found.text
    accuracy, _, other = found.text.partition("binary_weights: 7 recorded, ")
    assert "scores.val_top1: 0.999 recorded, 0." in accuracy  # what people ask for comes first
    assert "the versions and the code are the same" in other


@pytest.mark.usefixtures("same_code")
def test_other_bits_from_another_machine_are_no_contradiction(folder: Path) -> None:
    run = run_of(folder)
    versions = {**read_json(run / "environment.json")["versions"], "torch": "1.0"}
    made_by(run, versions=versions, device_name="Another CPU")
    reseal(run, lambda result: result.update(digest="0" * 64))
    found = replay(run, {})
    assert found is not None and found.kind == "differs"
    assert found.text.startswith("only the final weights differ. It was made elsewhere")
    assert "versions.torch 1.0 then" in found.text and "device_name Another CPU then" in found.text
    assert "git" not in found.text and "threads" not in found.text


@pytest.mark.usefixtures("same_code")
def test_a_run_on_images_that_have_changed_is_not_replayed(folder: Path) -> None:
    """Other bits would be the images' doing, and no contradiction."""
    made_by(run_of(folder))
    path = folder / "data" / "digits.json"
    before = read_json(path)
    write_json(path, {**before, "sha256": "0" * 64})
    found = replay(run_of(folder), {})
    assert found is not None and found.kind == "not replayed"
    assert found.text == "the images of digits have changed since it was made"
    write_json(path, before)
    write_json(path.with_name("other.json"), {**before, "sha256": "0" * 64})  # no run of the plan has these
    assert replay(run_of(folder), {}) is None


def test_every_difference_of_two_environments_is_named(intact: Path) -> None:
    now = replace(RunFolder(run_of(intact)).environment(), git=GitState(commit="abc", dirty=False))
    assert list(different_environments(now, replace(now, host="another"))) == []
    changed_code = GitState(commit="abc", dirty=True)
    before = replace(now, threads=9, processes=4, git=changed_code, earlier=[now, now])
    assert list(different_environments(before, now)) == [
        f"threads 9 then, {now.threads} now",
        "processes 4 then, 1 now",
        "git.dirty True then, False now",
        "the code had changes that no commit holds",
        "it was interrupted and resumed in another environment, 2 times",
    ]


def test_a_run_that_this_code_cannot_repeat_is_not_replayed(folder: Path) -> None:
    for change, words in (
        ({"protocol": 0}, f"made under protocol 0, this code has {PROTOCOL}: it would be another run"),
        ({"protocol": 0, "real": 0.01}, "made under protocol 0"),
        ({"method": "mine"}, "name its file with --plugin"),
        ({"plugin": "0123"}, "was made from a plugin with hash 0123, the one here has None"),
        ({"data": {"name": "nowhere"}}, "there is no data set 'nowhere'"),
    ):
        run = run_of(folder)
        before = read_json(run / "trial.json")
        write_json(run / "trial.json", {**before, **change})
        found = replay(run, {})
        assert found is not None and found.kind == "not replayed" and words in found.text, found
        write_json(run / "trial.json", before)


PLUGIN = '''
"""A method of a user's own."""
import torch
from optimizers.core import WeightRule, log, method, sign

def as_it_is(weight):
    return weight

@method(paper="https://example.org", lr=log(1e-3, 1e-4, 1e-2))
def mine(lr) -> WeightRule:
    """Never flips anything."""
    return WeightRule(sign, as_it_is, lambda params: torch.optim.SGD(params, lr=0.0))
'''


def test_a_plugins_run_needs_the_plugin_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    try:
        plan = tiny_plan(tmp_path, "plugins=[plugin.py]", "methods=[mine]", "tuning={trials: 0}", "seeds=1")
        folder = tmp_path / "results"
        prepare_folder(plan, folder, {"digits": digits_record(plan)})
        with LocalPool(Machine(("cpu",)), plan.plugins) as pool:
            assert Sweep(plan, folder, pool).run()
        forget("mine")
        command = ["verify", str(folder), "--replay", "all"]
        without = CliRunner().invoke(app, command)
        assert without.exit_code == 1 and "name its file with --plugin" in without.output.replace("\n", " ")
        with_it = CliRunner().invoke(app, [*command, "--plugin", str(tmp_path / "plugin.py")])
        assert with_it.exit_code == 0 and "1 of 1 replayed runs gave the same bits" in with_it.output
        forget("mine")
        (tmp_path / "plugin.py").write_text(PLUGIN + "# edited\n")
        edited = CliRunner().invoke(app, [*command, "--plugin", str(tmp_path / "plugin.py")])
        source = source_of(tmp_path / "plugin.py")
        assert edited.exit_code == 1 and f"those named here have {source}" in edited.output.replace("\n", " ")
        assert "mine" not in METHODS  # a plugin is imported in processes of its own
    finally:
        forget("mine")


def forget(name: str) -> None:
    METHODS.pop(name, None)
    PLUGINS.pop(("method", name), None)


def test_which_runs_are_replayed(intact: Path) -> None:
    found = verify(intact)
    some = chosen_runs("4", intact, found)
    assert len(set(some)) == 4 and set(some) < set(found.finished) and some == chosen_runs("4", intact, found)
    assert sorted(chosen_runs("99", intact, found)) == sorted(chosen_runs("all", intact, found))
    assert chosen_runs(some[0], intact, found) == some[:1]
    with pytest.raises(UserError, match="there is no such run"):
        chosen_runs("nowhere", intact, found)


def test_a_damaged_run_is_not_replayed(folder: Path) -> None:
    (run_of(folder) / "flips.npz").write_bytes(b"")
    with pytest.raises(UserError, match="this run has no intact result"):
        chosen_runs(run_of(folder).name, folder, verify(folder))


# ---- the command


def test_the_command(folder: Path) -> None:
    shown = CliRunner().invoke(app, ["verify", str(folder), "--replay", "1"])
    assert shown.exit_code == 0 and "all there and intact" in shown.output
    assert "1 of 1 replayed runs gave the same bits" in shown.output
    (run_of(folder) / "flips.npz").write_bytes(b"")
    shown = CliRunner().invoke(app, ["verify", str(folder), "--json"])
    value = json.loads(shown.stdout)
    assert shown.exit_code == value["exit_code"] == 2 and value["runs"]["final"]["damaged"] == 1
    (problem,) = value["problems"]
    assert (problem["kind"], problem["file"]) == ("damaged", f"runs/{run_of(folder).name}/flips.npz")

"""`verify` finds whatever is wrong with a record, runs nothing from it, and can repeat its runs."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import suite.machine.environment
from optimizers import METHODS, PLUGINS
from suite.checks.ledger import not_drawn
from suite.checks.replay import replay
from suite.checks.run import Finding
from suite.checks.verify import Verification, Verified
from suite.cli.main import app
from suite.cli.views.verify import chosen_runs
from suite.experiment.schedules import SHAPES, decayed
from suite.experiment.spec import ExperimentFile, SpecError
from suite.machine.errors import UserError
from suite.records.files import DamagedRecord, digest, read_json, write_array, write_json
from suite.records.run import RunFolder
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine
from suite.training.checkpoint import load_checkpoint
from suite.training.loop import train
from tests.support.paths import ROOT
from tests.support.tiny import CPU, Json, tiny_plan, tiny_trial

BOP = "digits.mlp.bop"


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep, one of its hyperparameters on a schedule."""
    folder = tmp_path_factory.mktemp("intact")
    plan = tiny_plan(folder, "methods=[{name: bop, decay: {gamma: {cosine: 0.0}}}, latent-adam]")
    prepare_folder(plan, folder / "results", {"digits": whole_data()})
    with LocalPool(Machine(("cpu",))) as pool:
        assert Sweep(plan, folder / "results", pool).run()
    return folder / "results"


def whole_data() -> Json:
    from suite.data import load_splits

    return load_splits("digits", {"train_limit": 200}, with_test=False).record


@pytest.fixture
def folder(tmp_path: Path, intact: Path) -> Path:
    """A copy of it, to spoil."""
    shutil.copytree(intact, tmp_path / "results")
    return tmp_path / "results"


def verify(folder: Path) -> Verified:
    return Verification(folder).run()


def ledger(folder: Path, cell: str = BOP) -> Json:
    return read_json(folder / "cells" / f"{cell}.json")


def run_of(folder: Path, phase: str = "final", number: int = 0, cell: str = BOP) -> Path:
    return folder / "runs" / ledger(folder, cell)[phase][number]["run"]


def loser(folder: Path) -> Path:
    """A tuning run that is not the winner."""
    said = ledger(folder)
    return run_of(folder, "tuning", (said["winner"]["number"] + 1) % 3)


def reseal(run: Path, change: Callable[[Json], object] = lambda result: None) -> None:
    """Change a result, and vouch for the files as they are now: what an attacker would do."""
    result = RunFolder(run).result()
    assert result is not None
    del result["files"]
    change(result)
    RunFolder(run).finish(result)


def said(found: Verified) -> list[tuple[str, str]]:
    return [(finding.kind, finding.file) for finding in found.findings]


# ---- what is there


def test_a_finished_sweep_is_all_there_and_intact(intact: Path) -> None:
    seen: list[None] = []
    found = Verification(intact, on_run=lambda: seen.append(None)).run()
    assert found.findings == {} and found.exit_code == 0
    assert found.counts == Counter({("tuning", "done"): 6, ("final", "done"): 4})
    files = [p for p in (intact / "runs").rglob("*") if p.is_file() and p.name != ".lock"]
    assert (found.files, found.bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert found.folders == len(seen) == 10 and len(set(found.finished)) == 10


def test_what_is_planned_and_not_there_is_missing(folder: Path) -> None:
    shutil.rmtree(run_of(folder, "final", 1))
    (run_of(folder, "final", 0) / "result.json").unlink()
    (folder / "cells" / "digits.mlp.latent-adam.json").unlink()
    (folder / "data" / "digits.json").unlink()
    found = verify(folder)
    assert found.exit_code == 1
    assert found.counts["final", "missing"] == 3 and found.counts["final", "unfinished"] == 1
    assert found.counts["tuning", "missing"] == 3 and found.counts["tuning", "done"] == 3
    texts = {finding.file: finding.text for finding in found.findings if finding.kind == "missing"}
    assert f"1 of 2 final runs are not there: {run_of(folder, 'final', 1).name}" == texts[f"cells/{BOP}.json"]
    assert f"runs/{run_of(folder, 'final', 0).name}" in texts and "data/digits.json" in texts
    assert sum(finding.kind == "note" for finding in found.findings) == 5  # latent-adam's runs have no ledger


def test_failed_and_diverged_runs_are_counted(folder: Path) -> None:
    failed, diverged = loser(folder), run_of(folder, "final", 0)
    (failed / "result.json").unlink()
    RunFolder(failed).fail("error", "ValueError: no such luck", "in step 3")
    write_array(diverged / "flips.npz", np.zeros((0, 2), np.int32))
    (diverged / "epochs.jsonl").write_text("")
    (diverged / "test_correct.npy").unlink()
    reseal(diverged, lambda r: r.update(status="diverged", epochs=0, steps=0, diverged_at_step=1))
    found = verify(folder)
    text = "error in step 3: ValueError: no such luck"
    assert list(found.findings) == [Finding("failed", f"runs/{failed.name}/failure.json", text)]
    assert found.exit_code == 1
    assert found.counts["tuning", "failed"] == 1 and found.counts["final", "diverged"] == 1


def test_a_run_outside_the_plan_is_no_error(folder: Path, tmp_path: Path) -> None:
    trial = tiny_trial(tmp_path)
    train(trial, RunFolder(folder / "runs" / trial.run_id), CPU)
    found = verify(folder)
    assert found.exit_code == 0 and said(found) == [("note", f"runs/{trial.run_id}")]
    assert "not part of the plan" in next(iter(found.findings)).text
    (folder / "runs" / trial.run_id / "flips.npz").write_bytes(b"")
    assert ("damaged", f"runs/{trial.run_id}/flips.npz") in said(verify(folder))


def test_two_trials_can_share_a_run(folder: Path) -> None:
    value = ledger(folder)
    first, second = (entry for entry in value["tuning"] if entry["number"] != value["winner"]["number"])
    value["tuning"][second["number"]] = {**first, "number": second["number"]}
    write_json(folder / "cells" / f"{BOP}.json", value)
    found = verify(folder)
    assert said(found) == [("note", f"runs/{second['run']}")]  # its trial is no more
    assert found.counts["tuning", "done"] == 6
    assert found.folders == len(found.finished) == len(set(found.finished)) == 10


# ---- damage


@pytest.mark.parametrize("name", RunFolder.VOUCHED)
def test_a_flipped_bit_is_found_in_every_file(folder: Path, name: str) -> None:
    run = run_of(folder)
    content = bytearray((run / name).read_bytes())
    content[len(content) // 2] ^= 1
    (run / name).write_bytes(content)
    found = verify(folder)
    assert ("damaged", f"runs/{run.name}/{name}") in said(found) and found.exit_code == 2
    assert found.counts["final", "damaged"] == 1
    assert len(found.findings) == 1  # told once, though trial.json has a seal and a hash in result.json


@pytest.mark.parametrize("file", ["result.json", "failure.json", "checkpoint.pt"])
def test_damage_of_what_nothing_vouches_for(folder: Path, file: str) -> None:
    run = run_of(folder)
    if file != "result.json":
        (run / "result.json").unlink()
    (run / file).write_bytes(b"0" * 100)
    assert ("damaged", f"runs/{run.name}/{file}") in said(verify(folder))


def test_damaged_ledgers_and_data(folder: Path) -> None:
    for name in (f"cells/{BOP}.json", "data/digits.json"):
        (folder / name).write_text((folder / name).read_text().replace("1", "2", 1))
    found = verify(folder)
    assert found.exit_code == 2
    assert {("damaged", f"cells/{BOP}.json"), ("damaged", "data/digits.json")} < set(said(found))
    assert found.counts["tuning", "damaged"] == 3 and found.counts["final", "damaged"] == 2


def test_a_damaged_study_is_found(folder: Path) -> None:
    (journal, _) = sorted((folder / "studies").glob("*.log"))
    journal.write_text(journal.read_text().replace("0.", "1.", 1))
    assert said(verify(folder)) == [("damaged", f"studies/{journal.name}")]


def test_what_was_set_aside_is_told(folder: Path) -> None:
    names = ["cells/x.json.damaged", f"runs/{run_of(folder).name}/checkpoint.pt.damaged"]
    for name in names:
        (folder / name).touch()
    found = verify(folder)
    assert said(found) == [("note", name) for name in names] and found.exit_code == 0


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
        assert said(verify(folder)) == [("missing", f"runs/{run.name}")]
        holder.communicate()
    assert ("damaged", f"runs/{run.name}/environment.json") in said(verify(folder))


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


def no_status(folder: Path) -> str:
    reseal(run_of(folder), lambda result: result.update(status="fine"))
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


def swapped_seeds(value: Json) -> None:
    first, second = value["final"]
    first["run"], second["run"] = second["run"], first["run"]


def changed_index(folder: Path) -> str:
    record = read_json(folder / "data" / "digits.json")
    record["validation_index"][0] += 1
    write_json(folder / "data" / "digits.json", record)
    return "data/digits.json"


def changed_size(folder: Path) -> str:
    write_json(folder / "data" / "digits.json", {**read_json(folder / "data" / "digits.json"), "val": 9})
    return "data/digits.json"


def other_draw(folder: Path) -> str:
    changed(lambda value: value["tuning"][1]["hypers"].update(gamma=0.5))(folder)
    return f"runs/{run_of(folder, 'tuning', 1).name}/trial.json"


def put(folder: Path, like: Path, trial: Json) -> Path:
    """The run of a trial as another run went."""
    result = RunFolder(like).result()
    assert result is not None
    del result["files"]
    run = folder / "runs" / digest(trial)[:16]
    shutil.copytree(like, run)
    write_json(run / "trial.json", trial)
    RunFolder(run).finish(result)
    return run


def final_of_another_trial(folder: Path) -> str:
    """A run of the loser's setting, under the winner's name."""
    trial = {**read_json(loser(folder) / "trial.json"), "stage": "final", "seed": 1001}
    run = put(folder, run_of(folder), trial)
    changed(lambda value: value["final"][0].update(run=run.name))(folder)
    return f"runs/{run.name}/trial.json"


def other_training(folder: Path) -> str:
    """A tuning run with a smaller batch, as if it were the planned one."""
    like, number = loser(folder), (ledger(folder)["winner"]["number"] + 1) % 3
    trial = read_json(like / "trial.json")
    trial["train"]["batch_size"] = 25
    run = put(folder, like, trial)
    changed(lambda value: value["tuning"][number].update(run=run.name))(folder)
    return f"runs/{run.name}/trial.json"


def another_winner(folder: Path) -> str:
    value = ledger(folder)
    entry = value["tuning"][(value["winner"]["number"] + 1) % 3]
    score = read_json(folder / "runs" / entry["run"] / "result.json")["scores"]["val_top1"]
    value["winner"] = {"number": entry["number"], "value": score, "hypers": entry["hypers"]}
    write_json(folder / "cells" / f"{BOP}.json", value)
    return f"cells/{BOP}.json"


# What was done, and what is said of it.
CONTRADICTIONS: list[tuple[Callable[[Path], str], str]] = [
    (other_trial, "is the trial of run"),
    (more_files, "result.json does not know this file"),
    (scores_of_the_test_set, "a tuning run has seen the test set: test_top1"),
    (images_of_the_test_set, "a tuning run has seen the test set"),
    (better_test_score, "images are right here, but test_top1 is 0.99"),
    (better_validation_score, "its validation score is not that of the last epoch"),
    (fewer_epochs, "does not hold the 3 epochs of result.json"),
    (half_a_run, "has 2 epochs of the trial's 3"),
    (other_flips, "its flips of epoch 1 are not those of epochs.jsonl"),
    (longer_flips, "its shape is (13, 2), not steps and layers (12, 2)"),
    (no_array, "the files are not as results/README.md says"),
    (no_status, "its status is 'fine'"),
    (another_winner, "is better on validation"),
    (changed(lambda value: value["winner"].update(value=0.99)), "not the validation score of its run"),
    (changed(lambda value: value["winner"]["hypers"].update(gamma=0.5)), "not those of its trial"),
    (changed(lambda value: value["winner"].update(number=7)), "trial 7, which it does not name"),
    (changed(lambda value: value.update(winner=None)), "it names final runs, but no winner"),
    (changed(lambda value: value["tuning"][2].update(number=3)), "that was not planned"),
    (changed(lambda value: value["tuning"].append(value["tuning"][0])), "the same trial, seed or final run"),
    (changed(lambda value: value["final"][0].update(seed=3)), "that was not planned"),
    (changed(lambda value: value["final"][0].update(run=value["final"][1]["run"])), "final run twice"),
    (changed(lambda value: value.clear()), "cell"),
    (changed(lambda value: value.update(cell="digits.mlp.latent-adam")), "that of digits.mlp.latent-adam"),
    (other_draw, "gamma: not as in the plan and the ledger"),
    (other_training, "train: not as in the plan and the ledger"),
    (final_of_another_trial, "hypers, real: not as in the winner's trial"),
    (changed_index, "the validation index does not match its hash"),
    (changed_size, "not as planned: val"),
]


@pytest.mark.parametrize("spoil, words", CONTRADICTIONS)
def test_a_contradiction_is_found_and_its_file_named(
    folder: Path, spoil: Callable[[Path], str], words: str
) -> None:
    file = spoil(folder)
    found = verify(folder)
    told = [finding for finding in found.findings if finding.file == file and words in finding.text]
    assert [finding.kind for finding in told] == ["contradictory"], list(found.findings)
    assert found.exit_code == 2


def test_swapped_seeds_are_found(folder: Path) -> None:
    changed(swapped_seeds)(folder)
    runs = [entry["run"] for entry in ledger(folder)["final"]]
    assert said(verify(folder)) == [("contradictory", f"runs/{run}/trial.json") for run in runs]


def test_a_decayed_hyperparameter_starts_from_what_was_drawn(intact: Path) -> None:
    trial = read_json(run_of(intact, "tuning", 1) / "trial.json")
    drawn = ledger(intact)["tuning"][1]["hypers"]
    assert trial["hypers"]["gamma"] == {"cosine": [drawn["gamma"], 0.0]}  # else the test above shows nothing


DECAYS = [
    {"linear": 0.1},
    {"cosine": 0.0},
    {"exponential": 0.5},
    {"step": {"factor": 0.1, "at": [0.5]}},
    {"restart": {"of": {"step": {"factor": 0.1, "at": [0.5]}}, "at": [0.5]}},
    {"restart": {"of": {"linear": 0.0}, "at": [0.5]}},
]


@pytest.mark.parametrize("decay", DECAYS, ids=str)
def test_every_decay_starts_from_what_was_drawn(decay: dict[str, Any]) -> None:
    assert {next(iter(each)) for each in DECAYS} == set(SHAPES)
    trial = {"hypers": {"lr": decayed(0.3, decay)}, "real": {"lr": 0.01}}
    assert not_drawn({"lr": 0.3, "real.lr": 0.01}, trial) == []
    assert not_drawn({"lr": 0.2, "real.lr": 0.01}, trial) == ["lr"]


# ---- nothing from a record is executed


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def bombed(place: str, run: Path, mark: Path) -> None:
    """Put a pickle where the suite will look, with all hashes right."""
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
        with pytest.raises(pickle.UnpicklingError):
            load_checkpoint(run)
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
        epochs: list[int] = []
        assert replay(run, on_epoch=lambda line, epochs=epochs: epochs.append(line["epoch"])) is None
        assert epochs == [1, 2, 3]


def test_a_replay_uses_the_recorded_number_of_threads(folder: Path) -> None:
    made_by(run_of(folder), threads=2)
    try:
        replay(run_of(folder))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


@pytest.fixture
def same_code(monkeypatch: pytest.MonkeyPatch) -> None:
    """Records and replays made by one clean commit."""
    monkeypatch.setattr(suite.machine.environment, "_git", lambda: (("commit", "abc"), ("dirty", False)))


def made_by(run: Path, **changes: Any) -> None:
    """Say that a run was made in another environment."""
    before = read_json(run / "environment.json")
    write_json(run / "environment.json", {**before, "git": {"commit": "abc", "dirty": False}, **changes})


def forged(run: Path) -> None:
    flips = np.load(run / "flips.npz")["flips"]
    flips[2, 1] += 1
    write_array(run / "flips.npz", flips)
    reseal(run, lambda result: (result.update(digest="0" * 64), result["scores"].update(val_top1=0.999)))


@pytest.mark.usefixtures("same_code")
def test_a_forged_record_does_not_repeat(folder: Path) -> None:
    run = run_of(folder)
    made_by(run)
    forged(run)
    found = replay(run)
    assert found is not None and (found.kind, found.file) == ("contradictory", f"runs/{run.name}")
    assert "flips differ from step 3 on (layer " in found.text
    assert "'val_top1': 0.999" in found.text and "the versions and the code are the same" in found.text


@pytest.mark.usefixtures("same_code")
def test_other_bits_from_another_machine_are_told_as_such(folder: Path) -> None:
    run = run_of(folder)
    versions = {**read_json(run / "environment.json")["versions"], "torch": "1.0"}
    made_by(run, versions=versions, device_name="Another CPU")
    reseal(run, lambda result: result.update(digest="0" * 64))
    found = replay(run)
    assert found is not None and found.kind == "differs"
    assert found.text.startswith("only the final weights differ. It was made elsewhere")
    assert "versions.torch 1.0 then" in found.text and "device_name Another CPU then" in found.text
    assert "git" not in found.text and "threads" not in found.text


def test_a_run_that_this_code_cannot_repeat_is_told(folder: Path) -> None:
    for change, words in (
        ({"protocol": 0}, "made under protocol 0"),
        ({"method": "mine"}, "name its file with --plugin"),
        ({"plugin": "0123"}, "was made from a plugin with hash 0123, the one here has None"),
        ({"data": {"name": "nowhere"}}, "there is no data set 'nowhere'"),
    ):
        run = run_of(folder)
        before = read_json(run / "trial.json")
        write_json(run / "trial.json", {**before, **change})
        found = replay(run)
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
        plan = tiny_plan(tmp_path, "plugins=[plugin.py]", "methods=[mine]", "tuning.trials=0", "seeds=1")
        folder = tmp_path / "results"
        prepare_folder(plan, folder, {"digits": whole_data()})
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
        source = PLUGINS["mine"].source
        assert edited.exit_code == 1 and f"the one here has {source}" in edited.output.replace("\n", " ")
    finally:
        forget("mine")


def forget(name: str) -> None:
    METHODS.pop(name, None)
    PLUGINS.pop(name, None)


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
    told = CliRunner().invoke(app, ["verify", str(folder), "--replay", "1"])
    assert told.exit_code == 0 and "all there and intact" in told.output
    assert "1 of 1 replayed runs gave the same bits" in told.output
    (run_of(folder) / "flips.npz").write_bytes(b"")
    told = CliRunner().invoke(app, ["verify", str(folder), "--json"])
    value = json.loads(told.stdout)
    assert told.exit_code == value["exit_code"] == 2 and value["runs"]["final"]["damaged"] == 1
    (problem,) = value["problems"]
    assert (problem["kind"], problem["file"]) == ("damaged", f"runs/{run_of(folder).name}/flips.npz")


def test_without_a_replay_it_needs_no_torch(intact: Path) -> None:
    script = (
        "import sys\nfrom suite.cli import main as cli\n"
        f"sys.argv = ['flipbench', 'verify', {str(intact)!r}]\n"
        "try:\n    cli.main()\nfinally:\n    print('torch' in sys.modules)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert told.stdout.endswith("intact\nFalse\n")

"""Intact records that do not belong together: every reader names the file, the key and both values."""

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optimizers import METHODS as METHOD_CATALOGUE
from report.read.experiment import read_records
from suite.checks.run import SEVERITY
from suite.checks.status import Observer, Status
from suite.checks.verify import Verification, Verified
from suite.records.agreement import named_runs
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, owned, read_json, with_checksum, write_json
from suite.records.run import RunFolder
from suite.records.schema import Failure, Ledger, Scores
from suite.sweep.cell import CellProgress
from suite.sweep.coordinator import prepare_folder
from tests.support import fake_records
from tests.support.fake_records import data_record, final_run, write_experiment
from tests.support.tiny import tiny_plan

TASK, METHODS = (("digits", "mlp"),), ("bop", "latent_sgd")
CELL, OTHER = "digits.mlp.bop", "digits.mlp.latent_sgd"


def written(folder: Path, epochs: int = 4) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fake_records, "EPOCHS", epochs)
        patch.setattr(fake_records, "TRAIN", replace(fake_records.TRAIN, epochs=epochs))
        return write_experiment(folder, tasks=TASK, methods=METHODS, seeds=2, trials=2)


@pytest.fixture(scope="module")
def intact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished experiment whose last final run of `bop` is in progress, with a failure and a checkpoint."""
    folder = written(tmp_path_factory.mktemp("intact") / "results")
    run = RunFolder(final_run(folder, CELL, 1))
    (run.path / "result.json").unlink()
    run.fail(Failure(kind="error", error="out of luck"))
    (run.path / "checkpoint.pt").write_bytes(with_checksum(b"state\n"))
    return folder


@pytest.fixture(scope="module")
def longer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same experiment with more epochs, as an edited file or another one of the same name gives it."""
    return written(tmp_path_factory.mktemp("longer") / "results", epochs=5)


def look(folder: Path) -> tuple[Status, set[str], Verified]:
    """What `status`, `report` and `verify` find: the status, why runs have no result, the findings."""
    records = read_records(folder)
    reasons = {run.reason for run in records.runs if run.status == "damaged"}
    return Observer(folder).look(), reasons, Verification(folder).run()


# ---- from two experiments


@pytest.mark.parametrize("parts", [["cells", "runs"], ["plan.json"], ["cells"], ["runs"]], ids=str)
def test_records_of_two_experiments_are_no_numbers(
    tmp_path: Path, intact: Path, longer: Path, parts: list[str]
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(intact, folder)
    for part in parts:
        if part == "plan.json":
            shutil.copy(longer / part, folder)
        else:
            shutil.rmtree(folder / part)
            shutil.copytree(longer / part, folder / part)
    status, reasons, found = look(folder)
    assert [(cell.tuning, cell.final, cell.best_val_top1) for cell in status.cells] == [(0, 0, None)] * 2
    if len(parts) == 2 or parts == ["plan.json"]:  # the runs are there, and have other trials
        values = "is 5, in the plan it is 4" if len(parts) == 2 else "is 4, in the plan it is 5"
        texts = [
            status.damaged,
            reasons,
            [each.text for each in found.findings if each.file.endswith("/trial.json")],
        ]
        assert all(
            len(each) >= 7 and all(f"train.epochs {values}" in text for text in each) for each in texts
        )
        assert found.exit_code == 2 and all(text.startswith("runs/") for text in (*status.damaged, *reasons))
    else:  # the ledgers name runs that are not there
        assert "8 runs" in status.unplanned and found.counts["tuning", "missing"] == 4
    assert status.unplanned == read_records(folder).unplanned


CONTRAST = {"kind": "contrast", "says": "x", "of": {"bop": 1, "latent_sgd": -1}, "expect": "above"}
CLAIM = dict.fromkeys(("title", "sentence", "source", "supports", "refutes", "limits"), "x") | {"id": "C1"}
TRANSFER = {"tracks": [{"name": "random", "trials": 2}], "transfer": ["digits.mlp", "mnist.mlp"]}
TWICE = {"tracks": [{"name": "random", "trials": 2}] * 2}
SCORE = {"method": "bop", "top1": 90.0, "source": "x"}
PARTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "no cell": (lambda plan: plan.update(cells=[]), "cells: there are none"),
    "data": (lambda plan: plan["cells"][0].update(data="mnist"), "describes no data 'mnist'"),
    "method": (lambda plan: plan["methods"].pop("bop"), "describes no method 'bop'"),
    "model": (lambda plan: plan.update(layers={"convnet": ["conv"]}), "describes no model 'mlp'"),
    "stage": (lambda plan: plan["cells"][0]["trial"].update(stage="tune"), "is of a tune run"),
    "twice": (lambda plan: plan["cells"].append(plan["cells"][0]), "cells names digits.mlp.bop twice"),
    "tracks": (lambda plan: plan.update(tuning=TWICE), "tuning.tracks names random twice"),
    "transfer": (lambda plan: plan.update(tuning=TRANSFER), "there is no task 'mnist.mlp'"),
    "claim": (
        lambda plan: plan.update(claim={**CLAIM, "tests": [{**CONTRAST, "of": {"bop": 1, "sgd": -1}}]}),
        "no cell is called 'sgd'",
    ),
}


@pytest.mark.parametrize("part", PARTS)
def test_a_plan_whose_parts_do_not_fit_each_other_is_refused(tmp_path: Path, intact: Path, part: str) -> None:
    shutil.copytree(intact, folder := tmp_path / "results")
    plan = read_json(folder / "plan.json")
    spoil, problem = PARTS[part]
    spoil(plan)
    write_json(folder / "plan.json", plan)
    with pytest.raises(DamagedRecord, match=rf"plan\.json is damaged: .*{re.escape(problem)}"):
        ExperimentFolder(folder).plan()


@pytest.mark.parametrize("task", ["", "mlp.", "digits.mlp."])
def test_a_plan_with_all_its_parts_is_read(tmp_path: Path, intact: Path, task: str) -> None:
    shutil.copytree(intact, folder := tmp_path / "results")
    plan = read_json(folder / "plan.json")
    test = {**CONTRAST, "of": {f"{task}bop": 1, f"{task}latent_sgd": -1}}
    whole = {"claim": {**CLAIM, "tests": [test]}, "published": [SCORE], "layers": {"mlp": ["dense"]}}
    write_json(folder / "plan.json", {**plan, **whole})
    assert ExperimentFolder(folder).plan().claim is not None


@pytest.mark.parametrize("part", ["runs", "cells", "data"])
@pytest.mark.parametrize("place", ["a file", "a link"])
def test_what_stands_in_the_place_of_a_folder_of_records_is_named(
    tmp_path: Path, intact: Path, part: str, place: str
) -> None:
    shutil.copytree(intact, folder := tmp_path / "results")
    (folder / part).rename(tmp_path / "elsewhere")
    if place == "a file":
        (folder / part).write_text("no records")
    else:
        (folder / part).symlink_to(tmp_path / "elsewhere")
    problem = "it is no folder" if place == "a file" else "it is a link"
    for read in (read_records, lambda folder: Observer(folder).look(), Verification):
        with pytest.raises(DamagedRecord, match=f"{part} is damaged: {problem}"):
            read(folder)


@pytest.mark.parametrize("score", [-0.1, 1.01])
def test_an_accuracy_beyond_its_range_is_no_number(tmp_path: Path, intact: Path, score: float) -> None:
    shutil.copytree(intact, folder := tmp_path / "results")
    path = final_run(folder, CELL, 0) / "result.json"
    result = read_json(path)
    write_json(path, {**result, "scores": {**result["scores"], "test_top1": score}})
    _, reasons, found = look(folder)
    assert any("scores.test_top1" in text for text in reasons)
    assert any("scores.test_top1" in each.text for each in found.findings) and found.exit_code == 2


def test_a_trial_under_the_name_of_another_run_is_found(tmp_path: Path, intact: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(intact, folder)
    one, other = (final_run(folder, cell, 0) for cell in (CELL, OTHER))
    shutil.copy(one / "trial.json", other / "trial.json")
    status, reasons, found = look(folder)
    for texts in (status.damaged, reasons, [f"{each.file}: {each.text}" for each in found.findings]):
        assert any(f"runs/{other.name}/trial.json: is the trial of run {one.name}" in text for text in texts)


def test_exchanged_ledgers_and_winners_are_found_by_every_reader(tmp_path: Path, intact: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(intact, folder)
    experiment, plan = ExperimentFolder(folder), ExperimentFolder(folder).plan()
    cells = {planned.cell: planned for planned in plan.cells}
    ledger, other = (experiment.ledger(cells[name], plan) for name in (CELL, OTHER))
    (study,) = ledger.studies
    assert study.winner is not None

    def forged(**changes: object) -> Ledger:
        return replace(ledger, studies=[replace(study, **changes)])  # pyright: ignore[reportArgumentType]

    spoiled = {
        "gamma": replace(other, cell=CELL),  # forged, so that only its content gives it away
        "cell is digits.mlp.latent_sgd, not digits.mlp.bop": other,
        "winner.value is 0.5": forged(winner=replace(study.winner, value=0.5)),
        "it names final runs, but no winner": forged(winner=None),
        "hyperparameters are not those of its trial": forged(
            winner=replace(study.winner, hypers={**study.winner.hypers, "gamma": 0.25})
        ),
        "trials [1, 0], which are counted from 0": forged(tuning=study.tuning[::-1]),
    }
    for words, content in spoiled.items():
        write_json(experiment.ledger_path(CELL), encode(content))
        status, reasons, found = look(folder)
        assert reasons and all(f"cells/{CELL}.json: " in text and words in text for text in reasons)
        if words != "winner.value is 0.5":  # no matter to `status`, and `verify` has a test of its own
            assert any(words in each.text for each in found.findings)
            assert len(status.damaged) == 1 and words in status.damaged[0] and status.cells[0].tuning == 0


def test_the_record_of_other_data_is_found(tmp_path: Path, intact: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(intact, folder)
    write_json(folder / "data" / "digits.json", encode(replace(data_record("digits"), val=100)))
    problem = "val is 100, in the plan it is 287"
    assert read_records(folder).data["digits"].problem == f"data/digits.json: {problem}"
    assert any(each.text == problem for each in Verification(folder).run().findings)


# ---- any file in the place of any other, and what is no file at all

KINDS: dict[str, Callable[[Path], Path]] = {
    "plan": lambda folder: folder / "plan.json",
    "ledger": lambda folder: folder / "cells" / f"{CELL}.json",
    "data": lambda folder: folder / "data" / "digits.json",
    **{
        name: lambda folder, name=name: final_run(folder, CELL, 0) / name
        for name in ("trial.json", "environment.json", "result.json", "epochs.jsonl", "flips.npz")
    },
    **{
        f"unfinished {name}": lambda folder, name=name: final_run(folder, CELL, 1) / name
        for name in ("trial.json", "epochs.jsonl", "failure.json", "checkpoint.pt")
    },
}


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_folder(path: Path) -> None:
    path.mkdir()


def a_link_to_itself(path: Path) -> None:
    path.symlink_to(path.name)


def nested(path: Path) -> None:
    path.write_bytes(b"[" * 100_000 + b"\n")


def a_list(path: Path) -> None:
    path.write_bytes(b"[1]\n")


EXCHANGED = ("plan", "ledger", "data", "trial.json", "result.json", "unfinished checkpoint.pt")
NOT_FILES = [a_pipe, a_folder, a_link_to_itself, nested, a_list]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_lies_in_a_files_place_is_named_and_never_a_number(
    tmp_path: Path, intact: Path, kind: str
) -> None:
    """Every reader ends, with the file named; what it shows of other runs is what it showed before."""
    shutil.copytree(intact, tmp_path / "results")
    path = KINDS[kind](tmp_path / "results")
    contents = {name: KINDS[name](intact).read_bytes() for name in (*EXCHANGED, kind)}
    ways: dict[str, Callable[[Path], object]] = {way.__name__: way for way in NOT_FILES}
    ways |= {
        name: lambda path, content=content: path.write_bytes(content)
        for name, content in contents.items()
        if content != contents[kind]
    }
    if "epochs" in kind:
        (final_run(tmp_path / "results", CELL, 1) / "failure.json").unlink()
    before, _, found_before = look(tmp_path / "results")
    for name, way in ways.items():
        path.unlink() if path.is_symlink() or not path.is_dir() else path.rmdir()
        way(path)
        if kind == "plan":
            for read in (
                lambda: Observer(tmp_path / "results").look(),
                lambda: read_records(tmp_path / "results"),
                lambda: Verification(tmp_path / "results"),
            ):
                with pytest.raises(
                    DamagedRecord, match=r"plan\.json is damaged: .*; the next sweep sets it aside"
                ):
                    read()
            continue
        status, reasons, found = look(tmp_path / "results")
        file = path.relative_to(tmp_path / "results").as_posix()
        new = found.findings.keys() - found_before.findings.keys()
        assert any(each.file == file and SEVERITY[each.kind] == 2 for each in new), (name, new)
        said = [*status.damaged, *reasons]
        if kind not in ("data", "unfinished checkpoint.pt", "environment.json", "flips.npz"):
            assert any(text.startswith(f"{file}: ") for text in said), (name, said)
        for now, then in zip(status.cells, before.cells, strict=True):
            assert now.tuning in (then.tuning, 0) and now.final in (then.final, then.final - 1, 0), name
            assert now.best_val_top1 in (then.best_val_top1, None), name


LINES: list[tuple[str, str]] = [
    ('"epoch":1,', '"epoch":7,'),
    ('"epoch":1,', '"epoch":"1",'),
    ('"epoch":1,', ""),
    ('"epoch":1,', '"\\ud800":1,'),
    ('"seconds":0.21', '"seconds":1e999'),
    ('"seconds":0.21', '"seconds":-1.0'),
    ('"seconds":0.21', '"seconds":NaN'),
    ('"seconds":0.21', f'"seconds":{"9" * 400}'),
    ('"step":18', f'"step":{"9" * 400}'),
    ('"step":18', '"step":null'),
]


@pytest.mark.parametrize(("key", "value"), LINES)
def test_a_damaged_key_of_an_unfinished_run_is_damage(
    tmp_path: Path, intact: Path, key: str, value: str
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(intact, folder)
    run = final_run(folder, CELL, 1)
    (run / "failure.json").unlink()
    content = (run / "epochs.jsonl").read_text()
    assert key in content
    (run / "epochs.jsonl").write_text(content.replace(key, value, 1))
    (problem,) = Observer(folder).look().damaged
    assert problem.startswith(f"runs/{run.name}/epochs.jsonl: ") and problem.isprintable()


# ---- the sweep


def test_a_sweep_sets_aside_what_is_not_its_own(tmp_path: Path, intact: Path) -> None:
    plan, folder = tiny_plan(tmp_path, "methods=[bop]", "tuning={trials: 3}", "seeds=2"), tmp_path / "results"
    records = {"digits": data_record("digits")}
    for name in KINDS:
        content = KINDS[name](intact).read_bytes()
        prepare_folder(plan, folder, records)
        (folder / "cells" / f"{CELL}.json").write_bytes(content)
        (folder / "plan.json").write_bytes(content)
        (folder / "data" / "digits.json").write_bytes(content)
        notes = prepare_folder(plan, folder, records)
        progress = CellProgress(plan, plan.cells[0], ExperimentFolder(folder), tuning_only=False)
        assert len(progress.ready()) == 3 + 2  # tuning trials, and the default
        if name != "ledger":  # one of another definition of the cell is no damage, and its draws are not used
            assert len(progress.notes) == 1 and "; set aside, and written again" in progress.notes[0]
        if name != "plan":
            assert any(note.startswith(f"{folder / 'plan.json'} is damaged: ") for note in notes)
    assert len(list((folder / "cells").glob("*.damaged"))) == len(KINDS) - 1  # none replaced another


def test_a_lock_that_is_no_file_stops_nobody_from_reading(tmp_path: Path, intact: Path) -> None:
    folder = tmp_path / "results"
    shutil.copytree(intact, folder)
    os.mkfifo(folder / ".lock")
    os.mkfifo(final_run(folder, CELL, 0) / ".lock")
    assert not look(folder)[0].working
    with pytest.raises(OSError, match=r"cannot write .*\.lock: It is not a file"), owned(folder):
        pass


def test_a_winner_of_fewer_trials_than_are_planned_is_none_for_every_reader(tmp_path: Path) -> None:
    folder = written(tmp_path / "results")
    plan = ExperimentFolder(folder).plan()
    (track,) = plan.tuning.tracks
    fake_records.write_plan(
        folder, replace(plan, tuning=replace(plan.tuning, tracks=[replace(track, trials=3)]))
    )
    records = read_records(folder)
    status, reasons, found = look(folder)
    assert not reasons and not found.counts["final", "done"]
    assert [cell.winners for cell in records.cells] == [{}, {}]
    assert [run.status for run in records.finals(records.cells[0])] == ["missing"] * 2
    assert [(cell.tuning, cell.final) for cell in status.cells] == [(2, 0)] * 2


NO_TEST = Scores(val_loss=1.0, val_top1=0.5, val_top5=1.0)
SEARCHED = [(name, ()) for name in METHOD_CATALOGUE] + [
    (name, (hyper,))
    for name, method in METHOD_CATALOGUE.items()
    for hyper, described in method.hypers.items()
    if described.revised
]


@pytest.mark.parametrize(("method", "tune"), SEARCHED)
def test_the_runs_of_a_sweep_are_those_that_its_ledger_names(
    tmp_path: Path, method: str, tune: tuple[str, ...]
) -> None:
    """For every method; also where some of the values drawn have a rule that was revised."""
    entry = f"{{name: {method}, tune: [{', '.join(tune)}]}}" if tune else method
    plan = tiny_plan(tmp_path, f"methods=[{entry}]", "tuning.trials=12", "tuning.studies=1")
    (cell,), folder = plan.cells, ExperimentFolder(tmp_path / "results")
    folder.ledger_path(cell.name).parent.mkdir(parents=True)
    progress = CellProgress(plan, cell, folder, tuning_only=False)
    trials = progress.ready()
    best = max(trials, key=lambda trial: (trial.stage == "tune", trial.revised))
    for trial in trials:
        progress.learn(trial, replace(NO_TEST, val_top1=0.9 if trial is best else 0.5))
    made = {trial.run_id: trial for trial in [*trials, *progress.ready()]}
    progress.write_ledger()
    named = list(named_runs(folder.ledger(cell.planned, plan.record), cell.planned, plan.record))
    assert {each.run for each in named} == made.keys()
    assert [each.problem(made[each.run]) for each in named] == [""] * len(named)
    for each in named:
        other = replace(made[each.run], revised=("model.activation",))
        assert each.problem(other).startswith("revised is ['model.activation'], in the plan it is 'absent'")
    revised = {each.place.phase for each in named if made[each.run].revised}
    assert revised >= {"tuning", "final"} or not tune

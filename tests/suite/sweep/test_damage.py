"""Every kind of file that a sweep keeps, damaged in every way: the value is right, or the file is named.

A damaged file is set aside as `<name>.damaged` and reported, and the records end up as without the damage.
"""

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from report.read.experiment import read_records
from suite.records.agreement import named_runs
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, read_json
from suite.records.run import FILES, RunFolder
from suite.records.schema import Failure
from tests.support.attempts import Outcome, Trouble, Unbroken, attempt, leftovers, records_of, unbroken
from tests.support.warm import Warm

LONGER = ("methods=[bop, latent-sgd]", "train.epochs=2", "train.batch_size=100", "seeds=1")
CHANGES = (*LONGER, "train.keep_weights=true", "tuning={tpe: {trials: 4, at_once: 2}}")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two cells in `results`."""
    return tmp_path_factory.mktemp("damage")


@pytest.fixture(scope="module")
def right(warm: Warm, place: Path) -> Unbroken:
    return unbroken(warm, place, CHANGES)


@pytest.fixture(scope="module")
def unfinished(warm: Warm, right: Unbroken, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, killed in a tuning trial of its second cell that has two checkpoints and has failed once."""
    place = tmp_path_factory.mktemp("unfinished")
    ends = [n for n, call in enumerate(right.calls, 1) if call == "open runs/*/.result.json.*.tmp"]
    assert warm.run(attempt, place, CHANGES, Trouble(ends[15])).code == -9
    (begun,) = (path.parent for path in place.glob("results/runs/*/checkpoint.previous.pt"))
    assert RunFolder(begun).trial().stage == "tune"
    RunFolder(begun).fail(Failure(kind="worker died", error="its worker died (exit code -9), 3 times"))
    return place


# ---- ways of damage


def flipped(path: Path, other: Path) -> bytes:
    """One bit of the byte in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    return bytes(content)


def half(path: Path, other: Path) -> bytes:
    return path.read_bytes()[: path.stat().st_size // 2]


def empty(path: Path, other: Path) -> bytes:
    return b""


def exchanged(path: Path, other: Path) -> bytes:
    """The intact content of another file of the same kind."""
    return other.read_bytes()


WAYS: list[Callable[[Path, Path], bytes]] = [flipped, half, empty, exchanged]


def first_and_another(folder: Path, pattern: str) -> tuple[Path, Path]:
    """Two files of a kind with different content, the same file twice if there is only one."""
    first, *others = sorted(folder.glob(pattern))
    different = [path for path in others if path.read_bytes() != first.read_bytes()]
    return first, different[0] if different else first


def damage(folder: Path, pattern: str, way: Callable[[Path, Path], bytes]) -> Path | None:
    """Damage the first file of a kind; None if there is nothing to exchange it with."""
    path, other = first_and_another(folder, pattern)
    if way is exchanged and path == other:
        return None
    content = way(path, other)
    assert content != path.read_bytes()
    path.write_bytes(content)
    return path


# ---- the next sweep


def resumed(warm: Warm, place: Path, right: Unbroken) -> Outcome:
    """The same command once more; it must end with the right records."""
    code, outcome = warm.run(attempt, place, CHANGES)
    assert code == 0 and outcome.complete, outcome
    assert records_of(place / "results") == right.records
    return outcome


SEALED = ["plan.json", "data/*.json", "cells/*.json", "runs/*/result.json"]
HASHED = [f"runs/*/{name}" for name in FILES]  # in the result: any other content is found in the same way
FINISHED = [(pattern, way) for pattern in SEALED for way in WAYS]
FINISHED += [(pattern, (flipped, half, empty)[number % 3]) for number, pattern in enumerate(HASHED)]
FINISHED += [(pattern, exchanged) for pattern in HASHED]


@pytest.mark.parametrize(("pattern", "way"), FINISHED)
def test_the_next_sweep_mends_a_finished_one(
    tmp_path: Path, warm: Warm, place: Path, right: Unbroken, pattern: str, way: Any
) -> None:
    shutil.copytree(place / "results", tmp_path / "results")
    path = damage(tmp_path / "results", pattern, way)
    if path is None:
        return
    content = path.read_bytes()
    (said,) = resumed(warm, tmp_path, right).said
    assert str(path) in said and "set aside" in said
    assert path.with_name(path.name + ".damaged").read_bytes() == content
    mended = {f"{path.relative_to(tmp_path / 'results')}.damaged"}
    if pattern in HASHED:
        mended |= {f"runs/{path.parent.name}/result.json.damaged"}
    assert set(leftovers(tmp_path / "results")) == mended


UNFINISHED = ["cells/*.json", "runs/*/checkpoint.pt", "runs/*/checkpoint.previous.pt"]
REWRITTEN = ["trial.json", "environment.json", "epochs.jsonl", "failure.json"]  # of a resumed run


@pytest.mark.parametrize(
    ("pattern", "way"),
    [
        ("cells/*.json", half),
        ("cells/*.json", exchanged),
        ("runs/*/checkpoint.pt", flipped),
        ("runs/*/checkpoint.pt", empty),
        ("runs/*/checkpoint.previous.pt", half),
    ],
)
def test_the_next_sweep_resumes_an_unfinished_one(
    tmp_path: Path, warm: Warm, unfinished: Path, right: Unbroken, pattern: str, way: Any
) -> None:
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    path = damage(tmp_path / "results", pattern, way)
    assert path is not None
    said = resumed(warm, tmp_path, right).said
    unused = pattern.endswith("previous.pt")  # the newer one is whole
    assert bool([text for text in said if str(path) in text]) != unused, said


@pytest.mark.parametrize("way", [flipped, half, empty])
def test_files_that_a_resumed_run_writes_again(
    tmp_path: Path, warm: Warm, unfinished: Path, right: Unbroken, way: Any
) -> None:
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    (begun,) = (path.parent for path in tmp_path.glob("results/runs/*/checkpoint.previous.pt"))
    for name in REWRITTEN:
        (begun / name).write_bytes(way(begun / name, begun / name))
    assert resumed(warm, tmp_path, right).said == []
    assert RunFolder(begun).environment().device == "cpu"  # no digest is that of an environment


def test_with_two_damaged_checkpoints_the_run_starts_from_the_beginning_and_says_so(
    tmp_path: Path, warm: Warm, unfinished: Path, right: Unbroken
) -> None:
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    for name, way in (("checkpoint.pt", flipped), ("checkpoint.previous.pt", empty)):
        assert damage(tmp_path / "results", f"runs/*/{name}", way)
    (said,) = resumed(warm, tmp_path, right).said
    assert said.count("is damaged: its content does not match") == 2 and said.endswith(
        "the run starts from the beginning"
    )


def test_the_checkpoint_of_another_run_is_not_taken(
    tmp_path: Path, warm: Warm, unfinished: Path, right: Unbroken
) -> None:
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    checkpoint = next(tmp_path.glob("results/runs/*/checkpoint.pt"))
    stranger = next(path for path in (tmp_path / "results" / "runs").iterdir() if path != checkpoint.parent)
    (stranger / "result.json").unlink()
    shutil.copy(checkpoint, stranger)
    said = resumed(warm, tmp_path, right).said
    assert [text for text in said if f"{stranger / 'checkpoint.pt'} is damaged: it is that of run" in text]


def test_draws_that_are_lost_are_drawn_again(
    tmp_path: Path, warm: Warm, unfinished: Path, right: Unbroken
) -> None:
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "results" / "cells")
    assert resumed(warm, tmp_path, right).said == []


# ---- the log for Optuna's tools


def trials_in(log: Path) -> dict[str, list[FrozenTrial]]:
    """The trials of every study that Optuna itself finds in the log."""
    storage = JournalStorage(JournalFileBackend(str(log)))
    names = optuna.get_all_study_names(storage)
    return {name: optuna.load_study(study_name=name, storage=storage).trials for name in names}


def assert_complete(folder: Path) -> None:
    """The log of a finished sweep holds every planned run, with its parameters, score and attributes."""
    records = ExperimentFolder(folder)
    plan, found = records.plan(), trials_in(folder / "optuna.log")
    trials = {
        (name, *(each.user_attrs[key] for key in ("phase", "study", "number"))): each
        for name, of_study in found.items()
        for each in of_study
    }
    assert len(trials) == sum(map(len, found.values())) == 2 * (4 + 1 + 1)
    for cell in plan.cells:
        ledger = records.ledger(cell, plan)
        keys = {(study.track, study.number): study.key for study in ledger.studies}
        (default,) = (name for name in found if name.startswith(f"{cell.cell}.default-"))
        for named in named_runs(ledger, cell, plan):
            place, result = named.place, records.run(named.run).result()
            key = keys[place.track, place.study] if place.track else default
            trial = trials[key, place.phase, place.study, place.number]
            assert result is not None and trial.value == result.scores.val_top1
            assert trial.params.items() <= named.hypers.items() and trial.params
            assert trial.user_attrs["run"] == named.run and trial.user_attrs["seconds"] == result.seconds


def test_optuna_itself_reads_the_log(place: Path, right: Unbroken) -> None:
    assert_complete(place / "results")


def broken(path: Path, other: Path) -> bytes:
    """Its first line is no JSON. Another digit would not be noticed: flipbench never reads a number of it."""
    return b"[" + path.read_bytes()[1:]


@pytest.mark.parametrize(
    ("state", "way"), [*(("finished", way) for way in (broken, half, empty, None)), ("unfinished", half)]
)
def test_a_damaged_or_absent_log_is_made_again(
    tmp_path: Path, warm: Warm, place: Path, unfinished: Path, right: Unbroken, way: Any, state: str
) -> None:
    shutil.copytree(place if state == "finished" else unfinished, tmp_path, dirs_exist_ok=True)
    log = tmp_path / "results" / "optuna.log"
    if way is None:
        log.unlink()
    else:
        log.write_bytes(way(log, log))
    assert resumed(warm, tmp_path, right).said == []
    assert_complete(tmp_path / "results")


def test_no_draw_follows_the_log(tmp_path: Path, warm: Warm, right: Unbroken) -> None:
    """Half the budget first, then every score in the log is turned upside down, then the whole budget."""
    assert warm.run(attempt, tmp_path, (*LONGER, "tuning={tpe: {trials: 2, at_once: 2}}")).value.complete
    log = tmp_path / "results" / "optuna.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    for line in lines:
        if line.get("values"):
            line["values"] = [1 - line["values"][0]]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert warm.run(attempt, tmp_path, CHANGES).value.complete
    ledger = "cells/digits.mlp.bop.json"
    assert read_json(tmp_path / "results" / ledger) == right.records[ledger]


@pytest.mark.parametrize(  # what is damaged is looked at among the first calls
    ("pattern", "at"), [*zip(UNFINISHED, (12, 20, 28), strict=True), ("runs/*/result.json", 20)]
)
def test_a_kill_while_damage_is_mended(
    tmp_path: Path, warm: Warm, unfinished: Path, right: Unbroken, pattern: str, at: int
) -> None:
    shutil.copytree(unfinished, tmp_path, dirs_exist_ok=True)
    damage(tmp_path / "results", pattern, half)
    assert warm.run(attempt, tmp_path, CHANGES, Trouble(at)).code == -9
    resumed(warm, tmp_path, right)


# ---- the reader of the report


def what_is_read(folder: Path) -> dict[tuple[Any, ...], Any]:
    """Every planned run, as the report sees it."""
    records = read_records(folder)
    return {(run.cell.name, run.place): (run.status, run.reason, repr(run)) for run in records.runs} | {
        ("data", name): repr(value) for name, value in records.data.items()
    }


def test_the_report_reads_the_right_value_or_names_the_file(
    tmp_path: Path, place: Path, right: Unbroken
) -> None:
    """One flipped bit at a time, anywhere in any file."""
    folder = tmp_path / "results"
    shutil.copytree(place / "results", folder)
    before, chosen = what_is_read(folder), random.Random(0)
    not_read = (".lock", "optuna.log")
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in not_read)
    assert len(files) > 50
    noticed = 0
    for path in files:
        whole = path.read_bytes()
        for position in sorted(chosen.sample(range(len(whole)), min(3, len(whole)))):
            content = bytearray(whole)
            content[position] ^= 1 << chosen.randrange(8)
            path.write_bytes(content)
            try:
                after = what_is_read(folder)
            except DamagedRecord as error:
                assert error.path == path
                noticed += 1
                continue
            changed = {key for key in before if before[key] != after[key]}
            for key in changed:
                assert path.name in str(after[key]), (path, position, after[key])
            noticed += bool(changed)
        path.write_bytes(whole)
    assert noticed > 100 and what_is_read(folder) == before


@pytest.mark.parametrize("pattern", [*SEALED[1:], *HASHED])
def test_an_exchanged_file_is_never_read_as_its_own(
    tmp_path: Path, place: Path, right: Unbroken, pattern: str
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(place / "results", folder)
    before = what_is_read(folder)
    path = damage(folder, pattern, exchanged)
    if path is None:
        return
    after = what_is_read(folder)
    for key in {key for key in before if before[key] != after[key]}:
        assert path.name in str(after[key])

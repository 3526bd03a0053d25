"""Records of one experiment from two places become one folder; where they differ, both are kept and named."""

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.checks import merge
from suite.checks.adopt import ASIDE, clear_aside
from suite.checks.merge import Merged, Source, merge_records, require_mergeable
from suite.checks.status import Observer
from suite.checks.verify import Verification
from suite.machine.errors import UserError
from suite.records.codec import encode
from suite.records.experiment import SET_ASIDE, ExperimentFolder
from suite.records.files import DamagedRecord, owned, read_json, with_checksum, write_json
from suite.records.run import CHECKPOINTS
from suite.records.trial import PROTOCOL
from tests.support.attempts import records_of, swept
from tests.support.fake_records import damage, fail, final_run

BOP, ADAM = "digits.mlp.bop", "digits.mlp.latent-adam"
CHANGES = ("train.epochs=1", "tuning={trials: 2}", "seeds=2")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two cells, each with two trials and two seeds."""
    place = tmp_path_factory.mktemp("merge")
    swept(place, *CHANGES)
    (place / "results" / "optuna.log").unlink()
    return place / "results"


@pytest.fixture
def halves(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The same runs on two machines: each has every other one, and the first no ledger of one cell."""
    monkeypatch.setattr(os, "sync", lambda: None)  # it waits for the disk of other processes
    for name, left_out in (("a", 0), ("b", 1)):
        shutil.copytree(whole, tmp_path / name)
        for run in sorted(os.listdir(whole / "runs"))[left_out::2]:
            shutil.rmtree(tmp_path / name / "runs" / run)
    (tmp_path / "a" / "cells" / f"{BOP}.json").unlink()
    return tmp_path / "a", tmp_path / "b"


@pytest.fixture
def copies(tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The whole records twice, to be changed."""
    monkeypatch.setattr(os, "sync", lambda: None)
    return shutil.copytree(whole, tmp_path / "a"), shutil.copytree(whole, tmp_path / "b")


def merged(target: Path, *folders: Path) -> Merged:
    sources = [Source(folder, folder, Verification(folder).run()) for folder in folders]
    require_mergeable(sources, target)
    done = merge_records(sources, target)
    assert not (target / ASIDE).exists()
    return done


def tree(folder: Path) -> dict[str, bytes]:
    """Every file but locks and logs."""
    paths = [
        path for path in folder.rglob("*") if path.is_file() and path.name not in (".lock", "optuna.log")
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def findings(folder: Path) -> list[str]:
    return [f"{kind}: {file}" for kind, file, _ in Verification(folder).run().findings]


# ---- what belongs together


def test_two_halves_are_the_whole_byte_for_byte(tmp_path: Path, whole: Path, halves: tuple[Path, Path]):
    runs = len(os.listdir(whole / "runs"))
    done = merged(tmp_path / "c", *halves)
    assert tree(tmp_path / "c") == tree(whole) and sum(done.taken.values()) == runs
    again = merged(tmp_path / "c", tmp_path / "c", *halves)
    assert not again.taken.total() and again.known.total() == runs and tree(tmp_path / "c") == tree(whole)
    absent = runs - len(os.listdir(halves[0] / "runs"))
    assert merged(halves[0], *halves).taken == {halves[1]: absent} and tree(halves[0]) == tree(whole)
    assert [done.notes, done.contradictions, again.contradictions] == [[], [], []]


def test_status_verify_and_the_sweep_work_on_it(tmp_path: Path, whole: Path, halves: tuple[Path, Path]):
    merged(tmp_path / "c" / "results", *halves)
    assert Verification(tmp_path / "c" / "results").run().exit_code == 0
    assert Observer(tmp_path / "c" / "results").look().settled
    before = tree(tmp_path / "c" / "results")
    swept(tmp_path / "c", *CHANGES)  # nothing is left to train
    assert tree(tmp_path / "c" / "results") == before
    assert records_of(tmp_path / "c" / "results") == records_of(whole)


def test_the_sweep_continues_what_is_not_finished(tmp_path: Path, whole: Path, halves: tuple[Path, Path]):
    """A run that neither has, and one that has begun on a machine, with a checkpoint."""
    mine, theirs = (sorted(os.listdir(each / "runs")) for each in halves)
    shutil.rmtree(halves[0] / "runs" / mine[0])
    (begun := halves[1] / "runs" / theirs[0] / "result.json").unlink()
    (begun.parent / CHECKPOINTS[0]).write_bytes(with_checksum(b"half"))
    done = merged(tmp_path / "c" / "results", *halves)
    assert done.notes == [f"{halves[1]}: 1 unfinished runs are not taken: the next sweep makes them again"]
    assert set(os.listdir(whole / "runs")) - set(os.listdir(tmp_path / "c/results/runs")) == {
        mine[0],
        theirs[0],
    }
    swept(tmp_path / "c", *CHANGES)
    assert records_of(tmp_path / "c" / "results") == records_of(whole)


def test_a_result_takes_the_place_of_a_failure_and_never_the_reverse(copies: tuple[Path, Path], whole: Path):
    first, second = (final_run(whole, ADAM, number).name for number in (0, 1))
    (copies[0] / "runs" / first / "result.json").unlink()
    (copies[0] / "runs" / first / CHECKPOINTS[0]).write_bytes(with_checksum(b"half"))
    fail(copies[1] / "runs" / second)
    done = merged(copies[0], *copies)
    assert done.taken == {copies[1]: 1} and not done.contradictions and tree(copies[0]) == tree(whole)
    fail(copies[1] / "runs" / first)
    (copies[0] / "runs" / first / "result.json").unlink()
    assert merged(copies[0], *copies).taken == {copies[1]: 0}  # an unfinished run may still end well
    shutil.rmtree(copies[0] / "runs" / first)
    assert merged(copies[0], *copies).taken == {copies[1]: 1}  # a failure is a record, too
    assert findings(copies[0]) == [f"failed: runs/{first}/failure.json"]


def test_a_longer_plan_is_the_plan(tmp_path: Path, whole: Path, copies: tuple[Path, Path]):
    """One machine has a cell less: in either order the records are the whole."""
    drop(copies[1], ADAM)
    assert merged(tmp_path / "c", *copies).notes == []
    assert merged(tmp_path / "d", *reversed(copies)).notes == [
        f"{tmp_path / 'd' / 'plan.json'}: extended to the plan of {copies[0]}"
    ]
    assert tree(tmp_path / "c") == tree(tmp_path / "d") == tree(whole)


def drop(folder: Path, cell: str) -> None:
    """Take a cell from a plan, with its ledger and its runs."""
    records = ExperimentFolder(folder)
    plan = records.plan()
    ledger = read_json(records.ledger_path(cell))
    named = [
        *ledger["default"],
        *(e for study in ledger["studies"] for e in study["tuning"] + study["final"]),
    ]
    for run in {entry["run"] for entry in named}:
        shutil.rmtree(folder / "runs" / run, ignore_errors=True)
    records.ledger_path(cell).unlink()
    write_json(records.plan_path, encode(replace(plan, cells=[c for c in plan.cells if c.cell != cell])))


@pytest.mark.parametrize("into", ["c", "a"])
def test_after_a_kill_at_any_instant_the_same_merge_ends_with_the_same_records(
    tmp_path: Path, halves: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, into: str
):
    for half in halves if into == "c" else ():  # a quick one; into A there is less to do
        drop(half, ADAM)
    sources = [Source(folder, folder, Verification(folder).run()) for folder in halves]
    expected = tree(merged_copy(tmp_path / "expected", halves, into))
    left, at = list[str](), -1
    real = {name: getattr(os, name) for name in ("rename", "replace", "mkdir")}
    while True:
        at += 2
        calls = iter(range(at))
        folders = [
            shutil.copytree(each, tmp_path / f"{at}{each.name}", copy_function=os.link) for each in halves
        ]
        here = [Source(folder, folder, each.found) for folder, each in zip(folders, sources, strict=True)]
        target = tmp_path / f"{at}{into}"

        def killed(name: str, calls: Any = calls) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if next(calls, None) is None:
                    raise KeyboardInterrupt
                return real[name](*arguments, **options)

            return call

        for name in real:
            monkeypatch.setattr(os, name, killed(name))
        monkeypatch.setattr(merge, "clear_aside", lambda folder: None)  # who is killed clears nothing
        try:
            merge_records(here, target)
            break
        except KeyboardInterrupt:
            pass
        finally:
            monkeypatch.setattr(merge, "clear_aside", clear_aside)
            for name, function in real.items():
                monkeypatch.setattr(os, name, function)
        if (target / "plan.json").exists() and (target / "runs").exists():
            left += [name for name in findings(target) if name.startswith(("damaged", "contradictory"))]
            folders = [target, *(folder for folder in folders if folder != target)]
        merged(target, *folders)
        assert tree(target) == expected, at
    assert at > 10 and left == []


def merged_copy(place: Path, folders: tuple[Path, Path], into: str) -> Path:
    """The merge of copies that nothing disturbs."""
    copied = [shutil.copytree(each, place / each.name) for each in folders]
    merged(place / into, *copied)
    return place / into


# ---- what contradicts


def with_digest(run: Path, digest: str) -> dict[str, bytes]:
    """The same run as made on another kind of machine; its files."""
    value = read_json(run / "result.json")
    write_json(run / "result.json", {**value, "digest": digest})
    return tree(run)


@pytest.mark.parametrize("into", ["c", "a"])
def test_the_same_run_with_another_digest_is_named_and_both_are_kept(
    tmp_path: Path, whole: Path, copies: tuple[Path, Path], into: str
):
    target, run = tmp_path / into, final_run(whole, BOP, 0).name
    other = with_digest(copies[1] / "runs" / run, "f" * 64)
    done = merged(target, *copies)
    aside = target / SET_ASIDE / "1" / "runs" / run
    (text,) = done.contradictions
    mine = read_json(whole / "runs" / run / "result.json")["digest"][:12]
    assert text == (
        f"runs/{run} has the digest {mine} in {copies[0]}, which is the record here, and {'f' * 12} in "
        f"{copies[1]}, which is now in {target / SET_ASIDE / '1'}"
    )
    assert tree(aside) == other and tree(target / "runs" / run) == tree(whole / "runs" / run)
    # No reader takes it for a record, and `verify` lists it.
    assert findings(target) == [f"note: {SET_ASIDE}/1/runs/{run}"]
    assert Observer(target).look().settled and not Observer(target).look().unplanned
    before = tree(target)
    assert merged(target, target, *copies).contradictions == [
        text.replace(f"in {copies[0]},", f"in {target},")
    ]
    assert tree(target) == before
    third = with_digest(copies[1] / "runs" / run, "e" * 64)
    merged(target, target, copies[1])
    assert tree(target / SET_ASIDE / "2" / "runs" / run) == third and tree(aside) == other


def test_a_damaged_run_is_never_the_record(tmp_path: Path, whole: Path, copies: tuple[Path, Path]):
    first, second, third = sorted(os.listdir(whole / "runs"))[:3]
    for folder, run in ((0, first), (1, second), (0, third), (1, third)):
        damage(copies[folder] / "runs" / run / "epochs.jsonl")
    damaged = [tree(copies[0] / "runs" / first), tree(copies[1] / "runs" / second)]
    done = merged(target := tmp_path / "c", *copies)
    files = [
        copies[n] / "runs" / run / "epochs.jsonl"
        for n, run in ((0, first), (0, third), (1, second), (1, third))
    ]
    assert sorted(text.split(" is damaged: ")[0] for text in done.contradictions) == list(map(str, files))
    assert [tree(target / SET_ASIDE / "1" / "runs" / run) for run in (first, second)] == damaged
    assert (target / SET_ASIDE / "1" / "runs" / third).exists() and not (target / "runs" / third).exists()
    for run in (first, second):
        assert tree(target / "runs" / run) == tree(whole / "runs" / run)
    # The same where the damaged run lies in the folder itself: the intact one takes its place.
    done = merged(copies[0], *copies)
    assert tree(copies[0] / "runs" / first) == tree(whole / "runs" / first)
    assert tree(copies[0] / SET_ASIDE / "1" / "runs" / first) == damaged[0]
    text = f"{copies[0] / 'runs' / first} is now in {copies[0] / SET_ASIDE / '1'}: the run of {copies[1]} is"
    assert f"{text} taken instead" in done.contradictions
    assert any(line.startswith(f"damaged: runs/{third}/") for line in findings(copies[0]))  # of nobody whole


def test_a_run_that_contradicts_its_ledger_is_not_taken(tmp_path: Path, copies: tuple[Path, Path]):
    """Each of its files is intact."""
    path = ExperimentFolder(copies[1]).ledger_path(BOP)
    value = read_json(path)
    entry = value["studies"][0]["tuning"][1]
    entry["hypers"]["gamma"] /= 2
    write_json(path, value)
    shutil.rmtree(copies[0] / "runs" / entry["run"])
    done = merged(target := tmp_path / "c", *copies)
    assert any(
        f"{copies[1]}/runs/{entry['run']}/trial.json is contra" in text for text in done.contradictions
    )
    assert not (target / "runs" / entry["run"]).exists()
    assert (target / SET_ASIDE / "1" / "runs" / entry["run"] / "result.json").exists()


def test_plans_that_differ_are_named_and_nothing_of_either_is_lost(
    tmp_path: Path, whole: Path, copies: tuple[Path, Path]
):
    """Each machine has a cell of its own: the plan of the first stays, and a sweep of both finds all runs."""
    drop(copies[0], ADAM)
    drop(copies[1], BOP)
    plan = (copies[1] / "plan.json").read_bytes()
    done = merged(target := tmp_path / "c" / "results", *copies)
    (text,) = done.contradictions
    assert text == (
        f"{target / 'plan.json'} and {copies[1] / 'plan.json'}, which is now in {target / SET_ASIDE / '1'}, "
        f"differ: the cell {BOP} is not in the new plan"
    )
    assert (target / SET_ASIDE / "1" / "plan.json").read_bytes() == plan
    assert (target / "plan.json").read_bytes() == (copies[0] / "plan.json").read_bytes()
    found = findings(target)
    assert f"note: cells/{ADAM}.json" in found and f"note: {SET_ASIDE}/1/plan.json" in found
    assert Verification(target).run().exit_code == 0
    results = {path: path.stat().st_ino for path in target.glob("runs/*/result.json")}
    swept(tmp_path / "c", *CHANGES)
    assert {path: path.stat().st_ino for path in target.glob("runs/*/result.json")} == results
    assert records_of(target) == records_of(whole)


def test_a_cell_that_is_planned_in_another_way(tmp_path: Path, copies: tuple[Path, Path]):
    plan = ExperimentFolder(copies[0]).plan()
    drop(copies[0], BOP)
    cells = [replace(c, trial=replace(c.trial, real_lr=0.5)) if c.cell == BOP else c for c in plan.cells]
    write_json(copies[0] / "plan.json", encode(replace(plan, cells=cells)))
    done = merged(target := tmp_path / "c", *copies)
    of_plan, of_cell = done.contradictions
    assert "real.lr is 0.5, in the new plan it is 0.01" in of_plan
    assert (
        f"{BOP}.json, which is now in {target / SET_ASIDE / '1'}, differ: the cell is planned in" in of_cell
    )
    assert (target / SET_ASIDE / "1" / "cells" / f"{BOP}.json").exists()
    assert not (target / "cells" / f"{BOP}.json").exists() and Verification(target).run().exit_code == 1


def test_ledgers_that_do_not_agree(tmp_path: Path, whole: Path, copies: tuple[Path, Path]):
    """The second one is kept aside; where it is damaged or missing on one side, the other is taken."""
    path = ExperimentFolder(copies[1]).ledger_path(BOP)
    value = read_json(path)
    value["studies"][0]["key"] = "another definition"
    write_json(path, value)
    other = path.read_bytes()
    damage(ExperimentFolder(copies[0]).ledger_path(ADAM))
    done = merged(target := tmp_path / "c", *copies)
    damaged, text = done.contradictions
    assert damaged.startswith(f"{copies[0] / 'cells' / ADAM}.json is damaged: ")
    assert text.startswith(
        f"{target / 'cells' / BOP}.json and {copies[1] / 'cells' / BOP}.json, which is now in "
    )
    assert text.endswith("random study 0: its draws are not those of the other ledger")
    assert (target / SET_ASIDE / "1" / "cells" / f"{BOP}.json").read_bytes() == other
    assert {n: c for n, c in tree(target).items() if not n.startswith(SET_ASIDE)} == tree(whole)
    merged(copies[0], *copies)  # in its own folder a damaged ledger is set aside as the sweep does it
    assert (copies[0] / "cells" / f"{ADAM}.json").read_bytes() == (
        whole / "cells" / f"{ADAM}.json"
    ).read_bytes()
    assert f"note: cells/{ADAM}.json.damaged" in findings(copies[0])


def test_a_winner_of_other_scores_is_chosen_again(tmp_path: Path, whole: Path, copies: tuple[Path, Path]):
    shutil.rmtree(copies[0] / "cells")
    (copies[0] / "cells").mkdir()
    path = ExperimentFolder(copies[1]).ledger_path(BOP)
    value = read_json(path)
    (study,) = value["studies"]
    wrong = 1 - study["winner"]["number"]
    study["winner"] |= {"number": wrong, "hypers": study["tuning"][wrong]["hypers"]}
    write_json(path, {**value, "studies": [{**study, "final": []}]})
    done = merged(target := tmp_path / "c" / "results", *copies)
    assert any(
        "is better on validation; the next sweep chooses it again" in text for text in done.contradictions
    )
    ledger = read_json(ExperimentFolder(target).ledger_path(BOP))
    assert ledger["studies"][0]["winner"] is None and Verification(target).run().exit_code < 2
    swept(tmp_path / "c", *CHANGES)
    assert records_of(target) == records_of(whole)


# ---- what is refused before anything is written


def changed_plan(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "plan.json"
        write_json(path, {**read_json(path), **changes})

    return change


def other_images(folder: Path) -> None:
    path = folder / "data" / "digits.json"
    write_json(path, {**read_json(path), "sha256": "another"})


def name_that_leads_elsewhere(folder: Path) -> None:
    """A sealed result, and a file that has the hash in it."""
    path = min((folder / "runs").iterdir()) / "result.json"
    (folder / "runs" / "elsewhere.json").write_text("{}")
    value = read_json(path)
    value["files"]["../elsewhere.json"] = hashlib.sha256(b"{}").hexdigest()
    write_json(path, value)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            name_that_leads_elsewhere,
            r"\.\./elsewhere.json is damaged: no record of flipbench has such a name",
        ),
        (
            changed_plan(experiment="other"),
            "a holds the experiment 'tiny[^']*', .*b 'other': only records of one",
        ),
        (changed_plan(protocol=PROTOCOL - 1), f"b: made under protocol {PROTOCOL - 1}, this flipbench has"),
        (
            other_images,
            "a/data/digits.json and .*b/data/digits.json: these runs were made on other images of digits",
        ),
    ],
)
def test_what_does_not_belong_together_is_refused(
    tmp_path: Path, copies: tuple[Path, Path], change: Callable[[Path], None], problem: str
):
    change(copies[1])
    before = tree(tmp_path)
    for target in (tmp_path / "c", copies[0]):
        with pytest.raises((UserError, DamagedRecord), match=problem):
            merged(target, *copies)
    assert tree(tmp_path) == before and not (tmp_path / "c").exists()


def test_where_somebody_works_nothing_is_merged(tmp_path: Path, copies: tuple[Path, Path]):
    with owned(copies[1]), pytest.raises(UserError, match="b: a sweep works in this folder"):
        merged(tmp_path / "c", *copies)
    with owned(tmp_path / "c"), pytest.raises(UserError, match="c: a sweep works in this folder"):
        merged(tmp_path / "c", *copies)
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "letter.txt").write_text("mine")
    with pytest.raises(UserError, match=r"d: it holds other things and no plan.json"):
        merged(tmp_path / "d", *copies)
    assert os.listdir(tmp_path / "c") == [".lock"] and os.listdir(tmp_path / "d") == ["letter.txt"]

"""A task's study from hand-made records: its numbers computed again from the files."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from report.analysis.differences import Difference
from report.analysis.ease import good_share
from report.analysis.gain import SAME_RUNS, welch
from report.analysis.judgement import Judgement
from report.analysis.study import MethodStudy, TaskStudy, default_of, gain_of_tuning, task_study
from report.analysis.study_frame import tuning_frame
from report.draw.styles import looks_of
from report.draw.tuning import tuning_drawings
from report.page.answer import notes
from report.page.gather import draws_needed
from report.read.experiment import read_records
from report.read.records import Records
from suite.records.experiment import ExperimentFolder
from suite.records.files import read_json, write_json
from suite.records.run import RunFolder
from suite.records.schema import Track
from tests.support.fake_records import TASKS, diverge, fail, remove, write_experiment
from tests.support.studies import study_of

METHODS = ("bop", "latent_adam", "latent_sgd")
BOTH = [Track(name="random", trials=8, studies=3), Track(name="tpe", trials=8, studies=3)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("both")
    return write_experiment(path, tasks=TASKS[:1], methods=METHODS, seeds=2, tracks=BOTH)


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    return read_records(folder)


@pytest.fixture(scope="module")
def study(records: Records) -> TaskStudy:
    return study_of(records)


def test_the_random_draws_of_a_method_count_for_its_other_track(study: TaskStudy) -> None:
    near = {row.cell.name: row.near.draws_needed[0] for row in study.methods if row.near}
    needed = {method: near[f"digits.mlp.{method}"] for method in METHODS}
    assert draws_needed({study.task: study}) == {
        (study.task, f"{method} ({track})"): needed[method]
        for method in METHODS
        for track in ("random", "tpe")
    }


def test_a_figure_takes_its_own_numbers_along(study: TaskStudy) -> None:
    ease, *budget = tuning_drawings(study, looks_of({row.method: "" for row in study.methods}))
    whole = tuning_frame([study])
    for drawing, kinds in zip([ease, *budget], ("share|draws needed", "best of"), strict=False):
        assert drawing.numbers is not None and len(drawing.numbers)
        pd.testing.assert_frame_equal(drawing.numbers, whole[whole["kind"].str.contains(kinds)])


def ledger(folder: Path, method: str) -> dict:  # pyright: ignore[reportMissingTypeArgument]
    return read_json(ExperimentFolder(folder).ledger_path(f"digits.mlp.{method}"))


def scores(folder: Path, runs: list[str], which: str) -> list[float]:
    results = [RunFolder(folder / "runs" / run).result() for run in runs]
    return [getattr(result.scores, which) for result in results if result]


def drawn(folder: Path, method: str) -> list[float]:
    """Validation scores of the random draws, without the published default."""
    studies = [each for each in ledger(folder, method)["studies"] if each["track"] == "random"]
    runs = [entry["run"] for each in studies for entry in each["tuning"] if entry["number"] != 0]
    return scores(folder, runs, "val_top1")


def settings(folder: Path) -> dict[str, list[str]]:
    """The final runs of every default and of every winner that is none."""
    found = {}
    for method in METHODS:
        content = ledger(folder, method)
        found[f"published default of {method}"] = [entry["run"] for entry in content["default"]]
        for each in content["studies"]:
            if each["winner"]["number"]:
                title = f"winner of study {each['number']} of {method} ({each['track']})"
                found[title] = [entry["run"] for entry in each["final"]]
    return found


def test_the_reference_is_the_best_setting_of_any_method_and_track(folder: Path, study: TaskStudy) -> None:
    means = {title: np.mean(scores(folder, runs, "val_top1")) for title, runs in settings(folder).items()}
    best = max(means, key=means.__getitem__)
    assert study.reference is not None
    assert (study.reference.setting.title, study.reference.validation) == (best, pytest.approx(means[best]))


def test_shares_are_those_of_the_random_draws_against_the_reference(folder: Path, study: TaskStudy) -> None:
    assert study.reference is not None
    for row in study.methods:
        if row.near is None or row.cell.track == "tpe":
            assert (row.near, row.shares, row.search.scores) == (None, (), [])
            continue
        values = drawn(folder, row.cell.planned.method)
        assert sorted(row.search.scores) == sorted(values) and len(values) == 21
        assert row.near == good_share(values, study.reference.validation, 0.01)
        good = sum(value >= study.reference.validation - 0.01 for value in values)
        assert (row.near.good, row.shares[0].delta, row.shares[-1].delta) == (good, 0.0025, 0.05)
    assert len(study.differences) == 3  # pairs of three methods; TPE takes no part
    first, *rest = study.competing
    assert set(study.behind(first.method)) == {row.method for row in rest}
    assert all(each.value >= 0 for each in study.behind(first.method).values())


def test_gain_and_regret_by_hand(folder: Path, study: TaskStudy) -> None:
    (row,) = (row for row in study.methods if row.method == "latent_sgd (random)")
    content = ledger(folder, "latent_sgd")
    default = scores(folder, [entry["run"] for entry in content["default"]], "test_top1")
    won = [
        scores(folder, [entry["run"] for entry in each["final"]], "test_top1")
        for each in content["studies"]
        if each["track"] == "random"
    ]
    assert row.gain == welch([float(np.mean(runs)) for runs in won], default)  # studies against runs
    assert (len(won), len(default), row.gain.provisional) == (3, 6, False)
    assert study.reference is not None
    best = scores(folder, settings(folder)[study.reference.setting.title], "test_top1")
    assert row.regret == welch(best, default)
    assert row.won_by_default == sum(
        each["winner"]["number"] == 0 for each in content["studies"] if each["track"] == "random"
    )


def one_study(path: Path, **given: object) -> TaskStudy:
    write_experiment(path, tasks=TASKS[:1], **given)  # pyright: ignore
    records = read_records(path)
    return study_of(records)


def test_of_one_study_the_unit_is_a_run_and_few_draws_carry_no_curve(tmp_path: Path) -> None:
    study = one_study(tmp_path, seeds=4, trials=8)
    row = next(row for row in study.methods if not row.won_by_default)
    content = ledger(tmp_path, row.method)
    finals = [entry["run"] for entry in content["studies"][0]["final"]]
    default = [entry["run"] for entry in content["default"]]
    assert row.gain == welch(*(scores(tmp_path, runs, "test_top1") for runs in (finals, default)))
    assert (len(row.search.scores), row.budget.carried, row.effects) == (7, 1, ())
    assert row.near is not None and row.near.high - row.near.low > 0.3


def test_where_the_default_won_the_gain_is_zero(tmp_path: Path) -> None:
    study = one_study(tmp_path, seeds=2, trials=1)
    for row in study.methods:
        assert (row.gain.value, row.gain.interval, row.won_by_default) == (0.0, None, 1)
        assert row.near is None and row.budget.draws == 0
    assert study.reference is not None
    regrets = {row.method: row.regret.value for row in study.methods}
    assert regrets.pop(study.reference.setting.method) == 0.0
    assert min(regrets.values()) > 0.0


def test_the_default_gains_nothing_where_another_track_has_more_studies(tmp_path: Path) -> None:
    tracks = [Track(name="random", trials=1, studies=2), replace(BOTH[1], studies=3)]
    first, *_ = one_study(tmp_path, seeds=2, tracks=tracks, methods=METHODS[:1]).methods
    assert (first.won_by_default, first.gain) == (2, SAME_RUNS)


def test_a_winner_whose_runs_are_lost_is_not_taken_for_the_default(tmp_path: Path) -> None:
    records = read_records(write_experiment(tmp_path, tasks=TASKS[:1], methods=METHODS[:1], seeds=2))
    default = default_of(records, records.cells[0])
    first, *others = default.runs
    assert gain_of_tuning([replace(first, result=None), *others], default).same_runs
    another = replace(first, run_id="another", result=None)
    assert not gain_of_tuning([*others, another], default).same_runs


def test_without_tuning_there_is_no_row(tmp_path: Path) -> None:
    study = one_study(tmp_path, seeds=2, trials=0)
    assert (study.methods, study.leader, study.differences) == ((), None, ())


@pytest.fixture
def small(tmp_path: Path) -> Path:
    tracks = [Track(name="random", trials=8, studies=2)]
    return write_experiment(tmp_path, tasks=TASKS[:1], methods=("bop", "latent_adam"), seeds=2, tracks=tracks)


def rows_of(folder: Path) -> tuple[TaskStudy, MethodStudy]:
    """The study, and the row of bop."""
    records = read_records(folder)
    study = study_of(records)
    return study, study.methods[0]


def a_bad_draw(folder: Path) -> Path:
    """The run of a draw of bop that won nothing."""
    first = ledger(folder, "bop")["studies"][0]
    runs = {entry["number"]: entry["run"] for entry in first["tuning"] if entry["number"]}
    worst = min(runs.values(), key=lambda run: scores(folder, [run], "val_top1"))
    assert worst != runs.get(first["winner"]["number"])
    return folder / "runs" / worst


def test_a_lost_draw_is_counted_and_never_good_news(small: Path) -> None:
    _, before = rows_of(small)
    fail(a_bad_draw(small))
    _, after = rows_of(small)
    assert before.near and after.near
    assert (after.search.missing, after.near.draws, after.near.missing) == (1, 13, 1)
    assert after.near.low <= before.near.low and after.near.high > before.near.high
    assert after.spent.finished == before.spent.finished - 1


def test_a_diverged_draw_is_a_bad_one(small: Path) -> None:
    diverge(a_bad_draw(small))
    _, row = rows_of(small)
    assert (row.spent.diverged, row.search.missing, min(row.search.scores)) == (1, 0, 0.1)


def test_a_setting_that_lost_a_run_is_no_reference(small: Path) -> None:
    study, _ = rows_of(small)
    assert study.reference is not None
    setting = study.reference.setting
    remove(small / "runs" / setting.runs[0].run_id)
    lost, _ = rows_of(small)
    assert lost.reference is not None and lost.reference.setting.title != setting.title
    assert (study.reference.incomplete, lost.reference.incomplete) == (0, 1)
    assert any(note.startswith("1 setting without all its final runs may be better") for note in notes(lost))
    (row,) = (row for row in lost.methods if row.method == setting.method)
    assert row.gain.provisional


def test_a_study_without_a_winner_yet_may_be_the_reference(small: Path) -> None:
    """All final runs that are named have a result, and still the best setting may be to come."""
    path = ExperimentFolder(small).ledger_path("digits.mlp.latent_adam")
    content = read_json(path)
    first = content["studies"][0]
    remove(small / "runs" / first["tuning"][-1]["run"])
    write_json(
        path, {**content, "studies": [{**first, "winner": None, "final": []}, *content["studies"][1:]]}
    )
    study, _ = rows_of(small)
    assert study.reference is not None and study.reference.incomplete == 1
    assert any(note.startswith("1 setting without all its final runs may be better") for note in notes(study))


def with_control(records: Records, method: str) -> Records:
    cards = {**records.plan.methods, method: replace(records.plan.methods[method], control=True)}
    return replace(records, plan=replace(records.plan, methods=cards))


def with_own(records: Records, *methods: str) -> Records:
    """The same records, as if the file of these methods were no part of the catalogue."""
    cells = []
    for cell in records.cells:
        plugin = "0" * 16 if cell.planned.method in methods else None
        trial = replace(cell.planned.trial, plugin=plugin)
        cells.append(replace(cell, planned=replace(cell.planned, trial=trial)))
    return replace(records, cells=cells)


def test_a_method_of_ones_own_is_measured_against_the_catalogue(records: Records, study: TaskStudy) -> None:
    assert study.reference is not None and study.reference.above is None
    best = study.reference.setting.method.split(" ")[0]
    own = study_of(with_own(records, best))
    assert own.reference is not None and own.reference.setting.method.split(" ")[0] != best
    assert own.reference.validation < study.reference.validation
    assert own.reference.above is not None and own.reference.above.title == study.reference.setting.title
    assert any(note.startswith(f"The {study.reference.setting.title} is better") for note in notes(own))
    (worst, *_) = (method for method in METHODS if method != best)
    same = study_of(with_own(records, worst)).reference
    assert same is not None and same.setting.title == study.reference.setting.title and same.above is None
    alone = study_of(with_own(records, *METHODS)).reference
    assert alone is not None and alone.setting.title == study.reference.setting.title


def test_a_control_is_shown_and_sets_no_reference(records: Records, study: TaskStudy) -> None:
    assert study.reference is not None
    best = study.reference.setting.method.split(" ")[0]
    without = with_control(records, best)
    found = study_of(without)
    assert found.reference is not None and not found.reference.setting.method.startswith(best)
    assert len(found.methods) == 6 and len(found.competing) == 2
    assert all(best not in (each.first, each.second) for each in found.differences)
    assert all((row.order is None) for row in found.methods if row.control)
    assert any(row.order for row in found.methods)


def test_more_studies_make_no_leader(tmp_path: Path) -> None:
    """Of more draws the best one is better by chance: the order rests on the studies that every row has."""
    three, five = (
        write_experiment(
            tmp_path / name, tasks=TASKS[:1], methods=METHODS, seeds=2, tracks=BOTH[:1], studies=studies
        )
        for name, studies in (("three", {}), ("five", {"bop": 5}))
    )
    records = ExperimentFolder(five)
    plan = records.plan()
    ledger = read_json(records.ledger_path(plan.cells[0].cell))
    for of_study in ledger["studies"][3:]:  # the best draw of all, which wins
        draw = of_study["tuning"][1]
        of_study["winner"] = {"number": 1, "value": 0.99, "hypers": draw["hypers"]}
        path = records.run(draw["run"]).path / "result.json"
        result = read_json(path)
        write_json(path, {**result, "scores": {**result["scores"], "val_top1": 0.99}})
    write_json(records.ledger_path(plan.cells[0].cell), ledger)
    equal, more = study_of(read_records(three)), study_of(read_records(five))
    assert more.leader == equal.leader
    assert [row.order for row in more.methods] == [row.order for row in equal.methods]
    assert [len(row.search.scores) for row in more.methods] == [35, 21, 21]


def test_the_order_is_tried_again_against_the_best_draw(study: TaskStudy) -> None:
    best = {row.method: max(row.search.scores) for row in study.methods if row.search.scores}
    assert study.leader == max(best, key=best.__getitem__)
    assert {row.method for row in study.methods if row.order} == best.keys() - {study.leader}


def test_tracks_are_compared_by_the_judgement_of_their_winners(records: Records) -> None:
    pair = Difference("bop (random)", "bop (tpe)", -0.02, 0.004, 8.0, 6)
    judgement = Judgement(methods=(), best=None, pairs=(pair,), competing=6, unit="study", conditional=False)
    found = {each.method: each for each in task_study(records, records.tasks[0], judgement).tracks}
    difference = found["bop"].difference
    assert difference is not None and (difference.first, difference.value) == ("bop (tpe)", 0.02)
    assert difference.interval.low == pytest.approx(0.02 - 2.306004 * 0.004)  # t of 8, for this pair alone
    assert found["latent_adam"].difference is None
    uneven = replace(records.plan.tuning, tracks=[replace(BOTH[0], trials=9), BOTH[1]])
    other = replace(records, plan=replace(records.plan, tuning=uneven))
    assert all(each.difference is None for each in task_study(other, other.tasks[0], judgement).tracks)


@pytest.mark.parametrize("studies", [1, 3])
def test_tracks_of_one_study_or_with_a_lost_run_are_not_compared(tmp_path: Path, studies: int) -> None:
    tracks = [replace(track, studies=studies) for track in BOTH]
    write_experiment(tmp_path, tasks=TASKS[:1], methods=METHODS[:2], seeds=3, tracks=tracks)
    first, second = study_of(read_records(tmp_path)).tracks
    assert [first.difference is None, second.difference is None] == [studies == 1] * 2
    finals = ledger(tmp_path, "bop")["studies"][-1]["final"]
    fail(tmp_path / "runs" / finals[0]["run"])
    lost, other = study_of(read_records(tmp_path)).tracks
    assert lost.difference is None and (other.difference is None) == (studies == 1)


def test_every_number_of_the_file_is_one_of_the_study(study: TaskStudy) -> None:
    frame = tuning_frame([study])
    row = next(row for row in study.methods if row.method == "bop (random)")
    mine = frame[frame["method"] == "bop (random)"]
    assert row.near is not None
    at_one = mine[(mine["kind"] == "share within") & (mine["at"] == 0.01)].iloc[0]
    assert (at_one["value"], at_one["lower"], at_one["upper"], at_one["draws"]) == (
        row.near.share,
        row.near.low,
        row.near.high,
        21,
    )
    best = mine[mine["kind"] == "best of"].set_index("at")
    assert best["value"].tolist() == row.budget.median.tolist()
    assert best["lower"].notna().sum() == row.budget.carried == 3
    assert mine[mine["kind"] == "gain"]["value"].item() == row.gain.value
    kinds = set(frame[frame["method"] == "bop (tpe)"]["kind"])
    assert kinds == {"gain", "regret"}

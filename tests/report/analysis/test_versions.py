"""Two versions of an experiment: a reading for every row, whatever happened to its runs."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from report.analysis.versions import compare_versions
from report.page.versions import Versions
from report.read.experiment import read_records
from suite.records.experiment import ExperimentFolder
from suite.records.run import RunFolder
from suite.records.schema import Track
from tests.support.fake_records import (
    TASKS,
    diverge,
    fail,
    final_run,
    result_of,
    score,
    write_experiment,
    write_plan,
)

TWO = ("bop", "latent_adam")


def test_every_row_has_a_reading(tmp_path: Path) -> None:
    """The same runs with the same scores, and with others; a row that only one of the two has."""
    three = (*TWO, "bop_second_order")
    first = write_experiment(tmp_path / "first", tasks=TASKS[:1], methods=three)
    second = tmp_path / "second"
    shutil.copytree(first, second)
    for number in range(5):
        diverge(final_run(second, "digits.mlp.bop_second_order", number))
    plan = ExperimentFolder(second).plan()
    renamed = [replace(cell, method="adam") if cell.method == TWO[1] else cell for cell in plan.cells]
    write_plan(second, replace(plan, cells=renamed, methods={**plan.methods, "adam": plan.methods[TWO[1]]}))
    one, other = read_records(first), read_records(second)
    assert {row.method: row.reading for row in compare_versions(one, other)} == {
        "bop": "the same runs",
        "bop_second_order": "lower",
        "latent_adam": "only in the first",
        "adam": "only in the second",
    }


def test_a_second_track_leaves_the_first_one_what_it_was(tmp_path: Path) -> None:
    first = write_experiment(tmp_path / "first", tasks=TASKS[:1], methods=TWO)
    shutil.copytree(first, tmp_path / "second")
    plan = ExperimentFolder(first).plan()
    tracks = [*plan.tuning.tracks, Track(name="tpe", trials=plan.tuning.tracks[0].trials, at_once=4)]
    write_plan(tmp_path / "second", replace(plan, tuning=replace(plan.tuning, tracks=tracks)))
    one, other = read_records(first), read_records(tmp_path / "second")
    for before, after, only in ((one, other, "second"), (other, one, "first")):
        assert {row.method: row.reading for row in compare_versions(before, after)} == {
            "bop (random)": "the same runs",
            "bop (tpe)": f"only in the {only}",
            "latent_adam (random)": "the same runs",
            "latent_adam (tpe)": f"only in the {only}",
        }


def test_two_experiments_without_a_common_row_say_so(tmp_path: Path) -> None:
    one, other = (
        read_records(write_experiment(tmp_path / name, tasks=TASKS[:1], methods=(name,)))
        for name in ("bop", "latent_adam")
    )
    title = Versions(one, other, compare_versions(one, other)).table.title
    assert str(title).startswith("no row has runs in both")


def test_a_change_is_shown_with_an_interval_for_all_rows_at_once(tmp_path: Path) -> None:
    """Other seeds are other runs. The level is that of two compared rows."""
    first = read_records(write_experiment(tmp_path / "first", tasks=TASKS[:1], methods=TWO))
    other = write_experiment(tmp_path / "other", tasks=TASKS[:1], methods=TWO, seeds=4)
    for number in range(4):
        diverge(final_run(other, "digits.mlp.bop", number))
    versions = Versions(first, read_records(other), compare_versions(first, read_records(other)))
    bop, adam = versions.rows
    values = [score("digits", "bop", 0, number) for number in range(5)]
    low, high = stats.t.interval(0.975, 4, 0.1 - np.mean(values), stats.sem(values))  # the other is constant
    assert bop.interval is not None and bop.reading == "lower"
    assert (bop.interval.low, bop.interval.high) == pytest.approx((low, high))
    assert bop.difference == pytest.approx(0.1 - np.mean(values))
    assert adam.reading == "no change shown"
    assert versions.json["rows"][0]["high"] == bop.interval.high
    assert versions.table.title is not None and "1 of 2 rows changed" in str(versions.table.title)


@pytest.mark.parametrize(("studies", "units", "reading"), [(2, 2, "too few"), (3, 3, "no change shown")])
def test_runs_of_several_studies_are_never_units(
    tmp_path: Path, studies: int, units: int, reading: str
) -> None:
    """The scores of two experiments on other seeds; every row has 10 runs or more."""
    made = [
        write_experiment(
            tmp_path / name,
            tasks=TASKS[:1],
            methods=("bop",),
            seeds=seeds,
            tracks=[Track(name="random", trials=8, studies=studies)],
        )
        for name, seeds in (("first", 5), ("second", 6))
    ]
    first, second = map(read_records, made)
    (row,) = compare_versions(first, second)
    assert (row.first_units, row.second_units) == (units, units)
    assert row.reading.startswith(reading)
    assert "one draw" not in str(Versions(first, second, [row]).table.title)


def test_a_lost_run_shows_no_change_and_one_draw_is_said(tmp_path: Path) -> None:
    first = read_records(write_experiment(tmp_path / "first", tasks=TASKS[:1], methods=TWO))
    other = write_experiment(tmp_path / "other", tasks=TASKS[:1], methods=TWO, seeds=6)
    for number in range(5):
        diverge(final_run(other, "digits.mlp.bop", number))
    fail(final_run(other, "digits.mlp.bop", 5))
    second = read_records(other)
    rows = compare_versions(first, second)
    assert (rows[0].reading, rows[0].interval) == ("runs are missing", None)
    table = Versions(first, second, rows).table
    assert "0 of 2 rows changed, given one draw of the tuning" in str(table.title)
    few = read_records(write_experiment(tmp_path / "few", tasks=TASKS[:1], methods=TWO, seeds=2))
    assert {row.reading for row in compare_versions(first, few)} == {"too few runs or studies"}


def test_rows_that_do_not_vary_have_no_verdict(tmp_path: Path) -> None:
    """As where all runs have diverged and count at chance: two constants differ, and show nothing."""
    first = write_experiment(tmp_path / "first", tasks=TASKS[:1], methods=TWO)
    second = tmp_path / "second"
    shutil.copytree(first, second)
    for number in range(5):
        diverge(final_run(first, "digits.mlp.bop", number))
        diverge(run := final_run(second, "digits.mlp.bop", number))
        result = result_of(run)
        scores = replace(result.scores, test_top1=0.2)
        record = RunFolder(run)
        record.finish(replace(result, scores=scores), record.epochs(result), record.flips(result))
    rows = {row.method: row for row in compare_versions(read_records(first), read_records(second))}
    assert rows["bop"].reading == "no run varies" and rows["bop"].interval is None
    assert rows["bop"].difference == pytest.approx(0.1)

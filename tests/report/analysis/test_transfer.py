"""Other tasks' winners in the report: numbers computed again from the files, words, figure, gaps."""

import math
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from report.analysis.frames import runs_frame
from report.analysis.gain import SAME_RUNS, Gain
from report.analysis.intervals import Interval
from report.analysis.transfer import Transfer, difference, transfer_frame, transfers_of
from report.build import build_report, study_tuning, write_figure
from report.draw.styles import looks_of
from report.draw.transfer import limits, transfer_drawing
from report.export.tables import Tables
from report.page.transfer import sentences, transfer_pages, transfer_table
from report.read.experiment import read_records
from report.read.records import Records
from suite.records.experiment import ExperimentFolder
from suite.records.files import read_json, write_json
from tests.support.tiny import tiny_plan
from tests.support.transfers import transfer_sweep


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return transfer_sweep(tmp_path_factory.mktemp("moved"))


@pytest.fixture(scope="module")
def records(folder: Path) -> Records:
    return read_records(folder)


def scores(folder: Path, runs: list[str]) -> list[float]:
    results = [ExperimentFolder(folder).run(run).result() for run in runs]
    return [each.scores.test_top1 for each in results if each and each.scores.test_top1 is not None]


def test_means_and_intervals_by_hand(folder: Path, records: Records) -> None:
    experiment = ExperimentFolder(folder)
    plan = experiment.plan()
    task = records.tasks[1]
    found = transfers_of(records, task)
    assert [(each.method, each.source.model) for each in found] == [("bop", "mlp"), ("latent-adam", "mlp")]
    for each in found:
        ledger = experiment.ledger(each.cell.planned, plan)
        own = [scores(folder, [final.run for final in study.final]) for study in ledger.studies]
        moved = [scores(folder, [final.run for final in entry.final]) for entry in ledger.transfer]
        default = scores(folder, [entry.run for entry in ledger.default])
        assert each.own == pytest.approx(np.mean(own)) and each.moved == pytest.approx(np.mean(moved))
        assert each.default == pytest.approx(np.mean(default)) and each.scored == len(each.runs) == 4
        for got, units, others in (
            (each.over_own, np.mean(moved, axis=1), np.mean(own, axis=1)),
            (each.over_default, np.mean(moved, axis=1), default),
        ):
            if got.same_runs:
                assert got.value == 0 and np.mean(units) == pytest.approx(np.mean(others))
                continue
            assert got.value == pytest.approx(np.mean(units) - np.mean(others))
            if got.interval is None:
                assert not np.ptp(units) and not np.ptp(others)
                continue
            test = stats.ttest_ind(units, others, equal_var=False).confidence_interval(0.95)
            assert (got.interval.low, got.interval.high) == pytest.approx((test.low, test.high))
            assert got.few and got.shown is None  # two studies carry no verdict


def test_they_are_no_runs_of_their_row_and_no_curve_of_theirs_is_drawn(records: Records) -> None:
    for cell in records.cells:
        assert not {run.phase for run in records.runs_of(cell)} & {"transfer"}
        assert all(run.curves is None and not run.correct for run in records.transfers(cell))


def test_the_same_setting_is_no_difference(records: Records) -> None:
    runs = records.finals(records.cells[0])
    assert difference(runs, list(reversed(runs))) == SAME_RUNS
    assert math.isnan(difference([], runs).value)
    lost = replace(runs[0], result=None)
    assert difference([lost, *runs[1:]], runs) == replace(SAME_RUNS, provisional=True)
    # A run that is lost, or not known yet, may be of another setting.
    for name in ("another", ""):
        assert not difference([*runs[1:], replace(lost, run_id=name)], runs).same_runs
    unknown = [*runs[1:], replace(lost, run_id="")]
    assert not difference(unknown, unknown).same_runs


def test_a_missing_run_is_no_number_and_is_named(tmp_path: Path, folder: Path) -> None:
    shutil.copytree(folder, tmp_path / "results")
    experiment = ExperimentFolder(tmp_path / "results")
    plan = experiment.plan()
    ledger = experiment.ledger(plan.cells[0], plan)
    elsewhere = {
        each.run for study in ledger.studies for each in study.final
    } | {each.run for each in ledger.default}  # fmt: skip
    lost = [f.run for entry in ledger.transfer for f in entry.final if f.run not in elsewhere]
    if not lost:  # the winners are the same: lose a run of both
        lost = [ledger.transfer[0].final[0].run]
    (experiment.run(lost[0]).path / "result.json").unlink()
    records = read_records(tmp_path / "results")
    first = transfers_of(records, records.tasks[0])[0]
    assert first.scored == 3 and first.over_own.provisional and first.over_default.provisional
    build_report(tmp_path / "results")
    page = (tmp_path / "results" / "report" / "report.md").read_text()
    assert "with settings of digits \u00d7 wide, these have no result: 1 of 4 of bop." in page
    assert "| 3 / 4 |" in page and "transfer runs are not in" not in page  # no caveat of the comparison


def test_the_tables_say_whose_winner_a_run_trains(folder: Path, records: Records, tmp_path: Path) -> None:
    frame = runs_frame(records)
    moved = frame[frame.phase == "transfer"]
    assert len(moved) == 16 and set(moved.source) == {"digits.mlp", "digits.wide"}
    assert frame[frame.phase != "transfer"].source.isna().all()
    tables = Tables(records)
    exported = [row for run in records.runs for row in tables.rows(replace(run, curves=None), [])["runs"]]
    assert [row["source"] for row in exported if row["phase"] == "transfer"] == list(moved.source)
    plain = tiny_plan(tmp_path, "seeds=1").record
    assert "source" not in runs_frame(replace(records, plan=replace(records.plan, tuning=plain.tuning)))
    rows = transfer_frame(row for task in records.tasks for row in transfers_of(records, task))
    assert list(rows.source) == ["digits.wide"] * 2 + ["digits.mlp"] * 2 and (rows.runs == 4).all()


def test_the_report_asks_whether_a_setting_carries_over(folder: Path, tmp_path: Path) -> None:
    page = build_report(folder, target=tmp_path / "report").read_text()
    assert page.count('<section id="transfer">') == 1 and '<a href="#transfer">Transfer</a>' in page
    assert {"transfer.csv", "transfer.tex", "transfer-digits.mlp.svg", "transfer-digits.wide.svg"} <= {
        path.name for path in (tmp_path / "report").iterdir()
    }
    text = (tmp_path / "report" / "report.md").read_text()
    assert "## Does a setting carry over?" in text
    written = pd.read_csv(tmp_path / "report" / "transfer.csv")
    write_figure(folder, "transfer-digits.mlp", tmp_path / "figure.csv", pytest.fail)
    assert len(pd.read_csv(tmp_path / "figure.csv")) == 2 < len(written) == 4
    (first, _) = study_tuning(folder)
    assert first.as_json()["transfer"][0]["source"] == "digits.wide"


def made(records: Records, method: str, moved: float, own: Gain, default: Gain) -> Transfer:
    """A row with these numbers: its own winners reach 0.9, its default 0.8."""
    (cell, *_) = [cell for cell in records.cells if cell.method == method]
    (runs, *_) = [each.runs for each in transfers_of(records, cell.task) if each.method == method]
    return Transfer(cell, records.tasks[1], runs, moved, 0.9, 0.8, own, default)


def test_each_reading_stands_in_its_sentence(records: Records) -> None:
    worse, better = Gain(-0.02, Interval(-0.03, -0.01)), Gain(0.08, Interval(0.07, 0.09))
    open_, few = Gain(0.001, Interval(-0.01, 0.012)), Gain(0.02, Interval(0.01, 0.03), few=True)
    rows = [made(records, "bop", 0.88, worse, better), made(records, "latent-adam", 0.901, open_, few)]
    assert sentences(rows) == [
        "Settings tuned on digits \u00d7 wide against those tuned here, in points on test, each for itself: "
        "worse is bop \u22122.00 [\u22123.00, \u22121.00]; not separated is latent-adam +0.10 "
        "[\u22121.00, +1.20].",
        "Settings tuned on digits \u00d7 wide against the published default, in the same way: better is bop "
        "+8.00 [+7.00, +9.00]; with too few units for a verdict: latent-adam +2.00 [+1.00, +3.00].",
    ]
    alone = [replace(rows[0], runs=tuple(run for run in rows[0].runs if run.place.study == 0)), rows[1]]
    assert all(", given one draw of the tuning: " in text for text in sentences(alone))


def test_what_is_not_there_is_a_dash_and_no_number(records: Records) -> None:
    nothing, gain = Gain(math.nan, None), Gain(0.08, Interval(0.07, 0.09))
    rows = [made(records, "bop", 0.88, nothing, gain), made(records, "latent-adam", 0.9, SAME_RUNS, nothing)]
    assert sentences(rows) == [
        "Settings tuned on digits \u00d7 wide against those tuned here, in points on test, each for itself: "
        "not separated is latent-adam 0 (the same setting).",
        "Settings tuned on digits \u00d7 wide against the published default, in the same way: better is bop "
        "+8.00 [+7.00, +9.00].",
    ]
    table = transfer_table(rows)
    assert [row[5:7] for row in table.rows] == [
        ["\u2014", "+8.00 [+7.00, +9.00]"],
        ["0 (the same setting)", "\u2014"],
    ]
    drawing = transfer_drawing(records.tasks[0], [replace(rows[0], own=math.nan)], looks_of({"bop": ""}))
    assert drawing is not None and "nan" not in drawing.svg + drawing.label


def test_diverged_runs_and_runs_without_a_result_are_named(records: Records) -> None:
    gain = Gain(0.0, Interval(-0.01, 0.01))
    row = made(records, "bop", 0.88, gain, gain)
    first, second, *others = row.runs
    row = replace(row, runs=(replace(first, status="diverged"), replace(second, result=None), *others))
    assert sentences([row])[2:] == [
        "Of the runs with settings of digits \u00d7 wide, these have diverged and count at the level of "
        "chance: 1 of 4 of bop.",
        "Of the runs with settings of digits \u00d7 wide, these have no result: 1 of 4 of bop.",
    ]
    table = transfer_table([row])
    assert table.rows[0][7:] == ["3 / 4", "1"] and table.warn == {(0, 7), (0, 8)}
    assert transfer_frame([row]).diverged.tolist() == [1]


def test_controls_have_no_part_in_it_and_the_numbers_are_there_all_the_same(
    tmp_path: Path, folder: Path
) -> None:
    shutil.copytree(folder, tmp_path / "results")
    plan = read_json(tmp_path / "results" / "plan.json")
    for card in plan["methods"].values():
        card["control"] = True
    write_json(tmp_path / "results" / "plan.json", plan)
    page = build_report(tmp_path / "results").read_text()
    assert '<section id="transfer">' not in page
    assert len(pd.read_csv(tmp_path / "results" / "report" / "transfer.csv")) == 0


def test_a_setting_that_fails_is_named_at_the_edge(records: Records) -> None:
    gain = Gain(-0.015, None)
    looks = looks_of({"bop": "", "latent-adam": ""})
    rows = [
        made(records, "bop", 0.88, gain, gain),
        made(records, "latent-adam", 0.1, gain, gain),
        made(records, "bop", 0.89, gain, gain),
    ]
    low, high = limits(rows)
    assert 10 < low < 80 and 90 < high < 92
    drawing = transfer_drawing(records.tasks[0], rows, looks)
    assert drawing is not None and "◂ 10.0<" in drawing.svg and "◂: further to the left." in drawing.caption
    assert "\u22121.50" in drawing.svg  # what is lost, as the table has it
    poor = [rows[0], replace(rows[1], moved=0.89, default=0.1), rows[2]]
    beyond = transfer_drawing(records.tasks[0], poor, looks)
    assert beyond is not None and "◂ default 10.0<" in beyond.svg and "further to the left" in beyond.caption
    assert "◂" not in transfer_drawing(records.tasks[0], rows[::2], looks).caption  # pyright: ignore
    assert transfer_drawing(records.tasks[0], [replace(rows[0], moved=math.nan)], looks) is None
    (page, _) = transfer_pages(records, looks)
    assert [row[:2] for row in page.table.rows] == [[m, "digits \u00d7 wide"] for m in ("bop", "latent-adam")]

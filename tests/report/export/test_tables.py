"""The tables of an export, against the files of the records and the columns in docs/records.md."""

import csv
import json
import os
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from report.export import write
from report.export.tables import HYPER, PROBE, Tables, cell, type_of
from report.export.tensorboard import FILE
from report.export.write import EVENTS, export_records
from report.read.experiment import read_records
from report.read.records import RunRecord
from report.read.run import read_epochs
from suite.records.experiment import ExperimentFolder
from suite.records.files import WriteError, read_json
from suite.records.schema import EpochLine, Track
from suite.records.seeds import final_seed, tuning_seed
from tests.support.fake_records import (
    EPOCHS,
    STEPS_PER_EPOCH,
    TASKS,
    damage,
    final_run,
    remove,
    spoil,
    write_experiment,
    write_plan,
)
from tests.support.paths import ROOT

BOP, ADAM = "digits.mlp.bop", "digits.mlp.latent_adam"
TEXTS = {"layer": str, "run": str}


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 4 methods one final run has diverged, one has failed, one is missing and one is damaged."""
    tracks = [Track(name="random", trials=2, studies=2), Track(name="tpe", trials=2, at_once=1)]
    place = tmp_path_factory.mktemp("export") / "x"
    return spoil(write_experiment(place, tasks=TASKS[:1], seeds=4, tracks=tracks))


@pytest.fixture(scope="module")
def frames(records: Path) -> dict[str, pd.DataFrame]:
    target = records.parent / "export"
    target.mkdir()
    problems: list[str] = []
    written = export_records(records, target, ["csv"], problems.append)
    assert written == [target / f"{name}.csv" for name in ("runs", "epochs", "layers")]
    assert sorted(os.listdir(target)) == ["epochs.csv", "layers.csv", "runs.csv"]
    (problem,) = problems
    assert problem.startswith(f"runs/{final_run(records, ADAM, 3).name}/result.json: ")
    return {path.stem: pd.read_csv(path, dtype=TEXTS) for path in written}


def test_every_planned_run_has_a_row(records: Path, frames: dict[str, pd.DataFrame]) -> None:
    runs = frames["runs"]
    keys = ["cell", "phase", "track", "study", "number", "source"]
    planned = [(c.cell, *p) for plan in [ExperimentFolder(records).plan()] for c in plan.cells
               for p in plan.tuning.places(plan.seeds, c.task)]  # fmt: skip
    found = runs[keys].astype(object).where(runs[keys].notna(), None)
    assert list(found.itertuples(index=False, name=None)) == planned and len(planned) == 4 * (6 + 12 + 8)
    unlike_done = runs[runs.status != "done"]
    assert dict(zip(unlike_done.method, unlike_done.status, strict=True)) == {
        "bop": "failed",
        "bop_second_order": "missing",
        "latent_adam": "damaged",
        "latent_sgd": "diverged",
    }
    assert set(unlike_done.failure.dropna()) == {"error"}
    without = runs[runs.status.isin(["failed", "missing", "damaged"])]
    assert without[["val_top1", "test_top1", "epochs", "seconds"]].isna().all(axis=None)
    assert without.reason.notna().all() and runs[runs.status == "done"].reason.isna().all()


def test_a_row_holds_what_the_files_hold(records: Path, frames: dict[str, pd.DataFrame]) -> None:
    ledger = read_json(ExperimentFolder(records).ledger_path(BOP))
    study = ledger["studies"][2]
    (row,) = (
        frames["runs"]
        .query(f"cell == {BOP!r} and phase == 'tuning' and track == 'tpe' and number == 1")
        .to_dict("records")
    )
    result = read_json(records / "runs" / study["tuning"][1]["run"] / "result.json")
    assert (row["run"], row["data"], row["model"], row["label"]) == (result["run"], "digits", "mlp", "bop")
    assert row["seed"] == tuning_seed(0, BOP, "tpe", 0)
    hypers = study["tuning"][1]["hypers"]
    assert {name: row[HYPER + name] for name in hypers} == hypers
    assert pd.isna(row["hypers.sigma"]) and pd.isna(row["test_top1"]) and not row["published_default"]
    assert [row[name] for name in ("val_top1", "seconds", "epochs")] == [
        result["scores"]["val_top1"], result["seconds"], EPOCHS,
    ]  # fmt: skip
    assert row["device_name"] == "An imaginary CPU @ 2.0 GHz" and "secret" not in str(row)
    finals = frames["runs"].query("phase != 'tuning' and study == 1 and number == 3")
    assert set(finals.seed) == {final_seed(0, 1, 3)} and len(finals) == 8


def test_a_schedule_counts_by_its_start(frames: dict[str, pd.DataFrame]) -> None:
    """The real parameters of latent_adam have a cosine from 0.01; the column stays one of numbers."""
    runs = frames["runs"]
    assert (runs[runs.cell == ADAM]["hypers.real.lr"] == 0.01).all()


def test_the_epochs_and_layers_of_a_run(records: Path, frames: dict[str, pd.DataFrame]) -> None:
    """Of a tuning run, whose curves the report does not show, and of a final one."""
    ledger = read_json(ExperimentFolder(records).ledger_path(ADAM))
    tuning, final = ledger["studies"][0]["tuning"][1]["run"], ledger["studies"][1]["final"][0]["run"]
    for run in (tuning, final):
        lines = [
            json.loads(line) for line in (records / "runs" / run / "epochs.jsonl").read_text().splitlines()
        ]
        layers = read_json(records / "runs" / run / "result.json")["layers"]
        weights = sum(layer["weights"] for layer in layers)
        rows = frames["epochs"].query(f"run == {run!r}").drop_duplicates("epoch")
        assert len(rows) == len(lines) == EPOCHS
        for (_, row), line in zip(rows.iterrows(), lines, strict=True):
            same = ("epoch", "step", "train_loss", "val_top1", "val_top5", "train_seconds", "seconds")
            assert [row[name] for name in same] == [line[name] for name in same]
            assert row["flips"] == sum(line["flips"]["flips"])
            assert row["undone_5"] == sum(line["flips"]["undone_5"])
            assert row["flip_rate"] == row["flips"] / (weights * STEPS_PER_EPOCH)
            assert row["distance"] == pytest.approx(sum(line["flips"]["distance"]) / weights)
        assert rows.pi.isna().all() == (run == tuning)
        rows = frames["layers"].query(f"run == {run!r} and epoch == 7").drop_duplicates("layer")
        flips = lines[6]["flips"]
        for at, (_, row) in enumerate(rows.iterrows()):
            of = layers[at]["weights"]
            assert (row["layer"], row["weights"], row["step"]) == (
                layers[at]["name"],
                of,
                7 * STEPS_PER_EPOCH,
            )
            assert [row["flips"], row["undone_2"]] == [flips["flips"][at], flips["undone_2"][at]]
            assert row["flip_rate"] == flips["flips"][at] / (of * STEPS_PER_EPOCH)
            assert [row["never"], row["distance"]] == [flips["never"][at] / of, flips["distance"][at] / of]
        assert len(rows) == len(layers)


def test_the_curves_of_exactly_the_runs_with_a_result(frames: dict[str, pd.DataFrame]) -> None:
    runs, keys = frames["runs"], ["cell", "phase", "track", "study", "number", "status"]
    scored = runs[runs.val_top1.notna()]
    counts = frames["epochs"].groupby(keys, dropna=False).size().rename("n").reset_index()
    merged = scored.merge(counts, on=keys, how="outer")
    assert (merged.n == merged.epochs).all()
    assert set(merged.loc[merged.status == "diverged", "n"]) == {117 // STEPS_PER_EPOCH}


def test_a_damaged_curve_of_a_tuning_run_is_no_row(tmp_path: Path) -> None:
    """The report does not read it: here its run is damaged in every table."""
    folder = write_experiment(tmp_path / "x", tasks=TASKS[:1], methods=("bop",), seeds=1, trials=2)
    ledger = read_json(ExperimentFolder(folder).ledger_path(BOP))
    run = ledger["studies"][0]["tuning"][1]["run"]
    damage(folder / "runs" / run / "epochs.jsonl")
    problems: list[str] = []
    export_records(folder, tmp_path, ["csv"], problems.append)
    assert problems == [f"runs/{run}/epochs.jsonl: its content does not match the checksum in result.json"]
    row = pd.read_csv(tmp_path / "runs.csv").query(f"run == {run!r}").iloc[0]
    assert row["status"] == "damaged" and pd.isna(row["val_top1"]) and row["reason"] == problems[0]
    assert run not in set(pd.read_csv(tmp_path / "epochs.csv").run)


def test_nothing_was_drawn_and_everything_is_planned(tmp_path: Path) -> None:
    folder = write_experiment(tmp_path / "x", tasks=TASKS[:1], methods=("bop",), seeds=1, trials=2)
    for path in (folder / "runs").iterdir():
        remove(path)
    ExperimentFolder(folder).ledger_path(BOP).unlink()
    plan = ExperimentFolder(folder).plan()
    named = [replace(planned, method="fast") for planned in plan.cells]  # as the experiment calls it
    write_plan(folder, replace(plan, methods={"fast": plan.methods["bop"]}, cells=named))
    export_records(folder, tmp_path, ["csv"])
    rows = list(csv.DictReader((tmp_path / "runs.csv").read_text().splitlines()))
    assert {(row["method"], row["label"]) for row in rows} == {("bop", "fast")}
    assert [(row["status"], row["run"], row["hypers.gamma"]) for row in rows] == [("missing", "", "")] * 4
    assert len((tmp_path / "layers.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    ("values", "kind", "cells"),
    [
        ([1, None, 3], int, [1, None, 3]),
        ([1, 0.5], float, [1.0, 0.5]),
        ([True, False], bool, [True, False]),
        ([True, 1], str, ["true", "1"]),
        (["ste", 0.5, None], str, ["ste", "0.5", None]),
        ([2**63, 1], str, [str(2**63), "1"]),
        ([None], str, [None]),
    ],
)
def test_a_column_has_one_type(values: list[Any], kind: type, cells: list[Any]) -> None:
    assert type_of(values) is kind
    found = [cell(value, kind) for value in values]
    assert found == cells and all(type(value) is kind for value in found if value is not None)


def test_what_probes_found_has_a_column_for_each_key(records: Path) -> None:
    whole = read_records(records)
    one, other, plain = [replace(run, curves=None) for run in whole.runs if run.result][:3]
    assert one.result and other.result
    first = {"signs": {"weights": "ab"}, "reestimate": {"val_top1.kept": 0.5, "mixed": 1.0}}
    one = replace(one, result=replace(one.result, probes=first))
    other = replace(other, result=replace(other.result, probes={"reestimate": {"mixed": "x", "new": 2.0}}))
    tables = Tables(replace(whole, runs=[one, other, plain]))
    columns = {name: kind for name, kind in tables.columns["runs"].items() if name.startswith(PROBE)}
    assert columns == {
        "probe.signs.weights": str,
        "probe.reestimate.val_top1.kept": float,
        "probe.reestimate.mixed": str,
        "probe.reestimate.new": float,
    }
    rows = [tables.rows(run, [])["runs"][0] for run in (one, other, plain)]
    assert [[row.get(name) for name in columns] for row in rows] == [
        ["ab", 0.5, "1.0", None],
        [None, None, "x", 2.0],
        [None] * 4,
    ]


# ---- the files


def test_the_documents_describe_these_columns_and_no_others(records: Path) -> None:
    text = (ROOT / "docs" / "records.md").read_text()
    section = text.split("## Tables for plots of your own\n")[1].split("\n## ")[0]
    tables = re.findall(r"\| column \| meaning \|\n\|---\|---\|\n((?:\|.*\n)+)", section)
    which, *own = [
        [name for line in table.splitlines() for name in re.findall(r"`([^`]+)`", line.split("|")[1])]
        for table in tables
    ]
    columns = Tables(read_records(records)).columns
    assert list(columns) == ["runs", "epochs", "layers"]
    for documented, found in zip(own, columns.values(), strict=True):
        names = [name for name in found if not name.startswith((HYPER, PROBE))]
        assert names[: len(which)] == which
        many = (f"{HYPER}*", f"{PROBE}*")
        assert sorted(name for name in documented if name not in many) == sorted(names[len(which) :])
    assert {f"{HYPER}*", f"{PROBE}*"} < {*own[0]} and {"hypers.gamma", "hypers.real.lr"} < columns[
        "runs"
    ].keys()


def test_the_same_records_give_the_same_bytes_whatever_lay_there(
    records: Path, frames: dict[str, pd.DataFrame], tmp_path: Path
) -> None:
    for name in ("runs.csv", ".layers.csv.17.tmp"):  # the second is left of an export that was killed
        (tmp_path / name).write_text("before")
    for path in export_records(records, tmp_path, ["csv"]):
        assert path.read_bytes() == (records.parent / "export" / path.name).read_bytes()
    assert sorted(os.listdir(tmp_path)) == ["epochs.csv", "layers.csv", "runs.csv"]


def test_where_one_table_cannot_be_written_none_is(records: Path, tmp_path: Path) -> None:
    (tmp_path / "runs.csv").mkdir()
    (tmp_path / ".draft.tmp").write_text("mine")  # its name is none of ours
    with pytest.raises(WriteError, match=r"runs\.csv: Is a directory"):
        export_records(records, tmp_path, ["csv"])
    assert sorted(os.listdir(tmp_path)) == [".draft.tmp", "runs.csv"]
    (tmp_path / "runs.csv").rmdir()
    (tmp_path / ".runs.csv.17.tmp").write_text("torn")
    export_records(records, tmp_path, ["csv"])
    assert sorted(os.listdir(tmp_path)) == [".draft.tmp", "epochs.csv", "layers.csv", "runs.csv"]


def test_after_an_interrupt_nothing_half_written_stays(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs.csv").write_text("before")
    calls = iter(range(5))

    def read(folder: ExperimentFolder, run: RunRecord) -> tuple[RunRecord, list[EpochLine]]:
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return read_epochs(folder, run)

    monkeypatch.setattr(write, "read_epochs", read)
    with pytest.raises(KeyboardInterrupt):
        export_records(records, tmp_path, ["csv"])
    assert os.listdir(tmp_path) == ["runs.csv"] and (tmp_path / "runs.csv").read_text() == "before"


def test_parquet_has_the_cells_of_csv_with_their_types(
    records: Path, frames: dict[str, pd.DataFrame], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("report.export.files.BATCH", 100)  # several parts
    export_records(records, tmp_path, ["parquet"])
    assert sorted(os.listdir(tmp_path)) == ["epochs.parquet", "layers.parquet", "runs.parquet"]
    kinds = {str: "string", int: "int64", float: "double", bool: "bool"}
    columns = Tables(read_records(records)).columns
    for name, frame in frames.items():
        found = parquet.read_table(tmp_path / f"{name}.parquet")
        assert [str(kind) for kind in found.schema.types] == [kinds[kind] for kind in columns[name].values()]
        rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
        assert found.to_pylist() == rows


def test_an_event_file_for_each_run_with_a_result(records: Path, tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    stale, other = (tmp_path / EVENTS / cell / "run" for cell in (BOP, "another-experiment.cell"))
    for folder in (stale, other):
        folder.mkdir(parents=True)
        for name in (FILE, f".{FILE}.17.tmp", "mine.tfevents"):
            (folder / name).write_text("before")
    assert export_records(records, tmp_path, ["tensorboard"]) == [tmp_path / EVENTS]
    assert os.listdir(stale) == ["mine.tfevents"]
    assert len(os.listdir(other)) == 3  # experiments are compared in one folder
    shutil.rmtree(other)
    planned = [run for run in read_records(records).runs if run.result]
    assert len(list(tmp_path.rglob(FILE))) == len(planned)
    assert {path.name for path in (tmp_path / EVENTS / BOP).iterdir()} > {
        "random-study-1-trial-0", "tpe-study-0-seed-2", "default-study-1-seed-3",
    }  # fmt: skip
    run = final_run(records, BOP, 2)
    events = accumulator.EventAccumulator(str(tmp_path / EVENTS / BOP / "random-study-0-seed-2")).Reload()
    lines = [json.loads(line) for line in (run / "epochs.jsonl").read_text().splitlines()]
    result = read_json(run / "result.json")
    names = [layer["name"] for layer in result["layers"]]
    expected = {
        "loss/train": [line["train_loss"] for line in lines],
        "top1/val": [line["val_top1"] for line in lines],
        "flips/all": [sum(line["flips"]["flips"]) for line in lines],
        f"flips/{names[1]}": [line["flips"]["flips"][1] for line in lines],
    }
    for tag, values in expected.items():
        found = events.Scalars(tag)
        assert [each.step for each in found] == list(range(1, EPOCHS + 1))
        assert [each.value for each in found] == pytest.approx(values)
    (score,) = events.Scalars("top1/test")
    assert (score.step, score.value) == (EPOCHS, pytest.approx(result["scores"]["test_top1"]))
    assert [each.wall_time for each in events.Scalars("loss/val")][:2] == pytest.approx([0.21, 0.42])
    data = events.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    plugin = pytest.importorskip("tensorboard.plugins.hparams.plugin_data_pb2")
    settings = plugin.HParamsPluginData.FromString(data).session_start_info.hparams
    assert settings["label"].string_value == "bop" and settings["gamma"].number_value > 0

"""`flipbench export`: where the tables go, from a folder and an archive, and what it refuses."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from suite.records.archive import ARCHIVE, write_archive
from tests.suite.cli.conftest import Flipbench
from tests.support.fake_records import TASKS, damage, final_run, write_experiment

FILES = ["epochs.csv", "layers.csv", "runs.csv"]
RECORDS = Path("results/x")


@pytest.fixture
def records(flipbench: Flipbench) -> Path:
    return write_experiment(RECORDS, tasks=TASKS[:1], methods=("bop",), seeds=1, trials=2)


def test_the_tables_are_next_to_the_records_and_an_archive_gives_the_same(
    flipbench: Flipbench, records: Path
):
    before = flipbench.files()
    ended = flipbench("export", "x", "--csv")
    assert ended == (0, "".join(f"exported: results/x/export/{name}\n" for name in
                                ("runs.csv", "epochs.csv", "layers.csv")), "")  # fmt: skip
    written = ["results/x/export", *(f"results/x/export/{name}" for name in FILES)]
    assert flipbench.files() == sorted(before + written)
    published = Path("results/published/y")
    published.mkdir(parents=True)
    write_archive(records, published / ARCHIVE)
    assert flipbench("export", "y", "--csv").err == f"records: {published / ARCHIVE}\n"
    assert flipbench("export", str(published / ARCHIVE), "--csv", "--to", "a/b").code == 0
    for folder in (published / "export", Path("a/b")):
        assert sorted(os.listdir(folder)) == FILES
        for name in FILES:
            assert (folder / name).read_bytes() == (RECORDS / "export" / name).read_bytes()
    assert flipbench.completions("export", "")[:2] == ["x", "y"]


def test_damage_is_named_and_ends_with_2(flipbench: Flipbench, records: Path):
    damage(final_run(records, "digits.mlp.bop", 0) / "result.json")
    ended = flipbench("export", "x", "--csv")
    assert ended.code == 2 and "damaged: runs/" in ended.err and "1 damaged or contradictory" in ended.err
    assert ",damaged,runs/" in (RECORDS / "export" / "runs.csv").read_text()


@pytest.mark.parametrize("name", ["parquet", "tensorboard"])
def test_an_extra_that_is_not_installed(
    flipbench: Flipbench, records: Path, monkeypatch: pytest.MonkeyPatch, name: str
):
    package = {"parquet": "pyarrow"}.get(name, name)
    monkeypatch.setitem(sys.modules, package, None)
    before = flipbench.files()
    ended = flipbench("export", "x", "--csv", f"--{name}", "--to", "there")
    assert ended.code == 2 and ended.out == "" and flipbench.files() == before
    assert f"--{name} needs {package}, the extra `{name}` of flipbench: " in ended.err
    assert f"{sys.executable} -m pip install {package}" in ended.err


def test_nothing_is_written_through_a_link(flipbench: Flipbench, records: Path):
    """The folder of the experiment may be one that somebody has sent."""
    Path("mine").mkdir()
    (RECORDS / "export").symlink_to(Path("mine").resolve())
    ended = flipbench("export", "x", "--csv")
    assert ended.code == 2 and "it is a link" in ended.err and os.listdir("mine") == []
    shutil.rmtree(RECORDS / "runs")
    shutil.rmtree(RECORDS / "cells")
    ended = flipbench("export", "x", "--csv", "--to", "there")
    assert ended.code == 2 and "no runs/" in ended.err and not Path("there").exists()

"""`flipbench merge`: two folders or archives of a real sweep, and every command on what comes of them."""

import contextlib
import os
import shutil
from pathlib import Path

import pytest

from suite.records.archive import ARCHIVE, write_archive
from suite.records.files import read_json, write_json
from tests.suite.cli.conftest import Flipbench
from tests.suite.cli.test_archives import HerePool
from tests.support.attempts import records_of


@pytest.fixture
def machines(flipbench: Flipbench, tiny_records: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """The sweep of `tiny`, stopped on two machines: a folder of results and an archive."""
    monkeypatch.setattr(os, "sync", lambda: None)  # it waits for the disk of other processes
    monkeypatch.setattr("suite.sweep.pool.LocalPool", lambda *_: HerePool())
    runs = sorted(os.listdir(tiny_records / "runs"))
    for name, left_out in (("tiny", runs[:5]), ("other", runs[4:8])):  # one run is on neither
        shutil.copytree(tiny_records, Path("results", name))
        Path("results", name, "optuna.log").unlink()
        for run in left_out:
            shutil.rmtree(Path("results", name, "runs", run))
    write_archive(Path("results/other"), Path(ARCHIVE))
    shutil.rmtree("results/other")
    return "tiny", ARCHIVE


def test_after_a_merge_every_command_works_and_the_sweep_continues(
    flipbench: Flipbench, tiny_records: Path, machines: tuple[str, str]
):
    ended = flipbench("merge", *machines, "--to", "results/both/tiny")
    taken = ["results/tiny: 7 runs taken, 0 there", f"{ARCHIVE}: 4 runs taken, 4 there"]
    assert ended.code == 0 and ended.err == f"records: {ARCHIVE}\n"
    assert ended.out == "".join(f"{line} already\n" for line in taken) + "merged: results/both/tiny\n"
    place = ("tiny", "--results", "results/both")
    assert flipbench("status", *place).code == 0
    verified = flipbench("verify", *place)
    assert verified.code == 1 and "1 of " in verified.out  # the one run that neither machine has
    assert flipbench("report", *place).code == 0
    swept = flipbench("sweep", *place, "--no-adopt", "--device", "cpu", "--workers", "1")
    assert swept.code == 0 and "run it again" not in swept.err
    assert flipbench("verify", *place).code == 0
    assert records_of(Path("results/both/tiny")) == records_of(tiny_records)
    for path in tiny_records.glob("runs/*/result.json"):  # only one was trained again
        same = (Path("results/both/tiny") / path.relative_to(tiny_records)).read_bytes() == path.read_bytes()
        assert same == (path.parent.name != sorted(os.listdir(tiny_records / "runs"))[4])


def test_a_contradiction_is_named_and_ends_with_1(flipbench: Flipbench, machines: tuple[str, str]):
    run = sorted(os.listdir("results/tiny/runs"))[-1]
    result = Path("results/tiny/runs", run, "result.json")
    write_json(result, {**read_json(result), "digest": "f" * 64})
    ended = flipbench("merge", *machines)  # into the first
    assert ended.code == 1 and ended.out.endswith("merged: results/tiny\n")
    assert f"contradiction: runs/{run} has the digest ffffffffffff in results/tiny" in ended.err
    assert f"in {ARCHIVE}, which is now in results/tiny/set-aside/1" in ended.err
    assert f"note: set-aside/1/runs/{run}: " in flipbench("verify", "tiny").out
    assert flipbench.completions("merge", "tiny", "")[:1] == ["tiny"]


def test_what_cannot_be_merged_writes_nothing(flipbench: Flipbench, machines: tuple[str, str]):
    before = flipbench.files()
    for arguments, problem in (
        ((ARCHIVE, "tiny"), f"{ARCHIVE} is an archive, which does not change: name a folder with --to"),
        (("tiny", "results/tiny"), "tiny and results/tiny are the same folder"),
        (("tiny", "absent"), "results/absent/plan.json does not exist"),
        (("tiny", ARCHIVE, "--to", "results/tiny/runs"), "--to results/tiny/runs lies in results/tiny"),
        (("tiny", ARCHIVE, "--to", "results"), "results: it holds other things and no plan.json"),
    ):
        ended = flipbench("merge", *arguments)
        assert ended.code == 2 and ended.out == "" and problem in ended.err
    assert flipbench.files() == before
    with contextlib.suppress(FileNotFoundError):
        Path("results/tiny/plan.json").unlink()
    assert flipbench("merge", *machines, "--to", "there").code == 2 and not Path("there").exists()

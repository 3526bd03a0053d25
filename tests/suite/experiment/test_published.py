"""Records that are published stay reachable: planning their experiments again gives the same run ids."""

import csv
import json
from pathlib import Path

import pytest

from suite.experiment import cell as resolving
from suite.experiment.cell import Cell
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.records.files import read_json
from suite.records.schema import DataSizes, Scores
from suite.records.trial import PROTOCOL, Choice
from suite.records.winner import winner
from suite.sweep.study import CellStudy
from tests.support.paths import ROOT

VALIDATION = ("val_loss", "val_top1", "val_top5")
PUBLISHED = ROOT / "results" / "published"
# Runs that were made under another protocol have other ids.
EXPERIMENTS = sorted(
    path.parent.name
    for path in PUBLISHED.glob("*/plan.json")
    if json.loads(path.read_text())["protocol"] == PROTOCOL
)


def planned_again(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a published experiment, from the text that its plan.json holds."""
    published = read_json(PUBLISHED / name / "plan.json")
    lines = published["yaml"].splitlines(keepends=True)
    changes = [line.removeprefix("# --set ").rstrip("\n") for line in lines if line.startswith("# --set ")]
    path = folder / f"{name.rsplit('-', 1)[0] if changes else name}.yaml"
    path.write_text("".join(line for line in lines if not line.startswith("# --set ")))
    sizes = [DataSizes(**each) for each in published["data"].values()]
    described = resolving.describe

    def describe(choice: Choice) -> DataSizes:
        """A folder of images that is not on this machine has the sizes that the plan recorded."""
        return sizes[0] if choice.name == "imagenet" else described(choice)

    monkeypatch.setattr(resolving, "describe", describe)
    return make_plan(ExperimentFile(path, changes))


def run_ids(plan: Plan, cell: Cell, rows: list[dict[str, str]]) -> dict[tuple[str, str], str]:
    """The run id of every planned run of a cell, given the scores that its tuning runs reached."""
    tuning = plan.experiment.tuning
    study = CellStudy(cell, tuning)
    study.draw()
    ids = {
        ("tuning", str(number)): cell.trial(drawn, tuning.seed, "tune").run_id
        for number, drawn in enumerate(study.drawn())
    }
    scores = {
        int(row["number"]): Scores(**{name: float(row[name]) for name in VALIDATION})
        for row in rows
        if row["phase"] == "tuning"
    }
    best = winner(scores)
    drawn = cell.published if best is None else study.drawn()[best]
    return ids | {("final", str(seed)): cell.trial(drawn, seed, "final").run_id for seed in plan.seeds}


def test_there_is_something_to_compare() -> None:
    assert {"demo", "section52-fce218de", "imagenette"} <= set(EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_planning_again_gives_the_published_run_ids(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned_again(name, tmp_path, monkeypatch)
    assert plan.name == name
    with open(PUBLISHED / name / "runs.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == plan.runs
    for cell in plan.cells:
        mine = [row for row in rows if row["cell"] == cell.name]
        recorded = {(row["phase"], row["number"] or row["seed"]): row["run"] for row in mine}
        assert run_ids(plan, cell, mine) == recorded

"""Records that are published stay reachable: planning their experiments again gives the same run ids."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from suite.experiment import plan as planning
from suite.experiment.plan import Cell, Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.records.files import PROTOCOL, read_json
from suite.sweep.study import CellStudy, winner
from tests.support.paths import ROOT

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
    sizes: dict[str, Any] = published["data"]
    described = planning.describe

    def describe(name: str, options: Any) -> dict[str, Any]:
        """A folder of images that is not on this machine has the sizes that the plan recorded."""
        return next(iter(sizes.values())) if name == "imagenet" else described(name, options)

    monkeypatch.setattr(planning, "describe", describe)
    return make_plan(ExperimentFile(path, changes))


def run_ids(plan: Plan, cell: Cell, rows: list[dict[str, str]], folder: Path) -> dict[tuple[str, str], str]:
    """The run id of every planned run of a cell, given the scores that its tuning runs reached."""
    tuning = plan.experiment.tuning
    study = CellStudy(cell, tuning, folder)
    study.draw()
    ids = {
        ("tuning", str(number)): cell.trial(drawn, tuning.seed, "tune").run_id
        for number, drawn in enumerate(study.drawn())
    }
    scores = {
        int(row["number"]): {name: float(row[name]) for name in ("val_top1", "val_loss")}
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
        assert run_ids(plan, cell, mine, tmp_path) == recorded

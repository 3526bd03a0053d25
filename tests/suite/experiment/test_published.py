"""Records that are published stay reachable: planning their experiments again gives the same run ids."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from suite.experiment import cell as resolving
from suite.experiment.cell import Cell
from suite.experiment.plan import Plan, make_plan
from suite.experiment.spec import ExperimentFile
from suite.records.files import read_json
from suite.records.schema import DataSizes, Scores
from suite.records.seeds import final_seed, tuning_seed
from suite.records.trial import PROTOCOL, Choice
from suite.records.winner import winner
from suite.sweep.draws import Draw, Draws
from tests.support.paths import ROOT
from tests.support.registries import restored

VALIDATION = ("val_loss", "val_top1", "val_top5")
PUBLISHED = ROOT / "results" / "published"
# Runs that were made under another protocol have other ids.
EXPERIMENTS = sorted(
    path.parent
    for path in PUBLISHED.rglob("plan.json")
    if json.loads(path.read_text())["protocol"] == PROTOCOL
)
# plan.json and runs.csv of a small sweep with every kind of run: tests/suite/experiment/golden.py makes them.
GOLDEN = Path(__file__).parent / "golden"
Key = tuple[str, str, int, int, str]  # phase, track, study, number, source
Won = dict[tuple[str, int], Draw]  # the setting of each study's winner, by track and study


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Plugins that a plan loads are forgotten after its test."""
    with restored():
        yield


def planned_again(where: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """The plan of a published experiment, from the text that its plan.json holds."""
    published = read_json(where / "plan.json")
    name = published["experiment"]
    lines = published["yaml"].splitlines(keepends=True)
    changes = [line.removeprefix("# --set ").rstrip("\n") for line in lines if line.startswith("# --set ")]
    path = folder / "experiments" / f"{name.rsplit('-', 1)[0] if changes else name}.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("".join(line for line in lines if not line.startswith("# --set ")))
    for plugin in ExperimentFile(path).experiment().plugins:  # an edited one makes other runs
        shutil.copy(ROOT / "experiments" / Path(name).parent / plugin, path.parent)
    sizes = [DataSizes(**each) for each in published["data"].values()]
    described = resolving.describe

    def describe(choice: Choice) -> DataSizes:
        """A folder of images that is not on this machine has the sizes that the plan recorded."""
        return sizes[0] if choice.name == "imagenet" else described(choice)

    monkeypatch.setattr(resolving, "describe", describe)
    return make_plan(ExperimentFile(path, changes))


def finals(plan: Plan, cell: Cell, phase: str, won: Won, source: str = "") -> dict[Key, tuple[str, Draw]]:
    """The run id and the setting of the final runs of these settings."""
    return {
        (phase, track, study, number, source): (
            cell.trial(drawn, final_seed(cell.seed, study, number), "final").run_id,
            drawn,
        )
        for (track, study), drawn in won.items()
        for number in range(plan.seeds)
    }


def runs_of(plan: Plan, cell: Cell, rows: list[dict[str, str]]) -> tuple[dict[Key, tuple[str, Draw]], Won]:
    """The run id and the setting of every run of a cell that can be named, given the scores of its tuning.

    And its winners, which may run on other tasks too.
    """
    known = {
        (row["track"], int(row["study"]), int(row["number"])): Scores(
            **{name: float(row[name]) for name in VALIDATION}
        )
        for row in rows
        if row["phase"] == "tuning" and row["val_top1"]
    }
    found: dict[Key, tuple[str, Draw]] = {}
    won: Won = {}
    tuning = plan.tuning_of(cell)
    for track in tuning.tracks:
        for study in range(track.studies):
            draws, seed = Draws(cell, track, study), tuning_seed(cell.seed, cell.name, track.name, study)
            scores: dict[int, Scores] = {}
            while (before := len(draws.drawn())) < track.trials:
                draws.draw()
                for number in range(before, len(draws.drawn())):
                    if (reached := known.get((track.name, study, number))) is not None:
                        scores[number] = reached
                    draws.tell(number, reached.val_top1 if reached else None)
            for number, drawn in enumerate(draws.drawn()):
                run = cell.trial(drawn, seed, "tune").run_id
                found["tuning", track.name, study, number, ""] = run, drawn
            if len(scores) == track.trials:  # else the study has not ended in this archive
                best = winner(scores)
                assert best is not None
                won[track.name, study] = draws.drawn()[best]
    default: Won = {("", study): dict(cell.published) for study in range(tuning.studies)}
    return found | finals(plan, cell, "final", won) | finals(plan, cell, "default", default), won


def is_that_run(run: str, drawn: Draw, row: dict[str, str]) -> bool:
    """TPE draws with numpy's exp and log: the last bits, and so the ids of its runs, depend on the CPU."""
    if run == row["run"] or row["track"] != "tpe":
        return run == row["run"]
    hypers = json.loads(row["hypers"])
    return all(
        value == (pytest.approx(hypers[name], rel=1e-9) if isinstance(value, float) else hypers[name])
        for name, value in drawn.items()
    )


def test_the_golden_plan_has_all_that_a_plan_can_have() -> None:
    """It stands for published experiments while there are none of this protocol."""
    plan = read_json(GOLDEN / "plan.json")
    assert plan["protocol"] == PROTOCOL, "make it again under this protocol (docs/protocol.md)"
    assert {track["name"]: track["studies"] for track in plan["tuning"]["tracks"]} == {"random": 2, "tpe": 2}
    assert len(plan["cells"]) == 2 and plan["seeds"] == 2


@pytest.mark.parametrize("published", [GOLDEN, *EXPERIMENTS], ids=lambda path: path.name)
def test_planning_again_gives_the_published_run_ids(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = planned_again(published, tmp_path, monkeypatch)
    assert plan.name == read_json(published / "plan.json")["experiment"]
    with open(published / "runs.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == plan.runs
    missing = {row["cell"] for row in rows if row["status"] == "missing"}
    whole = {cell.name for cell in plan.cells} - missing
    assert whole, "an archive without a whole cell shows nothing"
    of_cell = {cell.name: [row for row in rows if row["cell"] == cell.name] for cell in plan.cells}
    named = {cell.name: runs_of(plan, cell, of_cell[cell.name]) for cell in plan.cells}
    for cell in plan.cells:
        recorded = {
            (row["phase"], row["track"], int(row["study"]), int(row["number"]), row.get("source", "")): row
            for row in of_cell[cell.name]
        }
        found, _ = named[cell.name]
        for other in plan.cells if plan.tuning.transfer else ():
            if other.method_label == cell.method_label and other.task != cell.task:
                found |= finals(plan, cell, "transfer", named[other.name][1], other.task)
        if cell.name in whole:
            assert set(found) == set(recorded)
        known = {key: row for key, row in recorded.items() if row["run"]}
        assert [key for key, row in known.items() if not is_that_run(*found[key], row)] == []

"""Reads the records of one experiment folder; the format is described in docs/records.md.

A damaged plan stops the report; any other damaged file makes its runs `damaged`, never numbers.
"""

from dataclasses import replace
from pathlib import Path

from report.read.records import CellRecord, DataFile, Records, RunRecord, Task
from report.read.run import Environments, read_run, without_record
from suite.records.agreement import named_runs, wrong_winner
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord
from suite.records.schema import Ledger, PlannedCell, PlanRecord, TrackName
from suite.records.seeds import final_seed


def read_records(path: Path) -> Records:
    """Read results/<experiment>/. Raises FileNotFoundError without a plan, DamagedRecord for a bad one."""
    folder = ExperimentFolder(path)
    plan = folder.plan()
    tasks = tasks_of(plan)
    environments: Environments = {}
    cells: list[CellRecord] = []
    runs: list[RunRecord] = []
    for each in plan.cells:
        of_tracks, of_cell = read_cell(folder, each, tasks[each.data, each.model], plan, environments)
        cells += of_tracks
        runs += of_cell
    data = {label: read_data(folder, label, plan) for label in plan.data}
    unplanned = str(folder.unplanned(plan, {run.run_id for run in runs}))
    return Records(plan, list(tasks.values()), cells, runs, data, unplanned)


def tasks_of(plan: PlanRecord) -> dict[tuple[str, str], Task]:
    """The tasks by data set and model, each with a key of its own."""
    tasks: dict[tuple[str, str], Task] = {}
    taken: set[str] = set()
    for data, model in dict.fromkeys((cell.data, cell.model) for cell in plan.cells):
        key = "".join(c if c.isalnum() or c in "._-" else "-" for c in f"{data}.{model}")
        key = f"{key}-{len(tasks)}" if key in taken else key
        taken.add(key)
        tasks[data, model] = Task(data, model, key)
    return tasks


def read_cell(
    folder: ExperimentFolder, planned: PlannedCell, task: Task, plan: PlanRecord, environments: Environments
) -> tuple[list[CellRecord], list[RunRecord]]:
    """A cell, once for each track, and all its planned runs.

    The ledger is empty where it cannot be trusted, and the reason is there.
    """
    ledger, problem = Ledger.empty(planned.cell), ""
    try:
        ledger = folder.ledger(planned, plan)
    except FileNotFoundError:
        pass
    except DamagedRecord as damaged:
        problem = damaged.problem
    if not problem:
        cells = cells_of(planned, task, plan, ledger, "")
        runs = planned_runs(folder, cells, plan, environments)
        trials = {run.place: run.result.scores for run in runs if run.result and run.phase == "tuning"}
        problem = wrong_winner(ledger, trials)
        if not problem:
            return cells, without_wrong_transfers(folder, cells[0], runs, plan)
    problem = f"cells/{planned.cell}.json: {problem}"
    cells = cells_of(planned, task, plan, Ledger.empty(planned.cell), problem)
    return cells, planned_runs(folder, cells, plan, environments)


def cells_of(
    planned: PlannedCell, task: Task, plan: PlanRecord, ledger: Ledger, problem: str
) -> list[CellRecord]:
    """A cell once for each track; once without one where nothing is tuned."""
    tracks: list[TrackName | None] = [track.name for track in plan.tuning.tracks]
    return [
        CellRecord(
            planned,
            task,
            track,
            f"{planned.method} ({track})" if len(tracks) > 1 else planned.method,
            ledger,
            problem,
        )
        for track in tracks or [None]
    ]


def planned_runs(
    folder: ExperimentFolder, cells: list[CellRecord], plan: PlanRecord, environments: Environments
) -> list[RunRecord]:
    """Every planned run of a cell in the order of the plan; one that the ledger does not name has no run_id.

    The final runs of the published default go with the first track.
    """
    first, of_track = cells[0], {cell.track: cell for cell in cells}
    named = {each.place: each for each in named_runs(first.ledger, first.planned, plan)}
    status, reason = ("damaged", first.problem) if first.problem else ("missing", "not started")
    runs = []
    for place in plan.tuning_of(first.planned).places(plan.seeds, first.planned.task):
        seed = None
        if place.phase != "tuning":
            seed = final_seed(plan.tuning.seed, place.study, place.number)
        run = RunRecord(of_track.get(place.track, first), place, seed, status, reason)
        if each := named.get(place):
            run = replace(run, run_id=each.run, hypers=each.hypers)
            run = read_run(folder, run, each, plan.data[first.planned.data].test, environments)
        runs.append(run)
    return runs


def without_wrong_transfers(
    folder: ExperimentFolder, cell: CellRecord, runs: list[RunRecord], plan: PlanRecord
) -> list[RunRecord]:
    """The runs; those of settings that are no winners on their task are damaged."""
    wrong: dict[tuple[str | None, str | None, int], str] = {
        (entry.source, entry.track, entry.study): f"cells/{cell.name}.json: {problem}"
        for entry, problem in folder.wrong_transfers(cell.ledger, cell.planned, plan)
    }
    return [
        without_record(run, reason)
        if (reason := wrong.get((run.place.source, run.place.track, run.place.study)))
        else run
        for run in runs
    ]


def read_data(folder: ExperimentFolder, label: str, plan: PlanRecord) -> DataFile:
    """The record of a data set. It is shown and never used, so a damaged file does not stop the report."""
    try:
        return DataFile(folder.planned_data(label, plan))
    except FileNotFoundError:
        return DataFile()
    except DamagedRecord as damaged:
        return DataFile(problem=f"data/{label}.json: {damaged.problem}")

"""Reads the records of one experiment folder; the format is described in docs/records.md.

A damaged plan stops the report; any other damaged file makes its runs `damaged`, never numbers.
"""

from dataclasses import replace
from pathlib import Path

from report.read.records import CellRecord, DataFile, Records, RunRecord, Task
from report.read.run import Environments, read_run
from suite.records.agreement import named_runs, wrong_winner
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord
from suite.records.schema import Ledger, PlannedCell, PlanRecord


def read_records(path: Path) -> Records:
    """Read results/<experiment>/. Raises FileNotFoundError without a plan, DamagedRecord for a bad one."""
    folder = ExperimentFolder(path)
    plan = folder.plan()
    tasks = tasks_of(plan)
    environments: Environments = {}
    cells: list[CellRecord] = []
    runs: list[RunRecord] = []
    for each in plan.cells:
        cell, of_cell = read_cell(folder, each, tasks[each.data, each.model], plan, environments)
        cells.append(cell)
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
) -> tuple[CellRecord, list[RunRecord]]:
    """A cell with its ledger, or with the reason why that cannot be trusted, and all its planned runs."""
    cell = CellRecord(planned, task, Ledger.empty(planned.cell))
    problem = ""
    try:
        cell = replace(cell, ledger=folder.ledger(planned, plan))
    except FileNotFoundError:
        pass
    except DamagedRecord as damaged:
        problem = damaged.problem
    if not problem:
        runs = planned_runs(folder, cell, plan, environments)
        trials = {run.number: run.result.scores for run in runs if run.result and run.number is not None}
        problem = wrong_winner(cell.ledger, trials)
        if not problem:
            return cell, runs
    file = f"cells/{planned.cell}.json"
    cell = replace(cell, ledger=Ledger.empty(planned.cell), problem=f"{file}: {problem}")
    return cell, planned_runs(folder, cell, plan, environments)


def planned_runs(
    folder: ExperimentFolder, cell: CellRecord, plan: PlanRecord, environments: Environments
) -> list[RunRecord]:
    """Every planned run of a cell, tuning first; one that the ledger does not name has no run_id."""
    named = {(each.number, each.seed): each for each in named_runs(cell.ledger, cell.planned, plan)}
    status, reason = ("damaged", cell.problem) if cell.problem else ("missing", "not started")
    planned = [(number, None) for number in range(plan.tuning.trials)] + [(None, seed) for seed in plan.seeds]
    runs = []
    for number, seed in planned:
        run = RunRecord(cell, number, seed, status, reason)
        if each := named.get((number, seed)):
            run = replace(run, run_id=each.run, published_default=number == 0, hypers=each.hypers)
            run = read_run(folder, run, each, environments)
        runs.append(run)
    return runs


def read_data(folder: ExperimentFolder, label: str, plan: PlanRecord) -> DataFile:
    """The record of a data set. It is shown and never used, so a damaged file does not stop the report."""
    try:
        return DataFile(folder.planned_data(label, plan))
    except FileNotFoundError:
        return DataFile()
    except DamagedRecord as damaged:
        return DataFile(problem=f"data/{label}.json: {damaged.problem}")

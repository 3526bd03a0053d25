"""Reads the records of one experiment folder; the format is described in docs/records.md.

A damaged plan stops the report; any other damaged file makes its runs `damaged`, never numbers.
"""

from dataclasses import replace
from pathlib import Path

from report.read.records import CellRecord, DataFile, Records, RunRecord, Task
from report.read.run import Environments, read_run
from suite.records.experiment import ExperimentFolder, ledger_problem
from suite.records.files import DamagedRecord
from suite.records.schema import Ledger, PlannedCell, PlanRecord


def read_records(path: Path) -> Records:
    """Read results/<experiment>/. Raises FileNotFoundError without a plan, DamagedRecord for a bad one."""
    folder = ExperimentFolder(path)
    plan = folder.plan()
    tasks = tasks_of(plan)
    cells = [read_cell(folder, each, tasks[each.data, each.model], plan) for each in plan.cells]
    environments: Environments = {}
    runs = [
        read_run(folder, run, environments) if run.run_id else run
        for cell in cells
        for run in planned_runs(cell, plan)
    ]
    data = {label: read_data(folder, label) for label in plan.data}
    return Records(plan, list(tasks.values()), cells, runs, data)


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


def read_cell(folder: ExperimentFolder, planned: PlannedCell, task: Task, plan: PlanRecord) -> CellRecord:
    """A cell with its ledger, or with the reason why that cannot be trusted."""
    empty = Ledger.empty(planned.cell)
    try:
        ledger = folder.ledger(planned.cell)
    except FileNotFoundError:
        return CellRecord(planned, task, empty)
    except DamagedRecord as damaged:
        problem = damaged.problem
    else:
        problem = ledger_problem(ledger, plan)
        if not problem:
            return CellRecord(planned, task, ledger)
    return CellRecord(planned, task, empty, f"cells/{planned.cell}.json: {problem}")


def planned_runs(cell: CellRecord, plan: PlanRecord) -> list[RunRecord]:
    """Every planned run of a cell, tuning first; one that the ledger does not name has no run_id."""
    trials = {entry.number: entry for entry in cell.ledger.tuning}
    finals = {entry.seed: entry for entry in cell.ledger.final}
    hypers = cell.winner.hypers if cell.winner else {}
    status, reason = ("damaged", cell.problem) if cell.problem else ("missing", "not started")
    runs = []
    for number in range(plan.tuning.trials):
        run = RunRecord(cell, number, None, status, reason)
        if entry := trials.get(number):
            run = replace(
                run, run_id=entry.run, published_default=entry.published_default, hypers=entry.hypers
            )
        runs.append(run)
    for seed in plan.seeds:
        run = RunRecord(cell, None, seed, status, reason)
        if entry := finals.get(seed):
            run = replace(run, run_id=entry.run, hypers=hypers)
        runs.append(run)
    return runs


def read_data(folder: ExperimentFolder, label: str) -> DataFile:
    """The record of a data set. It is shown and never used, so a damaged file does not stop the report."""
    try:
        return DataFile(folder.data(label))
    except FileNotFoundError:
        return DataFile()
    except DamagedRecord as damaged:
        return DataFile(problem=f"data/{label}.json: {damaged.problem}")

"""The tables of all planned runs by status. They stay short: many cells are summed, long lists are cut."""

from report.analysis.numbers import NONE
from report.page.tables import Table
from report.read.records import FAILURES, STATUSES, CellRecord, Records
from suite.machine.words import count
from suite.records.schema import PHASES

MANY_ROWS = 100  # of a table that grows with the experiment: more are summed up or left out


def groups(records: Records) -> list[tuple[str, str, list[CellRecord]]]:
    """Task, method and cells of each row: one row per cell, or one per method if cells are many."""
    if len(records.cells) <= MANY_ROWS:
        return [(cell.task.title, cell.method, [cell]) for cell in records.cells]
    cells: dict[str, list[CellRecord]] = {}
    for cell in records.cells:
        cells.setdefault(cell.method, []).append(cell)
    return [(f"all {count(len(of), 'task')}", method, of) for method, of in cells.items()]


def coverage_table(records: Records, only_incomplete: bool = False) -> Table:
    """Planned runs of every cell by status, phase by phase."""
    rows = []
    for task, method, cells in groups(records):
        for phase in PHASES:
            runs = [run for cell in cells for run in records.planned(cell, phase)]
            if not runs:  # nothing is tuned, or the row is of a second track
                continue
            counts = [sum(run.status == status for run in runs) for status in STATUSES]
            if not only_incomplete or not all(run.scored for run in runs):
                rows.append([task, method, phase, str(len(runs)), *map(str, counts)])
    warn = {(at, column) for at, row in enumerate(rows) for column in range(5, 9) if row[column] != "0"}
    return Table(
        ["task", "method", "phase", "planned", *STATUSES], rows, text=(0, 1, 2), warn=frozenset(warn)
    )


def failures_table(records: Records) -> Table:
    """Failed runs by kind of failure, for every method that has any."""
    rows = []
    for task, method, cells in groups(records):
        runs = [run for cell in cells for run in (*records.runs_of(cell), *records.transfers(cell))]
        counts = [sum(run.failure == kind for run in runs) for kind in FAILURES]
        if any(counts):
            rows.append([task, method, str(len(runs)), *map(str, counts)])
    warn = {(at, column) for at, row in enumerate(rows) for column in range(3, 6) if row[column] != "0"}
    return Table(["task", "method", "planned", *FAILURES], rows, text=(0, 1), warn=frozenset(warn))


def problems_table(records: Records) -> Table:
    """Every run that failed, is damaged or was not finished, with the reason; of many only the first."""
    runs = [run for run in records.runs if not run.scored and run.reason != "not started"]
    rows = [
        [run.cell.task.title, run.cell.method, str(run.place), run.status, run.reason, run.run_id or NONE]
        for run in runs[:MANY_ROWS]
    ]
    return Table(
        ["task", "method", "run", "status", "reason", "folder in runs/"],
        rows,
        text=(0, 1, 2, 3, 4, 5),
        left_out=len(runs) - len(rows),
    )

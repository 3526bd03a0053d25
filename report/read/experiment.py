"""Reads the records of one experiment folder; the format is described in results/README.md.

Every planned run becomes one `Run`, whatever became of it, so that nothing can drop out of a denominator.
A damaged plan stops the report; any other damaged file makes its runs `damaged`, never numbers.
"""

import functools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from report.read.curves import Curves
from report.read.run import read_run_folder
from suite.records.experiment import read_ledger, read_plan
from suite.records.files import DamagedRecord, canonical, read_json

FAILURES = ("error", "out of memory", "worker died")
STATUSES = ("done", "diverged", "failed", "damaged", "missing")


@dataclass(frozen=True)
class Task:
    """A data set and a model: what the methods are compared on."""

    data: str
    model: str
    key: str  # safe in a file name

    @property
    def title(self) -> str:
        return f"{self.data} \u00d7 {self.model}"


@dataclass(frozen=True)
class Cell:
    """One method on one task, and its ledger as far as it is written."""

    name: str
    task: Task
    method: str
    ledger: dict[str, Any]
    problem: str = ""  # why the ledger cannot be trusted

    @property
    def winner(self) -> dict[str, Any] | None:
        return self.ledger["winner"]


@dataclass(frozen=True)
class Run:
    """One planned run: `number` of the trial in tuning, `seed` in the final runs."""

    cell: Cell
    number: int | None
    seed: int | None
    status: str
    reason: str = ""
    failure: str = ""  # its kind, if the run failed
    run_id: str = ""
    published_default: bool = False
    hypers: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)  # empty unless done or diverged
    environment: dict[str, Any] = field(default_factory=dict)  # runs made in the same one share it
    curves: Curves | None = None  # final runs that are done or diverged

    @property
    def phase(self) -> str:
        return "tuning" if self.seed is None else "final"

    @property
    def scored(self) -> bool:
        """Whether the run has a score: a diverged run counts with its chance-level one."""
        return self.status in ("done", "diverged")


@dataclass(frozen=True)
class Records:
    """All that a report needs of one experiment; cells and runs are in the order of the plan."""

    plan: dict[str, Any]
    tasks: list[Task]
    cells: list[Cell]
    runs: list[Run]
    data: dict[str, dict[str, Any]]  # what data/<name>.json says; empty where there is no such file

    @functools.cached_property
    def controls(self) -> frozenset[str]:
        """The methods that compete with nobody: floors and ceilings to read the others by."""
        return frozenset(name for name, card in self.plan["methods"].items() if card.get("control"))

    def finals(self, cell: Cell) -> list[Run]:
        return self._by_cell[cell.name, "final"]

    def trials(self, cell: Cell) -> list[Run]:
        return self._by_cell[cell.name, "tuning"]

    def cells_of(self, task: Task) -> list[Cell]:
        return self._by_task[task]

    @functools.cached_property
    def _by_cell(self) -> dict[tuple[str, str], list[Run]]:
        runs: dict[tuple[str, str], list[Run]] = {
            (cell.name, phase): [] for cell in self.cells for phase in ("tuning", "final")
        }
        for run in self.runs:
            runs[run.cell.name, run.phase].append(run)
        return runs

    @functools.cached_property
    def _by_task(self) -> dict[Task, list[Cell]]:
        cells: dict[Task, list[Cell]] = {task: [] for task in self.tasks}
        for cell in self.cells:
            cells[cell.task].append(cell)
        return cells


def read_records(folder: Path) -> Records:
    """Read results/<experiment>/. Raises FileNotFoundError without a plan, DamagedRecord for a bad one."""
    plan = read_plan(folder)
    tasks = tasks_of(plan)
    cells = [read_cell(folder, tasks[spec["data"], spec["model"]], spec, plan) for spec in plan["cells"]]
    places: dict[str, dict[str, Any]] = {}
    runs = [run for cell in cells for run in read_runs(folder, cell, plan, places)]
    return Records(
        plan, list(tasks.values()), cells, runs, {name: read_data(folder, name) for name in plan["data"]}
    )


def tasks_of(plan: dict[str, Any]) -> dict[tuple[str, str], Task]:
    tasks: dict[tuple[str, str], Task] = {}
    taken: set[str] = set()
    for data, model in dict.fromkeys((cell["data"], cell["model"]) for cell in plan["cells"]):
        key = "".join(c if c.isalnum() or c in "._-" else "-" for c in f"{data}.{model}")
        key = f"{key}-{len(tasks)}" if key in taken else key
        taken.add(key)
        tasks[data, model] = Task(data, model, key)
    return tasks


def read_cell(folder: Path, task: Task, spec: dict[str, Any], plan: dict[str, Any]) -> Cell:
    path = folder / "cells" / f"{spec['cell']}.json"
    try:
        return Cell(spec["cell"], task, spec["method"], read_ledger(path, plan))
    except (ValueError, LookupError, TypeError) as error:
        problem = f"cells/{path.name}: {error.problem if isinstance(error, DamagedRecord) else error}"
        unknown: dict[str, Any] = {"tuning": [], "winner": None, "final": []}
        return Cell(spec["cell"], task, spec["method"], unknown, problem)


def read_runs(folder: Path, cell: Cell, plan: dict[str, Any], places: dict[str, dict[str, Any]]) -> list[Run]:
    """Every planned run of a cell, tuning first. `places` collects the environments, each once."""
    trials = {entry["number"]: entry for entry in cell.ledger["tuning"]}
    finals = {entry["seed"]: entry for entry in cell.ledger["final"]}
    planned = [(number, None, trials.get(number)) for number in range(plan["tuning"]["trials"])]
    planned += [(None, seed, finals.get(seed)) for seed in plan["seeds"]]
    return [read_run(folder, cell, number, seed, entry, places) for number, seed, entry in planned]


def read_run(
    folder: Path,
    cell: Cell,
    number: int | None,
    seed: int | None,
    entry: dict[str, Any] | None,
    places: dict[str, dict[str, Any]],
) -> Run:
    if entry is None:
        status = "damaged" if cell.problem else "missing"
        return Run(cell, number, seed, status, cell.problem or "not started")
    described = dict(
        run_id=entry["run"],
        published_default=entry.get("published_default", False),
        hypers=entry["hypers"] if seed is None else (cell.winner or {}).get("hypers", {}),
    )
    content: dict[str, Any]
    try:
        content = read_run_folder(folder / "runs" / entry["run"], final=seed is not None)
    except DamagedRecord as damaged:
        reason = f"{damaged.path.relative_to(folder).as_posix()}: {damaged.problem}"
        content = {"status": "damaged", "reason": reason}
    except OSError as error:  # its own message would show an absolute path
        content = {"status": "damaged", "reason": f"runs/{entry['run']} cannot be read: {error.strerror}"}
    if place := content.get("environment"):
        content["environment"] = places.setdefault(canonical(place), place)
    return Run(cell, number, seed, **described, **content)


def read_data(folder: Path, name: str) -> dict[str, Any]:
    """The hashes of a data set; they are shown and never used, so a damaged file does not stop the report."""
    path = folder / "data" / f"{name}.json"
    try:
        return read_json(path) if path.exists() else {}
    except DamagedRecord as damaged:
        return {"problem": f"data/{path.name}: {damaged.problem}"}

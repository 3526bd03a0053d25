"""How far a sweep has come, seen from outside: its records are read and nothing is written.

What a run takes comes from the seconds in the records, so no clock is compared with another machine's.
Nothing here imports torch.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from suite.records.experiment import read_plan
from suite.records.files import DamagedRecord, is_owned, read_json
from suite.records.run import RunFolder


class Finished(NamedTuple):
    """What is kept of a result, which never changes."""

    status: str
    val_top1: float
    epochs: int
    seconds: float


class Running(NamedTuple):
    """A run that some process trains now, and the epoch that it has finished."""

    cell: str
    which: str
    run: str
    epoch: int
    epochs: int


@dataclass
class CellStatus:
    """One cell: runs that are planned and finished, epochs likewise, and what an epoch takes."""

    cell: str
    tuning: int
    tuning_planned: int
    final: int
    final_planned: int
    failed: int = 0
    diverged: int = 0
    best_val_top1: float | None = None  # of the tuning trials so far
    epochs: int = 0
    epochs_planned: int = 0
    seconds_per_epoch: float | None = None


@dataclass
class Status:
    """An experiment at one moment. Rate and time left count the runs that are in progress as they are now."""

    experiment: str
    working: bool
    cells: list[CellStatus] = field(default_factory=list)
    running: list[Running] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    epochs_per_minute: float | None = None
    work_left_seconds: float | None = None  # for one run at a time

    @property
    def settled(self) -> bool:
        """Whether every planned run has a result or has failed."""
        return all(c.tuning + c.final + c.failed == c.tuning_planned + c.final_planned for c in self.cells)


class Observer:
    """Looks at one experiment, again and again: a finished run is read only once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._finished: dict[str, Finished] = {}

    def look(self) -> Status:
        """How far it is now. Damaged files are named in the result."""
        plan = read_plan(self.folder)
        status = Status(plan["experiment"], is_owned(self.folder))
        runs = self.folder / "runs"
        there = set(os.listdir(runs)) if runs.is_dir() else set()
        for spec in plan["cells"]:
            status.cells.append(self._cell(spec, plan, there, status))
        _estimate(status)
        return status

    def _cell(
        self, spec: Mapping[str, Any], plan: Mapping[str, Any], there: set[str], status: Status
    ) -> CellStatus:
        trials, seeds = plan["tuning"]["trials"], len(plan["seeds"])
        cell = CellStatus(spec["cell"], 0, trials, 0, seeds, epochs_planned=spec["epochs"] * (trials + seeds))
        path = self.folder / "cells" / f"{spec['cell']}.json"
        try:
            ledger = read_json(path)
        except FileNotFoundError:
            return cell
        except DamagedRecord as error:
            status.damaged.append(f"cells/{path.name}: {error.problem}")
            return cell
        entries = [(f"trial {entry['number']}", entry["run"], True) for entry in ledger["tuning"]]
        entries += [(f"seed {entry['seed']}", entry["run"], False) for entry in ledger["final"]]
        epochs = seconds = 0.0
        for which, run, tuning in entries:
            if run not in there:
                continue
            try:
                finished = self._result(run)
                if finished is None:
                    lines = self._unfinished(cell, which, run, spec["epochs"], status)
                    epochs, seconds = epochs + len(lines), seconds + sum(line["seconds"] for line in lines)
                    continue
            except DamagedRecord as error:
                status.damaged.append(f"{error.path.relative_to(self.folder)}: {error.problem}")
                continue
            _count(cell, finished, spec["epochs"], tuning=tuning)
            epochs, seconds = epochs + finished.epochs, seconds + finished.seconds
        cell.seconds_per_epoch = seconds / epochs if epochs else None
        return cell

    def _result(self, run: str) -> Finished | None:
        if run not in self._finished:
            result = RunFolder(self.folder / "runs" / run).result()
            if result is None:
                return None
            scores = result["scores"]
            self._finished[run] = Finished(
                result["status"], scores["val_top1"], result["epochs"], result["seconds"]
            )
        return self._finished[run]

    def _unfinished(
        self, cell: CellStatus, which: str, run: str, epochs: int, status: Status
    ) -> list[dict[str, Any]]:
        """Count a run that has begun; the lines of its epochs so far."""
        folder = RunFolder(self.folder / "runs" / run)
        owned = is_owned(folder.path)
        if not owned and folder.failure() is not None:
            cell.failed += 1
            return []
        lines = _whole_lines(folder.path / "epochs.jsonl")
        cell.epochs += len(lines)
        if owned:
            status.running.append(Running(cell.cell, which, run, len(lines), epochs))
        return lines


def _count(cell: CellStatus, finished: Finished, epochs: int, *, tuning: bool) -> None:
    cell.epochs += epochs  # a diverged run has spent its budget
    cell.diverged += finished.status == "diverged"
    if tuning:
        cell.tuning += 1
        cell.best_val_top1 = max(finished.val_top1, cell.best_val_top1 or 0.0)
    else:
        cell.final += 1


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The epochs of a run in progress; its last line may be half written."""
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return []
    try:
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]
    except ValueError as error:
        raise DamagedRecord(path, str(error)) from None


def _estimate(status: Status) -> None:
    """Rate and work left. A cell without an epoch so far is taken to be as fast as the others."""
    known = {cell.cell: cell.seconds_per_epoch for cell in status.cells if cell.seconds_per_epoch}
    if not known:
        return
    usual = sum(known.values()) / len(known)
    status.epochs_per_minute = sum(60 / known.get(run.cell, usual) for run in status.running)
    status.work_left_seconds = 0.0
    for cell in status.cells:
        each = cell.epochs_planned / (cell.tuning_planned + cell.final_planned)
        left = max(0.0, cell.epochs_planned - cell.epochs - cell.failed * each)
        status.work_left_seconds += left * known.get(cell.cell, usual)

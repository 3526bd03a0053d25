"""Reads what a sweep has promised and what it has come to: plan and ledgers, for whoever looks from outside.

Nothing here imports torch. The layout is described in results/README.md.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from suite.records.files import FORMAT, DamagedRecord, read_json


def read_plan(folder: Path) -> dict[str, Any]:
    """The plan of an experiment; FileNotFoundError without one, DamagedRecord for one of another format."""
    path = folder / "plan.json"
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: no sweep was started there")
    try:
        plan = read_json(path)
    except DamagedRecord as error:
        told = f"{error.problem}; the next sweep sets it aside and writes it anew"
        raise DamagedRecord(path, told) from None
    if plan.get("format") != FORMAT:
        raise DamagedRecord(
            path, f"its format is {plan.get('format')!r}; this flipbench reads format {FORMAT}"
        )
    return plan


def read_ledger(path: Path, plan: Mapping[str, Any]) -> dict[str, Any]:
    """A cell's ledger, empty if there is none yet.

    DamagedRecord as in `read_json`; ValueError, LookupError or TypeError unless it names each planned trial
    and seed at most once, and no other.
    """
    try:
        ledger = read_json(path)
    except FileNotFoundError:
        return {"tuning": [], "winner": None, "final": []}
    if f"{ledger['cell']}.json" != path.name:
        raise ValueError(f"it is that of {ledger['cell']}")
    names = [(entry["number"], entry["run"], entry["hypers"].keys()) for entry in ledger["tuning"]]
    numbers = [number for number, _, _ in names]
    seeds = [entry["seed"] for entry in ledger["final"]]
    runs = [entry["run"] for entry in ledger["final"]]
    if not set(numbers) <= set(range(plan["tuning"]["trials"])) or not set(seeds) <= set(plan["seeds"]):
        raise ValueError("it names a trial or a seed that was not planned")
    # Two trials may draw the same setting and so share a run; the runs of two seeds are never the same.
    if any(len(set(each)) < len(each) for each in (numbers, seeds, runs)):
        raise ValueError("it names the same trial, seed or final run twice")
    if (winner := ledger["winner"]) is not None and winner["number"] not in numbers:
        raise ValueError(f"its winner is trial {winner['number']}, which it does not name")
    return ledger


def failure_reason(failure: Mapping[str, Any]) -> str:
    """Why a run has no result, in one line: kind, where, and the error."""
    where = f" {failure['where']}" if failure["where"] else ""
    return f"{failure['kind']}{where}: {failure['error']}"

"""A plan as a person reads it: one line for each cell, then the costs."""

from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group
from rich.text import Text

from suite.cli.console import table
from suite.experiment.build import network_size
from suite.experiment.cost import disk_bytes
from suite.experiment.plan import Plan
from suite.records.codec import encode


def plan_view(plan: Plan, results: Path) -> Group:
    """The cells, the searched hyperparameters, and the totals."""
    tuning, seeds = plan.experiment.tuning, plan.experiment.seeds
    cells = table("cell", "runs", "epochs", "binary weights", box=box.SIMPLE_HEAD)
    for cell in plan.cells:
        size = network_size(cell.trial(cell.published, 0, "tune"), cell.sizes)
        each = cell.train.epochs
        runs = f"{tuning.trials} + {seeds}"
        cells.add_row(cell.name, runs, f"{each} each, {each * plan.runs_per_cell:,}", f"{size.binary:,}")
    spaces = {cell.method_label: cell.space for cell in plan.cells}
    searches = [f"{label} searches {', '.join(space) or 'nothing'}" for label, space in spaces.items()]
    totals = (
        f"{len(plan.cells)} cells, {plan.runs:,} runs, {plan.epochs:,} epochs, "
        f"at most {disk_bytes(plan) / 1e6:,.0f} MB of records in {results / plan.name}"
    )
    return Group(Text(plan.experiment.summary), cells, *map(Text, (*searches, totals)))


def plan_as_json(plan: Plan) -> dict[str, Any]:
    """The content of plan.json and the costs."""
    costs = {"runs": plan.runs, "epochs": plan.epochs, "disk_bytes": disk_bytes(plan)}
    return {**encode(plan.record()), **costs}

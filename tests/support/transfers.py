"""A tiny experiment of two tasks whose winners run on the other one, swept for real."""

from pathlib import Path

from suite.data import load_splits
from suite.experiment.plan import Plan
from suite.records.schema import DataRecord
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.pool import LocalPool, Machine
from tests.support.tiny import tiny_plan

TRANSFER = """
version: 1
summary: Tiny.
tasks:
  - data: {name: digits, train_limit: 200}
    model: [{name: mlp, hidden: [16]}, {name: mlp, label: wide, hidden: [24]}]
methods: [bop, {name: latent-adam, decay: {lr: {cosine: 0.0}}}]
train: {epochs: 2, batch_size: 50}
tuning: {trials: 2, studies: 2, transfer: true}
seeds: 2
"""


def data_of(plan: Plan) -> dict[str, DataRecord]:
    """The record of its only data set."""
    return {"digits": load_splits(plan.cells[0].data).record}


def transfer_sweep(folder: Path) -> Path:
    """The folder of its records, all of them in."""
    plan = tiny_plan(folder, text=TRANSFER)
    prepare_folder(plan, folder / "results", data_of(plan))
    with LocalPool(Machine(("cpu",))) as pool:
        assert Sweep(plan, folder / "results", pool).run()
    return folder / "results"

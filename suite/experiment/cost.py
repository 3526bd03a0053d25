"""The disk space that an experiment will need, estimated from its plan, and whether it is free."""

import shutil
from pathlib import Path

from suite.experiment.cell import Cell
from suite.experiment.plan import Plan
from suite.machine.errors import UserError
from suite.probes import PROBES

BYTES_PER_LINE = 500  # of epochs.jsonl, and as many again for each binary layer's counts
BYTES_PER_RUN = 10_000  # trial, environment, result, and the run's lines in the ledger and in optuna.log
BYTES_PER_OUTPUT = 4 * 6  # of a kept layer: a scale, and batch norm's five numbers
# A checkpoint holds each parameter with its optimizer's state, three floats for most methods and seldom more,
# and six bytes of flip counts. The previous one is kept, and the next one is written next to them.
BYTES_PER_PARAMETER = 3 * (4 * 4 + 6)


def disk_bytes(plan: Plan) -> int:
    """An upper estimate of the bytes that the finished experiment's records take."""
    return sum(
        plan.runs_of(cell) * _run_bytes(cell) + plan.final_runs(cell) * _final_bytes(plan, cell)
        for cell in plan.cells
    )


def training_images(plan: Plan) -> int:
    """How many images all runs train on, each counted as often as it is used: time, for a known rate."""
    return sum(plan.runs_of(cell) * cell.train.epochs * cell.sizes.train for cell in plan.cells)


def probed_images(plan: Plan) -> int:
    """How many images the probes of all final runs compute at most: none takes longer than to train on it."""
    return sum(plan.final_runs(cell) * probed_per_run(cell) for cell in plan.cells)


def probed_per_run(cell: Cell) -> int:
    """The same of one final run."""
    return sum(PROBES[probe.name].images(cell.sizes, **probe.options) for probe in cell.probes)


def checkpoint_bytes(plan: Plan, workers: int) -> int:
    """The most that the checkpoints of runs in progress take at one time, for methods with usual state."""
    sizes = [cell.network for cell in plan.cells]
    return workers * BYTES_PER_PARAMETER * max(size.binary + size.real for size in sizes)


def require_space(plan: Plan, folder: Path, workers: int) -> None:
    """Raises UserError if the disk under `folder` has less free space than the sweep may need.

    Records of an earlier part of the sweep are counted again: this is an upper estimate.
    """
    need = disk_bytes(plan) + checkpoint_bytes(plan, workers)
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < need:
        raise UserError(
            f"{folder}: the sweep may write up to {need / 1e6:,.0f} MB ({workers} workers' checkpoints "
            f"included), but only {free / 1e6:,.0f} MB are free there; free some space, or put the results "
            "on another disk with --results"
        )


def _run_bytes(cell: Cell) -> int:
    return BYTES_PER_RUN + cell.train.epochs * BYTES_PER_LINE * (1 + cell.network.layers // 4)


def _network_bytes(plan: Plan, cell: Cell) -> int:
    """What a kept network takes: a bit for each weight, or a float as a control may have; real numbers."""
    size = cell.network
    weights = 4 * size.binary if plan.methods[cell.method_label].control else size.binary // 8
    outputs = size.real + sum(shape[0] for shape in size.shapes)
    return BYTES_PER_RUN + weights + BYTES_PER_OUTPUT * outputs


def _final_bytes(plan: Plan, cell: Cell) -> int:
    """What a final run has in addition: the flips of each step, a bit for each test image, its network."""
    steps = max(1, cell.sizes.train // cell.train.batch_size) * cell.train.epochs
    kept = _network_bytes(plan, cell) if plan.keep_weights else 0
    return 4 * steps * cell.network.layers + cell.sizes.test // 8 + kept

"""`flipbench sweep` and `flipbench tune`: a plan, carried out over a pool of workers."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import typer

from suite.cli.console import complain, err, out, print_json, say
from suite.cli.options import (
    RESULTS,
    Adopt,
    AsJson,
    Device,
    DryRun,
    Engine,
    Exp,
    Plugin,
    Results,
    Set,
    Threads,
    Workers,
)
from suite.cli.plan import print_plan, read_plan, require_same_work_in
from suite.experiment.files import published_archive
from suite.machine import preemption
from suite.machine.errors import UserError
from suite.machine.words import count
from suite.records.replan import require_no_older_place

if TYPE_CHECKING:
    from suite.experiment.plan import Plan
    from suite.records.experiment import ExperimentFolder
    from suite.records.schema import DataRecord, Ledger, PlannedCell, PlanRecord
    from suite.sweep.pool import LocalPool, Pool
    from suite.sweep.ray_pool import RayPool


def _command(*, tuning_only: bool) -> Callable[..., None]:
    """The body of `sweep`, and of `tune`, which stops before the final runs."""

    def command(
        exp: Exp,
        set_: Set = None,
        plugin: Plugin = None,
        device: Device = "auto",
        engine: Engine = "local",
        workers: Workers = None,
        threads: Threads = 1,
        adopt: Adopt = True,
        results: Results = RESULTS,
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        planned = read_plan(exp, set_, plugin)
        if dry_run:
            print_plan(planned, results, as_json)
            require_same_work_in(results, planned)
            return
        folder = results / planned.name
        if note := require_no_older_place(results, planned.record):
            say(err, note)
        archive = published_archive(planned.name, results) if adopt else None
        machines = Machines(engine, device, workers, threads)
        complete = run_plan(planned, folder, machines, archive, tuning_only=tuning_only)
        _conclude(planned, folder, complete, as_json, tuning_only=tuning_only)

    return command


sweep, tune = _command(tuning_only=False), _command(tuning_only=True)
sweep.__name__, tune.__name__ = "sweep", "tune"
sweep.__doc__ = (
    "Tune every cell, run the winners on fresh seeds, write the report. Run it again after a stop."
)
tune.__doc__ = "Run only the tuning trials of every cell, without the test set. `sweep` resumes from there."


class Machines(NamedTuple):
    """Where trials run."""

    engine: Engine
    device: str
    workers: int | None
    threads: int


def run_plan(
    planned: "Plan",
    folder: Path,
    machines: Machines,
    archive: Path | None,
    *,
    tuning_only: bool = False,
    part: bool = False,
) -> bool:
    """Run everything that is neither finished nor archived; True if every planned run then has a result.

    part: the plan holds a part of the archive.
    """
    from suite.experiment.cost import require_space

    pool, workers = _pool(planned, folder, machines)
    with pool:
        require_space(planned, folder, workers)
        records = _lend_images(planned, pool, workers if machines.engine == "local" else 0)
        return _sweep(planned, folder, pool, records, archive, tuning_only=tuning_only, part=part)


def _pool(planned: "Plan", folder: Path, machines: Machines) -> "tuple[LocalPool | RayPool, int]":
    """A pool and its number of workers. UserError if the device or the cluster is unavailable."""
    from suite.data.stored.batches import share_decoders
    from suite.sweep.pool import LocalPool, Machine, devices_of
    from suite.sweep.ray_pool import RayPool

    if machines.engine == "ray":
        of_pool = machines.device, machines.workers, machines.threads, planned.plugins
        pool = RayPool(folder, *of_pool, keep_weights=planned.keep_weights)
        return pool, pool.workers
    devices = devices_of(machines.device, machines.workers, planned.runs)
    share_decoders(len(devices))
    machine = Machine(devices, machines.threads, keep_weights=planned.keep_weights)
    return LocalPool(machine, planned.plugins), len(devices)


def _sweep(
    planned: "Plan",
    folder: Path,
    pool: "Pool",
    records: "dict[str, DataRecord]",
    archive: Path | None,
    *,
    tuning_only: bool,
    part: bool,
) -> bool:
    from suite.checks.adopt import adoption
    from suite.cli.views.progress import SweepProgress
    from suite.records.files import owned
    from suite.sweep.coordinator import DiskFailed, Sweep, prepare_folder

    preemption.heed_sigterm()
    with owned(folder) as mine:
        if not mine:
            raise UserError(f"{folder}: another sweep works in this folder")
        with adoption(archive, folder, planned.record, records, part) as adopted:
            notes = [*prepare_folder(planned, folder, records), *adopted.carry_out()]
        progress = SweepProgress(planned, tuning_only=tuning_only)
        for note in notes:
            progress.on_note(note)
        say(err, f"{count(progress.runs, 'run')}, {count(progress.epochs, 'epoch')}, {pool} -> {folder}")
        try:
            with progress:
                return Sweep(planned, folder, pool, tuning_only, progress.on_message, progress.on_note).run()
        except KeyboardInterrupt:
            err.print("interrupted; the same command resumes the sweep")
            raise typer.Exit(130) from None
        except preemption.StopRequested:
            err.print("stopped by SIGTERM; the same command resumes the sweep")
            raise typer.Exit(preemption.EXIT_CODE) from None
        except DiskFailed as error:
            complain("stopped:", str(error))
            raise typer.Exit(1) from None


def _lend_images(planned: "Plan", pool: "Pool", workers: int) -> "dict[str, DataRecord]":
    """Read each data set once, without its test part, and offer its images to the workers.

    workers: those on this machine. DataError if they have too little shared memory for images on disk.
    """
    from suite.data import StoredImages, skipped_text
    from suite.sweep.images import read_images

    records = {}
    for label, cell in {cell.data_label: cell for cell in planned.cells}.items():
        own = cell.plugins.get("data")
        splits, read_test = read_images(cell.data, {own: planned.plugins[own]} if own else {})
        records[label] = splits.record
        if note := skipped_text(splits.record.skipped):
            say(err, f"{label}: {note}")
        if workers and isinstance(splits.train, StoredImages):
            trains = [cell.train for cell in planned.cells if cell.data_label == label]
            parts = [train.batch_size // train.batch_parts for train in trains]
            splits.train.require_shared_memory(parts, workers=workers)
        if problem := pool.lend(cell.data, splits, read_test):
            say(err, f"{label}: every worker holds its own images, because they cannot be shared: {problem}")
    return records


def _ledger(records: "ExperimentFolder", cell: "PlannedCell", plan: "PlanRecord") -> "Ledger":
    from suite.records.schema import Ledger

    try:
        return records.ledger(cell, plan)
    except FileNotFoundError:  # nothing of it is planned yet: only tuning was asked for, and there is none
        return Ledger.empty(cell.cell)


def _conclude(planned: "Plan", folder: Path, complete: bool, as_json: bool, *, tuning_only: bool) -> None:
    """Write the report, print the outcome; exit code 1 if a planned run has no result."""
    from report.build import build_report
    from suite.records.codec import encode
    from suite.records.experiment import ExperimentFolder

    page = build_report(folder) if as_json or tuning_only else build_report(folder, out.print)
    if as_json:
        records, record = ExperimentFolder(folder), planned.record
        cells = [encode(_ledger(records, cell, record)) for cell in record.cells]
        print_json({"complete": complete, "report": str(page), "cells": cells})
    say(err, f"report: {page}")
    if not complete:
        complain("some planned runs have no result:", "the report says which and why")
        raise typer.Exit(1)

"""Writes an export: reads the records of an experiment run by run, and adds each to all files at once."""

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from report.export.files import csv_file, parquet_file
from report.export.tables import Tables
from report.export.tensorboard import FILE, write_events
from report.read.experiment import read_records
from report.read.records import RunRecord
from report.read.run import read_epochs
from suite.records.experiment import ExperimentFolder
from suite.records.files import WriteError, clear_torn, writing
from suite.records.schema import EpochLine

Format = Literal["csv", "parquet", "tensorboard"]
Take = Callable[[RunRecord, list[EpochLine]], None]
EVENTS = "tensorboard"  # the folder of the event files


def export_records(
    experiment_folder: Path,
    target: Path,
    formats: Sequence[Format],
    on_problem: Callable[[str], object] = lambda text: None,
) -> list[Path]:
    """Write the tables and event files of an experiment to a folder that exists; what was written.

    A file is whole or absent; all tables get their names at the end. `on_problem` is called with each damaged
    record. The same records give the same bytes. Raises as `build_report`, and ImportError where the extra of
    a format is not installed.
    """
    records, folder = read_records(experiment_folder), ExperimentFolder(experiment_folder)
    tables = Tables(records)
    names = [f"{name}.{each}" for each in formats if each != "tensorboard" for name in tables.columns]
    for path in (target / name for name in names):
        if path.is_dir():  # else some tables would have their names, and the others not
            raise WriteError(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    clear_torn(target)
    read: list[RunRecord] = []
    with contextlib.ExitStack() as stack:
        takers = [stack.enter_context(_open(each, target, tables)) for each in formats]
        for planned in records.runs:
            run, lines = read_epochs(folder, planned)
            read.append(run)
            for take in takers:
                take(run, lines)
    for problem in replace(records, runs=read).damaged:
        on_problem(problem)
    return [target / name for name in names] + [target / EVENTS] * ("tensorboard" in formats)


@contextlib.contextmanager
def _open(each: Format, target: Path, tables: Tables) -> Iterator[Take]:
    if each == "tensorboard":
        with _event_files(target / EVENTS, tables) as write:
            yield write
        return
    table_file = {"csv": csv_file, "parquet": parquet_file}[each]
    with contextlib.ExitStack() as stack:
        files = {
            name: stack.enter_context(table_file(target / f"{name}.{each}", columns))
            for name, columns in tables.columns.items()
        }

        def take(run: RunRecord, lines: list[EpochLine]) -> None:
            for name, rows in tables.rows(run, lines).items():
                files[name](rows)

        yield take


@contextlib.contextmanager
def _event_files(folder: Path, tables: Tables) -> Iterator[Take]:
    """One for each run that has a result. Of these cells nothing older stays, nor what a killed export left.

    Files of other cells do: experiments are compared in TensorBoard in one folder.
    """
    written: set[Path] = set()

    def take(run: RunRecord, lines: list[EpochLine]) -> None:
        if run.result is not None:
            written.add(write_events(folder, run, lines, tables.settings(run)))

    yield take
    found = (
        path
        for cell in tables.cells
        for name in (FILE, f".{FILE}.*.tmp")
        for path in (folder / cell).rglob(name)
    )
    for stale in set(found) - written:
        with writing(stale):
            stale.unlink()

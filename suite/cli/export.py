"""`flipbench export`: all runs and curves of an experiment as tables, or as event files of TensorBoard."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.console import end_if_damaged, out, say
from suite.cli.options import RESULTS, Records, Results, existing_records, is_archive, records_folder
from suite.machine.errors import UserError
from suite.records.experiment import ExperimentFolder
from suite.records.files import make_folder, make_part

if TYPE_CHECKING:
    from report.export.write import Format

EXTRAS: "dict[Format, str]" = {"parquet": "pyarrow", "tensorboard": "tensorboard"}  # the package of each


def export(
    exp: Records,
    csv: Annotated[bool, typer.Option("--csv", help="Write runs.csv, epochs.csv and layers.csv.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="Write the same as .parquet files.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write event files to tensorboard/, one folder a run.")
    ] = False,
    to: Annotated[
        Path | None,
        typer.Option(help="Where to write. Default: `export`, in the records' folder.", file_okay=False),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Write the runs and their curves as tables, for plots of your own. Exit code 2 if a record is damaged.

    The tables have a row per planned run (finished or not), per run and epoch, and per run, epoch and binary
    layer. Files of the same names are replaced. By default they are written to a folder `export` in that of
    the records, or next to an archive.
    """
    wanted: list[tuple[Format, bool]] = [("csv", csv), ("parquet", parquet), ("tensorboard", tensorboard)]
    formats: list[Format] = [name for name, chosen in wanted if chosen]
    if not formats:
        raise UserError("choose at least one of --csv, --parquet and --tensorboard")
    for name in formats:
        _require_extra(name)
    from report.export.write import export_records

    records, problems = existing_records(exp, results), list[str]()
    with records_folder(records) as folder:
        ExperimentFolder(folder).plan()  # before a folder is made
        if to is not None:
            make_folder(to)
        else:
            make_part(to := (records.parent if is_archive(records) else records) / "export")
        for path in export_records(folder, to, formats, problems.append):
            say(out, f"exported: {path}")
    end_if_damaged(problems)


def _require_extra(name: "Format") -> None:
    """UserError if the package of a format is not installed."""
    package = EXTRAS.get(name)
    if package is None:
        return
    try:
        importlib.import_module(package)
    except ImportError:
        raise UserError(
            f"--{name} needs {package}, the extra `{name}` of flipbench: "
            f"{sys.executable} -m pip install {package}"
        ) from None

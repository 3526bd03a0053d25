"""The arguments and options that several commands share."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

from suite.cli.complete import complete_experiment, complete_folder, complete_records
from suite.cli.console import err, say
from suite.experiment.files import (
    SHIPPED_RESULTS,
    SUFFIXES,
    archived,
    experiment_name,
    published_archive,
    recorded,
)
from suite.machine.errors import UserError, one_of
from suite.records.archive import ARCHIVE, unpacked
from suite.records.experiment import ExperimentFolder

RESULTS = Path("results")

Exp = Annotated[
    str,
    typer.Argument(
        metavar="EXP",
        help="A name in experiments/, or the path of a YAML file.",
        autocompletion=complete_experiment,
    ),
]
Folder = Annotated[
    str,
    typer.Argument(
        metavar="EXP",
        help="A name in results/, an experiment's file, or the path of a folder.",
        autocompletion=complete_folder,
    ),
]
Records = Annotated[
    str,
    typer.Argument(
        metavar="EXP",
        help="A name in results/ or results/published/, an experiment's file, a folder, or an archive.",
        autocompletion=complete_records,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value, for example --set train.epochs=5."),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin", help="A Python file with methods, models or data sets of your own; it is executed."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
Adopt = Annotated[
    bool, typer.Option("--adopt/--no-adopt", help="Begin with the finished runs of the published archive.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and print the plan; run and write nothing.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where trials run: this machine, or a Ray cluster (docs/clusters.md)."),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, max=10_000, help="Worker processes. Default: one per core, or one per GPU."),
]
Threads = Annotated[
    int, typer.Option(min=1, max=1024, help="Threads of each worker; another number gives other bits.")
]
Results = Annotated[
    Path, typer.Option(help="The folder that holds one folder per experiment.", file_okay=False)
]


def results_folder(exp: str, results: Path) -> Path:
    """The folder of an experiment's records, from its name, its file or the folder's path."""
    if exp.endswith(SUFFIXES) and not (results / exp).is_dir() and not Path(exp).is_dir():
        exp = experiment_name(Path(exp))
    parts = Path(exp).parts
    if not parts or ".." in parts:  # no name, but the way to a folder
        return Path(exp)
    named = results / exp
    if named.is_dir() or Path(exp).is_dir():
        return named if named.is_dir() else Path(exp)
    before = results / Path(exp).name  # where an older flipbench put it
    if before != named and before.is_dir():
        raise UserError(f"{named} does not exist. {before} does: if it is meant, name it, or move it there")
    return named


def find_records(exp: str, results: Path) -> Path:
    """The folder of an experiment's records; where none are in it, their archive, if there is one."""
    if exp.endswith(Path(ARCHIVE).suffix):
        return results / exp if os.path.lexists(results / exp) else Path(exp)
    folder = results_folder(exp, results)
    if ExperimentFolder(folder).has_records():
        return folder
    if os.path.lexists(folder / ARCHIVE):
        return folder / ARCHIVE
    name = experiment_name(Path(exp)) if exp.endswith(SUFFIXES) else exp
    return published_archive(name, results) or folder


def existing_records(exp: str, results: Path) -> Path:
    """What `find_records` finds; UserError with the choices where nothing is there."""
    records = find_records(exp, results)
    if os.path.lexists(records):
        return records
    if is_archive(records):
        raise UserError(f"{records} does not exist")
    known = sorted({*recorded(results), *archived(results), *archived(SHIPPED_RESULTS)})
    raise UserError(f"{records / 'plan.json'} does not exist: no sweep was started there{one_of(exp, known)}")


def is_archive(records: Path) -> bool:
    """Whether `find_records` found an archive, by its name: what lies there may be anything."""
    return records.suffix == Path(ARCHIVE).suffix and not records.is_dir()


@contextlib.contextmanager
def records_folder(records: Path) -> Iterator[Path]:
    """What `find_records` found as a folder: an archive is unpacked for the time of the block."""
    if not is_archive(records):
        yield records
        return
    say(err, f"records: {records}")
    with unpacked(records) as folder:
        yield folder

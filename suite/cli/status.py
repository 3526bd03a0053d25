"""`flipbench status`: how far a sweep is."""

import dataclasses
from typing import Annotated

import typer

from suite.cli.console import out, print_json
from suite.cli.options import RESULTS, AsJson, Records, Results, existing_records, is_archive, records_folder
from suite.machine.errors import UserError


def status(
    exp: Records,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show how far a sweep is, and whether one works there now. Exit code 2 if a record is damaged."""
    from suite.checks.status import Observer
    from suite.cli.views.status import picture, watch_status

    if watch and (as_json or not out.is_terminal):
        raise UserError("--watch needs a terminal, and does not go with --json")
    records = existing_records(exp, results)
    if watch and is_archive(records):
        raise UserError(f"{records}: an archive does not change; --watch needs the folder of a sweep")
    with records_folder(records) as folder:
        observer = Observer(folder)
        seen = watch_status(observer, out) if watch else observer.look()
    if as_json:
        print_json(dataclasses.asdict(seen))
    elif not watch:
        out.print(picture(seen))
    if seen.damaged:
        raise typer.Exit(2)

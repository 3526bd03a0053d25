"""`flipbench verify`: whether all records are there, intact and consistent."""

from typing import Annotated

import typer

from suite.cli.console import err, out, print_json
from suite.cli.options import RESULTS, AsJson, Plugin, Records, Results, existing_records, records_folder


def verify(
    exp: Records,
    replay: Annotated[
        str | None,
        typer.Option(metavar="RUN|N|all", help="Train this run, so many or all again and compare the bits."),
    ] = None,
    draws: Annotated[
        bool, typer.Option("--draws", help="Draw every setting of random search again from the plan's seed.")
    ] = False,
    plugin: Plugin = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Check that all records are there (else exit code 1), intact and free of contradiction (else 2)."""
    from suite.cli.views import verify as view

    with records_folder(existing_records(exp, results)) as folder:
        found = view.verify_with_bar(folder, err)
        drawn = view.redraw_with_bar(folder, found, err) if draws else 0
        runs = view.chosen_runs(replay, folder, found) if replay is not None else []
        same = view.replay_with_bar(folder, found, runs, plugin or [], err) if runs else 0
    if as_json:
        print_json(view.as_json(found, drawn, len(runs), same))
    else:
        out.print(view.picture(found), soft_wrap=True)
        if draws:
            out.print(f"{drawn:,} settings of random search are drawn again as they were")
        if replay is not None:
            out.print(f"{same} of {len(runs)} replayed runs gave the same bits")
        out.print(view.verdict(found))
    raise typer.Exit(found.exit_code)

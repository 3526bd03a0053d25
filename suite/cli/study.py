"""`flipbench study`: how easy the methods of an experiment are to tune, from its records alone."""

from typing import Annotated

import typer

from suite.cli.console import end_if_damaged, out, print_json
from suite.cli.options import RESULTS, AsJson, Records, Results, existing_records, records_folder


def study(
    exp: Records,
    effective: Annotated[
        bool,
        typer.Option(
            "--effective",
            help="Also fit the effective number of hyperparameters where there are 100 random draws; half a "
            "minute for each method.",
        ),
    ] = False,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Show how easy each method is to tune, and what tuning gained. Exit code 2 if a record is damaged."""
    from report.build import study_tuning

    problems: list[str] = []
    with records_folder(existing_records(exp, results)) as folder:
        pages = study_tuning(folder, problems.append, effective)
    if as_json:
        print_json([page.as_json() for page in pages])
    else:
        for page in pages:
            out.print(page.rich())
    end_if_damaged(problems)

"""`flipbench report`: the report of an experiment, or two of them side by side, from their records alone."""

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.complete import complete_records
from suite.cli.console import end_if_damaged, err, out, print_json, say
from suite.cli.options import RESULTS, AsJson, Records, Results, find_records, is_archive, records_folder

Other = Annotated[
    str | None,
    typer.Argument(
        metavar="[OTHER]",
        help="A second experiment, or another version of the first: which rows changed, and by how much.",
        autocompletion=complete_records,
    ),
]


def report(exp: Records, other: Other = None, results: Results = RESULTS, as_json: AsJson = False) -> None:
    """Write the report of the records that there are, finished or not. Exit code 2 if one is damaged.

    The report is a folder `report` in that of the records, or next to an archive. With OTHER the two are
    compared row by row and nothing is written. --json prints the numbers instead of a table.
    """
    problems: list[str] = []
    records = find_records(exp, results)
    if other is not None:
        _compare(records, find_records(other, results), as_json, problems)
    else:
        _write(records, as_json, problems)
    end_if_damaged(problems)


def _write(records: Path, as_json: bool, problems: list[str]) -> None:
    from report.build import build_report

    place = records.parent / "report" if is_archive(records) else records / "report"
    with records_folder(records) as folder:
        if as_json:
            page = build_report(folder, on_problem=problems.append, target=place, take=print_json)
        else:
            page = build_report(folder, out.print, problems.append, place)
    say(err if as_json else out, f"report: {page}")


def _compare(first: Path, second: Path, as_json: bool, problems: list[str]) -> None:
    from report.build import compare_reports

    with records_folder(first) as one, records_folder(second) as other:
        versions = compare_reports(one, other, problems.append)
    if as_json:
        print_json(versions.json)
    else:
        out.print(versions.table)
    for note in versions.notes:
        say(err, f"note: {note}")

"""`flipbench report`: the report of an experiment, from its records alone."""

import typer

from suite.cli.console import err, out, say
from suite.cli.options import RESULTS, Records, Results, find_records, is_archive, records_folder

SHOWN = 10  # problems, of however many


def report(exp: Records, results: Results = RESULTS) -> None:
    """Write the report of the records that there are, finished or not. Exit code 2 if one is damaged.

    The report is a folder `report` in that of the records, or next to an archive.
    """
    from report.build import build_report

    problems: list[str] = []
    records = find_records(exp, results)
    place = records.parent / "report" if is_archive(records) else records / "report"
    with records_folder(records) as folder:
        page = build_report(folder, out.print, problems.append, place)
    say(out, f"report: {page}")
    for problem in problems[:SHOWN]:
        say(err, f"damaged: {problem}")
    if problems:
        say(err, f"{len(problems)} damaged or contradictory records; `flipbench verify` names all of them")
        raise typer.Exit(2)

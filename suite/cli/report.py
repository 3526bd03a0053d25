"""`flipbench report`: the report of an experiment, from its records alone."""

import typer

from suite.cli.console import err, out, say
from suite.cli.options import RESULTS, Folder, Results, results_folder

SHOWN = 10  # problems, of however many


def report(exp: Folder, results: Results = RESULTS) -> None:
    """Write the report of the records that there are, finished or not. Exit code 2 if one is damaged."""
    from report.build import build_report

    problems: list[str] = []
    page = build_report(results_folder(exp, results), out.print, problems.append)
    say(out, f"report: {page}")
    for problem in problems[:SHOWN]:
        say(err, f"damaged: {problem}")
    if problems:
        say(err, f"{len(problems)} damaged or contradictory records; `flipbench verify` names all of them")
        raise typer.Exit(2)

"""`flipbench report`: the report of an experiment, from its records alone."""

from suite.cli.console import out, say
from suite.cli.options import RESULTS, Folder, Results, results_folder


def report(exp: Folder, results: Results = RESULTS) -> None:
    """Write the report of the records that there are, finished or not. Reads records only."""
    from report.build import build_report

    page = build_report(results_folder(exp, results), out.print)
    say(out, f"report: {page}")

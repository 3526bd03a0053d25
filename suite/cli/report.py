"""`flipbench report`: the report of an experiment, or two of them side by side, from their records alone."""

from pathlib import Path
from typing import Annotated

import typer

from suite.cli.complete import complete_records
from suite.cli.console import end_if_damaged, err, out, print_json, say
from suite.cli.options import RESULTS, AsJson, Records, Results, existing_records, is_archive, records_folder
from suite.machine.errors import UserError

Other = Annotated[
    str | None,
    typer.Argument(
        metavar="[OTHER]",
        help="A second experiment, or another version of the first: which rows changed, and by how much.",
        autocompletion=complete_records,
    ),
]


FigureName = Annotated[
    str | None, typer.Option("--figure", metavar="NAME", help="Write one figure of the report and no page.")
]
To = Annotated[
    Path | None,
    typer.Option("--to", metavar="FILE", help="Of --figure: a .svg, .pdf or .csv file. Default: NAME.svg."),
]


def report(
    exp: Records,
    other: Other = None,
    figure: FigureName = None,
    to: To = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Write the report of the records that there are, finished or not. Exit code 2 if one is damaged.

    The report is a folder `report` in that of the records, or next to an archive. With OTHER the two are
    compared row by row and nothing is written. --json prints the numbers instead of a table.
    """
    problems: list[str] = []
    records = existing_records(exp, results)
    if to is not None and figure is None:
        raise UserError("--to is the file of one figure: name the figure with --figure")
    if figure is not None:
        if other is not None or as_json:
            raise UserError("--figure writes one figure of one experiment: leave out OTHER and --json")
        _write_figure(records, figure, to, problems)
    elif other is not None:
        _compare(records, existing_records(other, results), as_json, problems)
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


def _write_figure(records: Path, name: str, to: Path | None, problems: list[str]) -> None:
    from report.build import FIGURE_FILES, NoFigure, write_figure

    if to is not None and to.suffix not in FIGURE_FILES:
        raise UserError(f"--to {to}: a figure is written as {', '.join(FIGURE_FILES)}")
    target = to or Path(f"{name}.svg")
    with records_folder(records) as folder:
        try:
            write_figure(folder, name, target, problems.append)
        except NoFigure as error:
            known = ", ".join(error.known) or "none yet"
            raise UserError(f"the report has no figure {name!r}; it has: {known}") from None
    say(out, f"figure: {target}")


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

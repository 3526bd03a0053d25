"""`flipbench merge`: the records of one experiment from two places, as one folder."""

import contextlib
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.complete import complete_records
from suite.cli.console import complain, err, out, say
from suite.cli.options import RESULTS, Records, Results, existing_records, is_archive, records_folder
from suite.machine.errors import UserError
from suite.machine.words import count
from suite.records.experiment import ExperimentFolder

Other = Annotated[
    str,
    typer.Argument(
        metavar="OTHER",
        help="More records of the same experiment, as from another machine.",
        autocompletion=complete_records,
    ),
]


def merge(
    exp: Records,
    other: Other,
    to: Annotated[
        Path | None,
        typer.Option(help="The folder that gets the records. Default: the first one.", file_okay=False),
    ] = None,
    results: Results = RESULTS,
) -> None:
    """Merge two records of one experiment into one folder. Exit code 1 if they contradict each other.

    Every finished or failed run is taken whole, and one that both hold once. Where two records differ, the
    first is the record, and the other is named and kept in the folder `set-aside`; so are damaged ones.
    Nothing is written if the experiment, the protocol or the images are not the same.
    """
    from suite.checks.merge import Source, merge_records, require_mergeable
    from suite.cli.views.verify import verify_with_bar

    places = [existing_records(name, results) for name in (exp, other)]
    if to is None and is_archive(places[0]):
        raise UserError(f"{places[0]} is an archive, which does not change: name a folder with --to")
    target = to or places[0]
    for place in places if to is not None else ():
        if place.resolve() in target.resolve().parents:
            raise UserError(f"--to {target} lies in {place}, whose records are merged: name another folder")
    sources: list[Source] = []
    with contextlib.ExitStack() as stack:
        if ExperimentFolder(target).plan_path.exists():
            places.insert(0, target)
        for place in places:
            folder = stack.enter_context(records_folder(place))
            ExperimentFolder(folder).plan()  # there is one
            if not any(folder.samefile(source.path) for source in sources):
                sources.append(Source(place, folder, verify_with_bar(folder, err)))
        if len(sources) < 2:
            raise UserError(f"{exp} and {other} are the same folder")
        require_mergeable(sources, target)
        done = merge_records(sources, target)
    for place, taken in done.taken.items():
        say(out, f"{place}: {count(taken, 'run')} taken, {done.known[place]:,} there already")
    for note in done.notes:
        say(err, note)
    for text in done.contradictions:
        complain("contradiction:", text)
    say(out, f"merged: {target}")
    if done.contradictions:
        raise typer.Exit(1)

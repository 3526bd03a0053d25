"""`flipbench claims`: what stands, what falls and what is open, from the records of all claims."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.text import Text

from suite.cli.complete import complete_experiment
from suite.cli.console import end_if_damaged, err, out, print_json, say, table
from suite.cli.options import RESULTS, AsJson, Results, find_records, records_folder
from suite.cli.publish import take_picture
from suite.experiment.claim_files import REPLY, ClaimFile, claim_file, claim_files
from suite.experiment.files import PUBLISHED, SUFFIXES, experiments
from suite.machine.errors import UserError, one_of, shown
from suite.records.files import make_part, read_bytes, write_atomically

if TYPE_CHECKING:
    from report.claims import ClaimEvidence

FOLDER = "claims"  # in experiments/, in results/ and in results/published/
PICTURE = "claims.png"
STYLES = {"supported": "bold green", "refuted": "bold red", "damaged": "bold yellow"}

Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="One claim: its experiment, its id, as C1, or a folder of records. Default: all of them.",
        autocompletion=complete_experiment,
    ),
]
Publish = Annotated[
    bool,
    typer.Option("--publish", help="Also write the text, the numbers and a picture to RESULTS/published/."),
]


def claims(
    name: Name = None, publish: Publish = False, results: Results = RESULTS, as_json: AsJson = False
) -> None:
    """Show the verdict of every claim, and write the page with the authors' reply and all evidence.

    The page is RESULTS/claims/index.html, next to claims.md, claims.csv and the figures. With NAME the tests
    of one claim are shown and nothing is written. Exit code 2 if a record is damaged.
    """
    if name is not None and publish:
        raise UserError("--publish is for all claims: leave out NAME, or use `flipbench publish`")
    if name is not None:
        evidence = [_of(name, results)]
        _show(evidence[0], as_json)
    else:
        if not (found := list(claim_files())):
            raise UserError("no experiment makes a claim")
        evidence = [_evidence(each, results) for each in found]
        _write(evidence, results, publish, as_json)
    end_if_damaged([problem for each in evidence for problem in each.problems])


def _of(name: str, results: Path) -> "ClaimEvidence":
    """The verdict of a claim, or of records of one's own, as of a sweep with --set."""
    from report.claims import evidence_in

    if (found := _find(name)) is not None:
        return _evidence(found, results)
    records = find_records(name, results)
    if not os.path.lexists(records):
        names = [each.name.removeprefix(f"{FOLDER}/") for each in claim_files()]
        raise UserError(f"there is no claim {shown(name)}{one_of(name, names)}")
    with records_folder(records) as folder:
        return evidence_in(folder)


def _find(name: str) -> ClaimFile | None:
    """The claim of this name, or of this id; None if there is none."""
    for full in (name, f"{FOLDER}/{name}"):
        if name.endswith(SUFFIXES) or full in experiments():
            if (claim := claim_file(full)) is None:
                raise UserError(f"{full} makes no claim")
            return claim
    return next((each for each in claim_files() if each.claim.id == name), None)


def _evidence(each: ClaimFile, results: Path) -> "ClaimEvidence":
    from report.claims import Planned, evidence_for

    planned = Planned(each.name, each.claim, each.runs, each.epochs, each.text)
    return evidence_for(planned, _opened(each.name, results))


@contextlib.contextmanager
def _opened(name: str, results: Path) -> Iterator[Path]:
    """The folder of the records; what keeps them from being opened is raised inside."""
    with records_folder(find_records(name, results)) as folder:
        yield folder


def _show(each: "ClaimEvidence", as_json: bool) -> None:
    if as_json:
        print_json(each.as_json())
        return
    say(out, f"{each.claim.id} {each.claim.title}")
    say(out, f"“{each.claim.sentence}”")
    out.print(
        Text.assemble(
            (f"{each.mark.symbol} {each.mark.word}", STYLES.get(each.mark.key, "bold")), f": {each.why}"
        )
    )
    for caution in each.cautions:
        say(out, f"note: {caution}")
    if each.rows:
        tests = table(*each.table.columns, box=box.SIMPLE_HEAD)
        for row in each.table.rows:
            tests.add_row(*row)
        out.print(tests)
    say(out, f"limits: {each.claim.limits}")
    if (
        each.name in experiments()
    ):  # else a sweep with --set made it, and its folder's name is no experiment's
        say(out, f"run it: {each.command}{f' ({each.cost})' if each.cost else ''}")


def _write(evidence: "list[ClaimEvidence]", results: Path, publish: bool, as_json: bool) -> None:
    from report.claims import build_claims, published_files

    reply = read_bytes(REPLY).decode()
    page, overview = build_claims(evidence, reply, results / FOLDER, results)
    if as_json:
        print_json([each.as_json() for each in overview.evidence])
    else:
        verdicts = table(*overview.table.columns, box=box.SIMPLE_HEAD)
        for each, row in zip(overview.evidence, overview.table.rows, strict=True):
            verdicts.add_row(*row[:2], Text(row[2], STYLES.get(each.mark.key, "")), *row[3:])
        out.print(verdicts)
        for tally in overview.tallies:
            say(out, str(tally))
        say(out, overview.chance)
    say(err if as_json else out, f"page: {page}")
    if publish:
        target = results / PUBLISHED / FOLDER
        for folder in (target.parent, target):
            make_part(folder)
        pictured = take_picture(page, target / PICTURE)
        for file, text in published_files(overview, PICTURE if pictured else "", target, results).items():
            write_atomically(target / file, text.encode())
        say(err if as_json else out, f"published: {target}")

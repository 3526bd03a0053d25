"""Builds the page of all claims: the verdict of each from its records, next to the authors' reply."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

import yaml

from report.build import claim_evidence, write_page
from report.draw.svg import standalone
from report.page.claims.evidence import ClaimEvidence, claims_csv, damaged, not_run
from report.page.claims.overview import Overview, overview
from report.page.claims.reply import read_reply
from report.page.claims.rows import listing
from report.page.html import claims_markdown, claims_page
from report.read.experiment import read_records
from report.read.records import Records
from suite.machine.errors import UserError, shown
from suite.records.archive import ARCHIVE
from suite.records.claim import Claim
from suite.records.files import DamagedRecord


@dataclass(frozen=True)
class Planned:
    """A claim before anything runs: its experiment, with its text, and what that costs at most."""

    name: str
    claim: Claim
    runs: int
    epochs: int
    text: str


def evidence_for(planned: Planned, records: AbstractContextManager[Path]) -> ClaimEvidence:
    """The verdict of a claim from the folder of its records, which is opened here.

    Without records it is not run; records that cannot be read are a damaged claim, not an error.
    """
    try:
        with records as folder:
            return _evidence(planned, folder, read_records(folder))
    except FileNotFoundError:
        return not_run(planned.name, planned.claim, planned.runs, planned.epochs)
    except (DamagedRecord, UserError, OSError) as error:
        return damaged(planned.name, planned.claim, str(error))


def evidence_in(folder: Path) -> ClaimEvidence:
    """The verdict of the claim that these records' own plan makes; UserError if it makes none."""
    found = read_records(folder)
    if found.plan.claim is None:
        raise UserError(f"{found.plan.experiment} makes no claim")
    epochs = sum(run.cell.planned.epochs for run in found.runs)
    own = Planned(found.plan.experiment, found.plan.claim, len(found.runs), epochs, found.plan.yaml)
    return _evidence(own, folder, found)


def _evidence(planned: Planned, folder: Path, found: Records) -> ClaimEvidence:
    if found.plan.experiment != planned.name:
        raise UserError(f"they are of the experiment {shown(found.plan.experiment)}, not of {planned.name}")
    if all(run.status == "missing" for run in found.runs):
        return not_run(planned.name, planned.claim, planned.runs, planned.epochs)
    records, cautions = as_claimed(found, planned)
    return claim_evidence(records, folder, cautions)


def as_claimed(records: Records, planned: Planned) -> tuple[Records, list[str]]:
    """The records with a claim, and what to know if it is not the one that was planned with them."""
    before = records.plan.claim
    if before is None:
        plan = replace(records.plan, claim=planned.claim)
        return replace(records, plan=plan), [
            "These records are older than the claim: it was written after them"
        ]
    cautions = []
    if before != planned.claim:
        cautions.append(
            "The experiment's file has another claim by now: this is the verdict of the one that was planned "
            f"with these records. `flipbench sweep {planned.name}` brings them together"
        )
    if changed := changed_keys(records.plan.yaml, planned.text):
        cautions.append(
            f"The experiment's file has changed since these records were made, in {listing(changed)}: "
            "this is the verdict of the runs that were planned with them"
        )
    return records, cautions


def changed_keys(before: str, after: str) -> list[str]:
    """The keys of an experiment that have another value in another version of its file."""
    one, other = (yaml.safe_load(text) for text in (before, after))
    keys = sorted({*one, *other} - {"claim", "summary"})
    return [key for key in keys if one.get(key) != other.get(key)]


def build_claims(
    evidence: Sequence[ClaimEvidence], reply: str, target: Path, results: Path
) -> tuple[Path, Overview]:
    """Write the page of all claims and its figures into a folder; its index.html, and what is on it.

    reply: the text of the authors' reply. results: where the experiments' own reports and archives lie.
    """
    links = {each.name: links_of(each.name, target, results) for each in evidence}
    page = overview(read_reply(reply), evidence, links)
    return write_page(target, files_of(page), pictures="claim-*.svg"), page


def published_files(page: Overview, picture: str, target: Path, results: Path) -> dict[str, str]:
    """The text and the numbers, to be committed; picture: a file next to them, if there is one."""
    links = {each.name: links_of(each.name, target, results) for each in page.evidence}
    return {
        "claims.md": claims_markdown(replace(page, links=links), picture),
        "claims.csv": claims_csv(page.evidence),
    }


def files_of(page: Overview) -> dict[str, str]:
    """The files by name, the page last, so that it never appears before them."""
    drawings = [drawing for each in page.evidence for drawing in each.drawings]
    return {
        **{f"{drawing.name}.svg": standalone(drawing.svg) for drawing in drawings},
        "claims.csv": claims_csv(page.evidence),
        "claims.md": claims_markdown(page),
        "index.html": claims_page(page),
    }


def links_of(name: str, target: Path, results: Path) -> list[tuple[str, str]]:
    """The report and the archive of an experiment, where they are, seen from the page."""
    published = results / "published" / name
    places = [
        ("its report", results / name / "report" / "index.html"),
        ("its published report", published / "report.md"),
        ("all its records in one file", published / ARCHIVE),
    ]
    return [
        (words, quote(Path(os.path.relpath(place, target)).as_posix()))
        for words, place in places
        if place.is_file()
    ]

"""The page of all claims, from records on disk in which each effect is planted."""

import contextlib
import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO

import pytest
from matplotlib.figure import Figure

from report.build import build_report
from report.claims import Planned, build_claims, evidence_for
from report.page.claims.evidence import ClaimEvidence
from suite.experiment.claim_files import REPLY
from suite.records.archive import ARCHIVE
from suite.records.claim import Claim, Contrast, Ease, Identical, Order, Test
from suite.records.experiment import ExperimentFolder
from suite.records.run import RunFolder
from suite.records.schema import Failure
from tests.support.fake_claims import TEXT, Arm, around, write_claim
from tests.support.fake_records import damage, final_run, remove

BETTER = Contrast(kind="contrast", says="b beats a", of={"b": 1.0, "a": -1.0}, expect="above", margin=0.5)
EQUAL = Contrast(kind="contrast", says="b equals a", of={"b": 1.0, "a": -1.0}, expect="within", margin=0.5)
SAME = Identical(kind="identical", says="b is a", arms=["a", "b"])
FALLING = Order(
    kind="order", says="reversals fall", measure="undone_10", shape="falling", arms=["a", "b", "c"]
)
EASE = Ease(kind="ease", says="b is easier", of="b", against="a", expect="above")
LOW, HIGH = Arm(around(0.90, 5, key=1)), Arm(around(0.93, 5, key=2))
GOOD, BAD = [0.935] * 9 + [0.7], [0.935] + [0.7] * 9
PLANTED: dict[str, tuple[str, list[Test], dict[str, Arm], list[int]]] = {
    "better": ("C2", [BETTER], {"a": LOW, "b": HIGH}, [18, 19]),
    "equal": ("C19", [EQUAL], {"a": LOW, "b": HIGH}, [54, 55]),
    "same": ("C1", [SAME], {name: replace(LOW, signs="s") for name in "ab"}, [18, 19]),
    "parts": (
        "C3",
        [SAME],
        {"a": replace(LOW, signs="s"), "b": replace(LOW, signs="s", parts={2: (7, 1)})},
        [],
    ),
    "order": (
        "C9",
        [FALLING],
        {n: replace(LOW, undone=u) for n, u in zip("abc", (0.4, 0.3, 0.1), strict=True)},
        [47, 48],
    ),
    "ease": ("C15", [EASE], {"a": replace(LOW, draws=BAD), "b": replace(HIGH, draws=GOOD)}, [11]),
    "part": ("C12", [BETTER], {"a": LOW, "b": HIGH}, [19, 20]),
    "broken": ("C13", [BETTER], {"a": LOW, "b": HIGH}, [24]),
    "none": ("C22", [BETTER], {"a": LOW, "b": HIGH}, [6, 7]),
}
VERDICTS = {
    "better": "supported",
    "equal": "refuted",
    "same": "supported",
    "parts": "refuted",
    "order": "supported",
    "ease": "supported",
    "part": "incomplete",
    "broken": "damaged",
    "none": "not-run",
}


def claim_of(name: str) -> Claim:
    id_, tests, _, lines = PLANTED[name]
    return Claim(
        id=id_,
        title=f"Of <{name}>",
        sentence="In our words.",
        source="a source",
        lines=lines,
        supports="this",
        refutes="that",
        limits="small",
        tests=tests,
    )


@pytest.fixture(scope="module")
def blank() -> Iterator[None]:
    """Drawings are not rendered, which would take most of the time here."""

    def empty(figure: Figure, file: BinaryIO, **_: object) -> None:
        file.write(b"<svg>\n</svg>\n")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", empty)
        yield


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, blank: None) -> Path:
    results = tmp_path_factory.mktemp("results")
    for name, (_, _, arms, _) in PLANTED.items():
        if name != "none":
            write_claim(results / "claims" / name, claim_of(name), arms, f"claims/{name}")
    part = results / "claims" / "part"
    remove(final_run(part, "digits.mlp.a", 2))
    damage(final_run(part, "digits.mlp.b", 1) / "result.json")
    damage(results / "claims" / "broken" / "plan.json")
    return results


def evidence(results: Path, name: str, claim: Claim | None = None) -> ClaimEvidence:
    planned = Planned(f"claims/{name}", claim or claim_of(name), 10, 20, TEXT)
    return evidence_for(planned, contextlib.nullcontext(results / "claims" / name))


@pytest.fixture(scope="module")
def found(results: Path) -> list[ClaimEvidence]:
    return [evidence(results, name) for name in PLANTED]


@pytest.fixture(scope="module")
def page(results: Path, found: Sequence[ClaimEvidence]) -> Path:
    stale = results / "claims" / "claim-gone-margins.svg"
    stale.write_text("<svg/>")
    (results / "claims" / "index.html").write_text(
        "<code>flipbench report x --figure claim-gone-margins</code>"
    )
    archive = results / "published" / "claims" / "better" / ARCHIVE
    archive.parent.mkdir(parents=True)
    archive.touch()
    path, _ = build_claims(found, REPLY.read_text(encoding="utf-8"), results / "claims", results)
    assert not stale.exists()
    return path


class Addresses(HTMLParser):
    """The ids of a page, and the addresses of its links by the class of each."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if found.get("id"):
            self.ids.append(str(found["id"]))
        if tag == "a":
            self.links.append((str(found.get("class")), str(found["href"])))


def test_planted_effects_get_their_verdicts(found: Sequence[ClaimEvidence]) -> None:
    assert {each.key: each.mark.key for each in found} == VERDICTS


def test_damaged_and_missing_records_are_shown(found: Sequence[ClaimEvidence], page: Path) -> None:
    by_key = {each.key: each for each in found}
    assert by_key["part"].why.startswith("8 of 10 runs are in.")
    (problem,) = by_key["part"].problems
    assert re.match(r"runs/[0-9a-f]{16}/result\.json: ", problem)
    assert "plan.json is damaged" in by_key["broken"].why and by_key["broken"].problems
    text = page.read_text()
    assert problem.split(":")[0] in text and "No run is in. It takes at most 10 runs, 20 epochs." in text
    for name in PLANTED:
        assert f'<article class="claim" id="{name}">' in text


def test_every_claim_of_the_page_leads_to_its_evidence(page: Path) -> None:
    found = Addresses(page.read_text())
    assert len(set(found.ids)) == len(found.ids)
    inside = {address.removeprefix("#") for _, address in found.links if address.startswith("#")}
    assert inside <= set(found.ids) and set(PLANTED) <= inside
    notes = [address for kind, address in found.links if kind.startswith("note ")]
    assert sorted(notes) == sorted(f"#{name}" for name in PLANTED if PLANTED[name][3])
    quoted = {address for kind, address in found.links if kind == "quoted"}
    assert quoted == {*notes} - {"#better"}  # `same` is the first to quote the same sentence
    outside = [address for _, address in found.links if not address.startswith(("#", "https://", "data:"))]
    assert f"../published/claims/better/{ARCHIVE}" in outside
    assert all((page.parent / address).is_file() for address in outside)


def test_the_page_needs_no_script_and_escapes_what_it_shows(page: Path) -> None:
    text = page.read_text()
    assert "<script" not in text and "Of &lt;better&gt;" in text and "Of <better>" not in text
    assert '<span aria-hidden="true">✗</span> refuted' in text  # a word, not colour alone


def test_the_same_records_give_the_same_files(
    page: Path, found: Sequence[ClaimEvidence], results: Path
) -> None:
    before = {path.name: path.read_bytes() for path in page.parent.iterdir() if path.is_file()}
    build_claims(found[::-1], REPLY.read_text(encoding="utf-8"), page.parent, results)
    assert {path.name: path.read_bytes() for path in page.parent.iterdir() if path.is_file()} == before
    assert set(before) >= {"index.html", "claims.md", "claims.csv", "claim-better-margins.svg"}


def test_the_table_has_a_row_for_each_test(page: Path) -> None:
    with (page.parent / "claims.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["experiment"]: row for row in csv.DictReader(file)}
    better = rows["claims/better"]
    assert (better["claim"], better["outcome"], better["n"]) == ("C2", "supported", "5")
    assert 0.5 < float(better["low"]) < float(better["estimate"]) == pytest.approx(3.0, abs=0.3)
    assert rows["claims/none"]["verdict"] == "not run" and rows["claims/none"]["test"] == ""


def test_the_claim_that_was_planned_counts(results: Path) -> None:
    other = replace(claim_of("better"), tests=[EQUAL])
    (caution,) = (found := evidence(results, "better", other)).cautions
    assert found.mark.key == "supported" and "has another claim by now" in caution


def test_an_experiment_that_has_changed_since_says_so(results: Path) -> None:
    planned = Planned("claims/better", claim_of("better"), 10, 20, TEXT)
    records = contextlib.nullcontext(results / "claims" / "better")
    same = replace(planned, text=f"# a comment\nsummary: other\n{TEXT}claim: {{id: C9}}\n")
    assert evidence_for(same, records).cautions == ()
    other = replace(planned, text="version: 1\ntrain: {epochs: 3}\nseeds: 7\n")
    (caution,) = (found := evidence_for(other, records)).cautions
    assert found.mark.key == "supported" and "since these records were made, in seeds and train:" in caution


def test_a_claim_whose_runs_all_failed_was_run(tmp_path: Path) -> None:
    arms = PLANTED["better"][2]
    folder = write_claim(tmp_path / "claims" / "better", claim_of("better"), arms, "claims/better")
    for run in (folder / "runs").iterdir():
        remove(run)
        RunFolder(run).fail(Failure(kind="error", error="a plugin's mistake"))
    found = evidence(tmp_path, "better")
    assert found.mark.key == "incomplete" and found.why.startswith("0 of 10 runs are in.")


def test_records_that_are_older_than_their_claim_say_so(results: Path, tmp_path: Path) -> None:
    folder = write_claim(tmp_path / "claims" / "better", None, PLANTED["better"][2], "claims/better")
    found = evidence(tmp_path, "better")
    assert found.mark.key == "supported" and "older than the claim" in found.cautions[0]
    assert ExperimentFolder(folder).plan().claim is None


def test_records_of_another_experiment_are_not_read(results: Path) -> None:
    planned = Planned("claims/better", claim_of("better"), 10, 20, TEXT)
    found = evidence_for(planned, contextlib.nullcontext(results / "claims" / "equal"))
    assert found.mark.key == "damaged" and found.problems
    assert "they are of the experiment 'claims/equal', not of claims/better" in found.why


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    name = "claims/../../<x>"
    folder = write_claim(tmp_path / "records", claim_of("better"), PLANTED["better"][2], name)
    planned = Planned(name, claim_of("better"), 10, 20, TEXT)
    found = evidence_for(planned, contextlib.nullcontext(folder))
    target = tmp_path / "deep" / "claims"
    target.mkdir(parents=True)
    path, _ = build_claims([found], REPLY.read_text(encoding="utf-8"), target, tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"deep", "records"} and path.parent == target
    assert {p.name for p in target.iterdir()} == {
        "index.html", "claims.md", "claims.csv", "claim--------x--margins.svg",
    }  # fmt: skip


def test_the_experiments_own_report_begins_with_its_claim(results: Path, tmp_path: Path) -> None:
    problems: list[str] = []
    path = build_report(results / "claims" / "part", on_problem=problems.append, target=tmp_path / "report")
    text = path.read_text()
    assert text.index('id="claim"') < text.index('class="cards"') and "not complete" in text
    assert len(problems) == 1 and (path.parent / "claims.csv").is_file()
    assert "## Claim C12: Of &lt;part>" in (path.parent / "report.md").read_text()


def test_where_most_rows_are_no_arms_the_answer_comes_before_the_claim(tmp_path: Path, blank: None) -> None:
    arms = PLANTED["better"][2]
    others = {name: replace(next(iter(arms.values()))) for name in ("x1", "x2", "x3")}
    folder = write_claim(tmp_path / "many", claim_of("better"), {**arms, **others}, "many")
    path = build_report(folder, target=tmp_path / "report")
    text, markdown = path.read_text(), (path.parent / "report.md").read_text()
    assert text.index('class="cards"') < text.index('id="claim"') < text.index('id="accuracy"')
    assert markdown.index("**digits") < markdown.index("## Claim C2") < markdown.index("## Coverage")

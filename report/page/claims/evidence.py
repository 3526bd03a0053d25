"""A claim with its evidence as a page shows it: verdict, tests, figures, settings, and what is missing."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from report.analysis.claims.arms import same_trainings
from report.analysis.claims.verdict import Verdict
from report.analysis.numbers import SAME_EVERYWHERE, duration, grouped
from report.draw.drawing import Drawing
from report.page.claims.figures import figures_of
from report.page.claims.rows import (
    DAMAGED,
    INCOMPLETE,
    MARKS,
    NOT_RUN,
    Mark,
    TestRow,
    test_row,
)
from report.page.claims.settings import settings_of
from report.page.tables import Table
from report.read.records import CellRecord, Records
from suite.machine.words import count, plural
from suite.records.claim import Claim, Identical, cells_of_arm


@dataclass(frozen=True)
class ClaimEvidence:
    """One claim. why: the verdict's reason in a sentence. n: units of each arm, where there are any.

    same: the settings that all arms share; `settings` has those that differ. cautions: what else to know.
    problems: damaged records.
    """

    name: str  # of the experiment
    claim: Claim
    mark: Mark
    why: str
    n: str = ""
    rows: tuple[TestRow, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    settings: Table | None = None
    same: str = ""
    cost: str = ""
    cautions: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Its name in addresses and names of files."""
        return key_of(self.name)

    @property
    def decided(self) -> bool:
        return self.mark.key in ("supported", "refuted")

    @property
    def by_chance(self) -> bool:
        """Whether the verdict can be wrong by chance: exact tests repeat to the bit."""
        return self.decided and any(
            row.kind not in ("identical", "exact") and not row.control for row in self.rows
        )

    @property
    def table(self) -> Table:
        """Its tests as text."""
        columns = ["test", "found", "supported if", "n", "these units show", "outcome"]
        rows = [
            [
                f"{row.says}{' (control)' if row.control else ''}",
                row.whole,
                row.must,
                row.n,
                row.shows,
                "; ".join((f"{row.mark.symbol} {row.mark.word}", *row.remarks)),
            ]
            for row in self.rows
        ]
        return Table(columns, rows, text=tuple(range(len(columns))))

    @property
    def command(self) -> str:
        """What runs the experiment, and resumes it after a stop."""
        if self.name.startswith(FOLDER):
            return f"make claim C={self.name.removeprefix(FOLDER)}"
        return f"make sweep EXP={self.name}"

    def as_json(self) -> dict[str, Any]:
        """The claim with its tests, for a program."""
        return {
            "claim": self.claim.id,
            "experiment": self.name,
            "title": self.claim.title,
            "verdict": self.mark.key,
            "why": self.why,
            "n": self.n,
            "cost": self.cost,
            "command": self.command,
            "cautions": list(self.cautions),
            "problems": list(self.problems),
            "tests": [row.numbers for row in self.rows],
        }


FOLDER = "claims/"  # of experiments


def key_of(experiment: str) -> str:
    """Safe in an address and in the name of a file, whatever the experiment is called."""
    return "".join(c if c.isalnum() or c in "_-" else "-" for c in experiment.removeprefix(FOLDER))


def not_run(name: str, claim: Claim, runs: int, epochs: int) -> ClaimEvidence:
    """A claim without records; its cost comes from the experiment."""
    cost = f"at most {grouped(runs)} {plural(runs, 'run')}, {grouped(epochs)} epochs"
    return ClaimEvidence(name, claim, NOT_RUN, f"No run is in. It takes {cost}.", cost=cost)


def damaged(name: str, claim: Claim, problem: str) -> ClaimEvidence:
    """A claim whose plan, archive or trajectories cannot be read."""
    return ClaimEvidence(name, claim, DAMAGED, f"Its records cannot be read: {problem}.", problems=(problem,))


def evidence_of(records: Records, verdict: Verdict, cautions: Sequence[str] = ()) -> ClaimEvidence:
    """The evidence that these records hold for the claim of their plan."""
    claim, plan = verdict.claim, records.plan
    cells = cells_of_claim(records, claim)
    rows = tuple(
        test_row(each, several=sum(other.test is each.test for other in verdict.tests) > 1)
        for each in verdict.tests
    )
    names, tracks = {cell.name for cell in cells}, (None, records.first_track)
    runs = [run for run in records.runs if run.cell.name in names and run.place.track in tracks]
    runs = [run for run in runs if run.phase != "transfer"]  # no test is about another task's winner
    scored, planned = sum(run.scored for run in runs), len(runs)
    mark = MARKS[verdict.outcome]
    if verdict.outcome == "undecided" and scored < planned:
        mark = INCOMPLETE
    same, settings = settings_of(records, cells)
    seconds = sum(run.result.seconds for run in runs if run.result is not None)
    return ClaimEvidence(
        name=plan.experiment,
        claim=claim,
        mark=mark,
        why=why(verdict, rows, scored, planned),
        n="; ".join(dict.fromkeys(row.n for row in rows if row.n and not row.control)),
        rows=rows,
        drawings=tuple(figures_of(records, verdict, rows, f"claim-{key_of(plan.experiment)}")),
        settings=settings,
        same=same,
        cost=f"{scored:,} of {count(planned, 'run')} of its tests, {duration(seconds)} of training",
        cautions=(*cautions, *one_training(records, claim)),
        problems=tuple(records.damaged),
    )


def one_training(records: Records, claim: Claim) -> list[str]:
    """Arms that are one training, and should not be: a test of one of them says nothing about the other."""
    compared = replace(claim, tests=[test for test in claim.tests if not isinstance(test, Identical)])
    groups = same_trainings(records, cells_of_claim(records, compared))
    return [
        f"{' and '.join(cell.name for cell in group)} are one training in every run: "
        "what differs between their settings never acts"
        for group in groups
    ]


def cells_of_claim(records: Records, claim: Claim) -> list[CellRecord]:
    """The cells that any of its tests names, once, in the order of the plan."""
    planned = {cell.name: cell.planned for cell in records.cells}
    arms = {arm for test in claim.tests for arm in test.arms}
    pools = [pool for arm in arms for pool in cells_of_arm(arm, planned.values()).values()]
    named = {cell.cell for pool in pools for cell in pool}
    first = {cell.name: cell for cell in reversed(records.cells)}
    return [first[name] for name in planned if name in named]


def why(verdict: Verdict, rows: Sequence[TestRow], scored: int, planned: int) -> str:
    """The reason of a verdict in one sentence or two, from its tests."""
    own = [row for row in rows if not row.control]
    controls = [row for row in rows if row.control]
    of = [row for row in own if row.mark.key == verdict.outcome]
    held = ""
    if controls:
        held = f" Its {len(controls)} controls do what they must."
        held = " Its control does what it must." if len(controls) == 1 else held
    if verdict.outcome == "supported":
        tests = {1: "The test holds", 2: "Both tests hold"}.get(len(own), f"All {len(own)} tests hold")
        return f"{tests}.{held}"
    if verdict.outcome == "refuted":
        more = f" So {'does' if len(of) == 2 else 'do'} {len(of) - 1} more." if len(of) > 1 else ""
        return f"It fails here: {of[0].says}. Found: {of[0].whole}; supported if {of[0].must}.{more}"
    missing = f"{scored} of {planned} runs are in. " if scored < planned else ""
    broken = next((row for row in controls if row.mark.key != "supported"), None)
    if broken is not None and broken.mark.key == "undecided" and broken.remarks:
        return f"{missing}A control is open: {broken.says} ({broken.remarks[0]})."
    if verdict.reason:
        return f"{missing}{capital(verdict.reason)}."
    if not of:
        return f"{missing}Its tests find no cells."
    first = of[0]
    needed = f" {capital(first.remarks[0])}." if first.remarks else ""
    which = (
        "Still open:"
        if len(own) == 1
        else f"{len(of)} of {len(own)} tests {'is' if len(of) == 1 else 'are'} open:"
    )
    return f"{missing}{which} {first.says}. Found: {first.whole}; supported if {first.must}.{needed}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


COLUMNS = (
    *("claim", "experiment", "title", "verdict", "why", "test", "kind", "control", "group", "outcome"),
    *("estimate", "low", "high", "margin", "n", "needed", "decided_by", "reason"),
)


def claims_csv(evidence: Sequence[ClaimEvidence]) -> str:
    """A row for each test; one for a claim without any."""
    lines = io.StringIO()
    writer = csv.DictWriter(lines, COLUMNS, lineterminator="\n", restval="")
    writer.writeheader()
    for each in evidence:
        head = {
            "claim": each.claim.id,
            "experiment": each.name,
            "title": each.claim.title,
            "verdict": each.mark.word,
            "why": each.why,
        }
        for numbers in [row.numbers for row in each.rows] or [{}]:
            words = {
                key: SAME_EVERYWHERE % value if isinstance(value, float) else value
                for key, value in numbers.items()
            }
            writer.writerow({**head, **words})
    return lines.getvalue()

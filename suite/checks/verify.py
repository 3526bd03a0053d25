"""Are the records of an experiment all there, intact and free of contradiction? Needs no torch.

The plan says what there has to be; the ledgers name the runs; every run folder is hashed and checked
(`suite.checks.run`). Work and time grow with the number of runs, memory only with their names.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from suite.checks.ledger import differing, not_drawn, wrong_winner
from suite.checks.run import SEVERITY, Checked, Finding, check_run
from suite.records.experiment import read_ledger, read_plan
from suite.records.files import DamagedRecord, read_json
from suite.sweep.journal import Journal

STATUSES = ("done", "diverged", "failed", "unfinished", "missing", "damaged")
Json = Mapping[str, Any]


@dataclass
class Verified:
    """What was found: counts of planned runs by (phase, status), every problem once, in the order found."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    findings: dict[Finding, None] = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)  # intact runs with a result
    folders: int = 0
    files: int = 0
    bytes: int = 0

    def say(self, kind: str, file: str, text: str) -> None:
        """Note something about a file."""
        self.findings[Finding(kind, file, text)] = None

    @property
    def exit_code(self) -> int:
        """0 all there and intact, 1 something planned is missing or failed, 2 damaged or contradictory."""
        return max((SEVERITY[finding.kind] for finding in self.findings), default=0)


class Verification:
    """One walk over the records of an experiment; `on_run` is called for every run folder."""

    def __init__(self, folder: Path, on_run: Callable[[], None] = lambda: None) -> None:
        self.folder, self.on_run = folder, on_run
        self.plan = read_plan(folder)
        self.found = Verified()
        self._seen: set[str] = set()
        self._absent: defaultdict[str, list[str]] = defaultdict(list)  # of one cell, by phase

    def run(self) -> Verified:
        """Check everything; DamagedRecord only for a plan that cannot be read."""
        self._set_aside()
        self._data()
        self._studies()
        for spec in self.plan["cells"]:
            self._cell(spec)
        self._strays()
        return self.found

    def _set_aside(self) -> None:
        for part in (".", "cells", "data", "studies"):
            for path in sorted((self.folder / part).glob("*.damaged")):
                file = path.relative_to(self.folder).as_posix()
                self.found.say("note", file, "was damaged and set aside")

    def _data(self) -> None:
        for label, sizes in self.plan["data"].items():
            path = self.folder / "data" / f"{label}.json"
            file = f"data/{path.name}"
            try:
                record = read_json(path)
            except FileNotFoundError:
                self.found.say("missing", file, "what the runs were measured on is not recorded")
                continue
            except DamagedRecord as error:
                self.found.say("damaged", file, error.problem)
                continue
            index = str(record.get("validation_index")).encode()
            if hashlib.sha256(index).hexdigest() != record.get("validation_index_sha256"):
                self.found.say("contradictory", file, "the validation index does not match its hash")
            if differ := [name for name in sizes.keys() & record.keys() if sizes[name] != record[name]]:
                self.found.say("contradictory", file, f"not as planned: {', '.join(sorted(differ))}")

    def _studies(self) -> None:
        for path in sorted((self.folder / "studies").glob("*.log")):
            try:
                Journal(path)
            except DamagedRecord as error:
                self.found.say("damaged", f"studies/{path.name}", error.problem)

    def _cell(self, spec: Json) -> None:
        file, trials = f"cells/{spec['cell']}.json", self.plan["tuning"]["trials"]
        unknown = "missing"
        try:
            ledger = read_ledger(self.folder / file, self.plan)
        except (DamagedRecord, LookupError, TypeError, ValueError) as error:
            unknown = "damaged" if isinstance(error, DamagedRecord) else "contradictory"
            self.found.say(unknown, file, getattr(error, "problem", str(error)))
            ledger = {"tuning": [], "winner": None, "final": []}
        self._absent.clear()
        scores = self._tuning(spec, ledger)
        for text in wrong_winner(ledger, scores, trials):
            self.found.say("contradictory", file, text)
        self._finals(spec, ledger, scores)
        for phase, planned in (("tuning", trials), ("final", len(self.plan["seeds"]))):
            unnamed = planned - len(ledger[phase])
            self.found.counts[phase, "missing" if unknown == "missing" else "damaged"] += unnamed
            absent = self._absent[phase]
            if unknown == "missing" and unnamed + len(absent):
                which = f": {', '.join(absent[:3])}{', …' * (len(absent) > 3)}" if absent else ""
                told = f"{unnamed + len(absent)} of {planned} {phase} runs are not there{which}"
                self.found.say("missing", file, told)

    def _tuning(self, spec: Json, ledger: Json) -> dict[int, Json]:
        """Check the tuning runs; the scores of those that have some, by number."""
        scores: dict[int, Json] = {}
        expected = {**spec["trial"], "stage": "tune", "seed": self.plan["tuning"]["seed"]}
        for entry in ledger["tuning"]:
            checked = self._run("tuning", entry["run"], spec)
            if checked.trial is not None and checked.result is not None and checked.sound:
                scores[entry["number"]] = checked.result["scores"]
                wrong = differing(expected, checked.trial, but=("hypers", "real"))
                wrong += not_drawn(entry["hypers"], checked.trial)
                self._say_other(entry["run"], wrong, "the plan and the ledger")
        return scores

    def _finals(self, spec: Json, ledger: Json, scores: Mapping[int, Json]) -> None:
        """The final runs must be the winner's trial, or without tuning the plan's, on the planned seeds."""
        like, winner = spec["trial"], ledger["winner"]
        if winner is not None:
            run = {entry["number"]: entry["run"] for entry in ledger["tuning"]}[winner["number"]]
            intact = winner["number"] in scores
            like = read_json(self.folder / "runs" / run / "trial.json") if intact else None
        for entry in ledger["final"]:
            checked = self._run("final", entry["run"], spec)
            if checked.trial is not None and checked.result is not None and checked.sound and like:
                wrong = differing({**like, "stage": "final", "seed": entry["seed"]}, checked.trial)
                self._say_other(entry["run"], wrong, "the winner's trial and the ledger's seed")

    def _say_other(self, run: str, wrong: list[str], than: str) -> None:
        if wrong:
            told = f"{', '.join(wrong)}: not as in {than}"
            self.found.say("contradictory", f"runs/{run}/trial.json", told)

    def _run(self, phase: str, run: str, spec: Json) -> Checked:
        """Check and count one planned run."""
        checked = self._check(run, self.plan["data"][spec["data"]]["test"])
        self.found.counts[phase, checked.status] += 1
        self.found.findings |= dict.fromkeys(checked.findings)
        if checked.status == "missing":
            self._absent[phase].append(run)
        if checked.status == "unfinished":
            self.found.say("missing", f"runs/{run}", f"begun, not finished ({phase} of {spec['cell']})")
        return checked

    def _check(self, run: str, test_images: int | None) -> Checked:
        checked = check_run(self.folder / "runs" / run, test_images)
        if run in self._seen or checked.status == "missing":  # two trials can be the same, and share a run
            return checked
        self._seen.add(run)
        self.on_run()
        self.found.folders += 1
        self.found.files += checked.files
        self.found.bytes += checked.bytes
        if checked.result is not None and checked.sound:
            self.found.finished.append(run)
        return checked

    def _strays(self) -> None:
        """Run folders that no ledger names, as `flipbench train` leaves them, are no error."""
        for run in run_names(self.folder):
            if run not in self._seen:
                checked = self._check(run, None)
                told = f"not part of the plan: no ledger that can be read names this run ({checked.status})"
                self.found.say("note", f"runs/{run}", told)
                damage = [finding for finding in checked.findings if SEVERITY[finding.kind] == 2]
                self.found.findings |= dict.fromkeys(damage)


def run_names(folder: Path) -> Iterator[str]:
    """The names of an experiment's run folders, sorted."""
    runs = folder / "runs"
    if runs.is_dir():
        yield from sorted(entry.name for entry in os.scandir(runs) if entry.is_dir())

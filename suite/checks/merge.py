"""Records of one experiment from several places become one folder, in which every run is whole and sealed.

What is in the folder stays its record: a record that contradicts it, or is damaged, is named and kept in the
folder SET_ASIDE, which no reader takes for a record and `verify` lists. A run comes into its place by one
rename, the ledgers that name it come last, and nothing is taken twice: after a kill the same merge continues.
Nothing here imports torch.
"""

import functools
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from suite.checks.adopt import ASIDE, clear_aside, put_in_place
from suite.checks.run import SEVERITY, Finding
from suite.checks.verify import Verified
from suite.machine.errors import UserError, shown
from suite.records.agreement import Contradiction, check_ledger, named_runs, same_images
from suite.records.archive import files_of
from suite.records.codec import encode
from suite.records.experiment import SET_ASIDE, ExperimentFolder
from suite.records.files import (
    DamagedRecord,
    clear_torn,
    is_owned,
    make_part,
    owned,
    read_bytes,
    set_aside,
    write_atomically,
    write_json,
    writing,
)
from suite.records.replan import changes, edited_plugins, text_of_edited
from suite.records.run import FILES, RunFolder
from suite.records.schema import Ledger, Place, PlannedCell, PlanRecord, Scores
from suite.records.trial import PROTOCOL
from suite.records.union import union, without_wrong_winners

PARTS = ("runs", "cells", "data")
OF_A_RUN = ("result.json", "failure.json", *FILES)  # the files that are kept of a damaged run


@dataclass(frozen=True)
class Source:
    """Records to merge: their place as a person knows it, their folder, and what `verify` finds there."""

    place: Path
    path: Path
    found: Verified

    @property
    def folder(self) -> ExperimentFolder:
        return ExperimentFolder(self.path)

    @functools.cached_property
    def wrong(self) -> list[Finding]:
        """What is damaged or contradicts other records of this place."""
        return [finding for finding in self.found.findings if SEVERITY[finding.kind] == 2]

    @functools.cached_property
    def damaged_runs(self) -> list[str]:
        return _runs_of(self.wrong)

    @property
    def whole_runs(self) -> list[str]:
        """The intact runs that have finished, then those that have failed."""
        failed = _runs_of(finding for finding in self.found.findings if finding.kind == "failed")
        damaged = set(self.damaged_runs)
        return [run for run in dict.fromkeys([*self.found.finished, *failed]) if run not in damaged]


def _runs_of(findings: Iterable[Finding]) -> list[str]:
    parts = [finding.file.split("/") for finding in findings]
    return list(dict.fromkeys(part[1] for part in parts if part[0] == "runs" and len(part) > 1))


@dataclass
class Merged:
    """What a merge has done: runs taken and runs that were there already, by place, and all that is wrong."""

    taken: Counter[Path] = field(default_factory=Counter)
    known: Counter[Path] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    contradictions: list[str] = field(default_factory=list)


def require_mergeable(sources: Sequence[Source], target: Path) -> None:
    """UserError unless these are records of one experiment, protocol and data, and `target` can hold them."""
    first, *others = sources
    plans = [source.folder.plan() for source in sources]
    for source, plan in zip(sources, plans, strict=True):
        if plan.protocol != PROTOCOL:
            raise UserError(
                f"{source.place}: made under protocol {plan.protocol}, this flipbench has {PROTOCOL}"
            )
        if is_owned(source.path):
            raise UserError(f"{source.place}: a sweep works in this folder; merge it when that has stopped")
        for run in source.whole_runs:
            files_of(source.folder.run(run))  # no name among them leads elsewhere
    for source, plan in zip(others, plans[1:], strict=True):
        if plan.experiment != plans[0].experiment:
            raise UserError(
                f"{first.place} holds the experiment {shown(plans[0].experiment)}, {source.place} "
                f"{shown(plan.experiment)}: only records of one experiment can be merged"
            )
    for one, other in itertools.combinations(sources, 2):
        _require_same_images(one, other)
    if not ExperimentFolder(target).plan_path.exists() and target.exists():
        there = [name for name in os.listdir(target) if not name.startswith(".") and name not in PARTS]
        if there or ExperimentFolder(target).run_names():
            raise UserError(f"{target}: it holds other things and no plan.json; choose a new folder")


def _require_same_images(one: Source, other: Source) -> None:
    for label in one.folder.plan().data:
        try:
            before, now = one.folder.data(label), other.folder.data(label)
        except (FileNotFoundError, DamagedRecord):
            continue  # `verify` has found that
        if not same_images(before, now):
            files = [source.place / "data" / f"{label}.json" for source in (one, other)]
            raise UserError(
                f"{files[0]} and {files[1]}: these runs were made on other images of {label}; they cannot be "
                "merged"
            )


def merge_records(sources: Sequence[Source], target: Path) -> Merged:
    """Merge records that `require_mergeable` accepts, the first first; `target` may be one of them."""
    with owned(target) as mine:
        if not mine:
            raise UserError(f"{target}: a sweep works in this folder; merge when that has stopped")
        clear_aside(target)
        try:
            work = _Merge(ExperimentFolder(target), sources)
            work.run()
        finally:
            clear_aside(target)
    return work.done


class _Merge:
    """One merge into a folder that this process owns."""

    def __init__(self, folder: ExperimentFolder, sources: Sequence[Source]) -> None:
        self.folder, self.done = folder, Merged()
        same = [source for source in sources if folder.path.exists() and source.path.samefile(folder.path)]
        self.others = [source for source in sources if source not in same]
        self.here = same[0] if same else None
        self.origin: dict[str, Path] = {}  # where a run of this merge comes from

    def run(self) -> None:
        for part in (".", *PARTS):
            make_part(self.folder.path / part)
            clear_torn(self.folder.path / part)
        if self.here:
            self._name_damage(self.here)
        for source in self.others:
            self._name_damage(source)
            self._plan(source)
            self._data(source)
            self._runs(source)
            self._ledgers(source)
        self._drop_wrong_transfers()

    # ---- what contradicts

    def _name_damage(self, source: Source) -> None:
        for kind, file, text in source.wrong:
            self.done.contradictions.append(f"{source.place / file} is {kind}: {text}")
        if source is self.here:
            return
        for run in source.damaged_runs:
            self._keep(source.folder, [f"runs/{run}/{name}" for name in OF_A_RUN])

    def _keep(self, other: ExperimentFolder, names: Sequence[str]) -> Path:
        """Keep files of other records in the first numbered folder where nothing else has their names."""
        contents = {name: content for name in names if (content := _content(other.path / name)) is not None}
        places = (self.folder.path / SET_ASIDE / str(number) for number in itertools.count(1))
        place = next(
            place
            for place in places
            if all(_content(place / name) in (None, content) for name, content in contents.items())
        )
        for name, content in contents.items():
            self._make_parts((place / name).parent)
            write_atomically(place / name, content)
        return place

    def _make_parts(self, path: Path) -> None:
        """Make a folder of this one and those between; no link is followed."""
        below = path.relative_to(self.folder.path)
        for part in [*reversed(below.parents[:-1]), below]:
            make_part(self.folder.path / part)
        clear_torn(path)

    # ---- plan and data

    def _plan(self, source: Source) -> None:
        path, theirs = self.folder.plan_path, source.folder.plan()
        if not path.exists():
            write_atomically(path, read_bytes(source.folder.plan_path))
            return
        mine = self.folder.plan()
        changed = changes(mine, theirs)
        if edited := edited_plugins(mine, theirs):
            changed = f"the plugin of {text_of_edited(edited)} is another one"
        if not changed and changes(theirs, mine):
            write_atomically(path, read_bytes(source.folder.plan_path))
            self.done.notes.append(f"{path}: extended to the plan of {source.place}")
        elif changed and (edited or changes(theirs, mine)):  # neither extends the other
            place = self._keep(source.folder, ["plan.json"])
            both = f"{path} and {source.place / 'plan.json'}, which is now in {place}, differ"
            self.done.contradictions.append(f"{both}: {changed}")

    def _data(self, source: Source) -> None:
        for label in source.folder.plan().data:
            path = self.folder.data_path(label)
            theirs = _content(source.folder.data_path(label))
            if theirs is None:
                continue
            try:
                source.folder.data(label)
            except DamagedRecord:
                self._keep(source.folder, [f"data/{label}.json"])
                continue
            if _is_damaged(lambda label=label: self.folder.data(label)):
                set_aside(path)
            if not path.exists():
                write_atomically(path, theirs)

    # ---- runs

    def _runs(self, source: Source) -> None:
        ready = [run for run in source.whole_runs if self._wants(source, run)]
        for run in ready:
            self._copy(source, run)
            self.origin[run] = source.place
        os.sync()  # what gets its name is on disk
        for run in ready:
            self._make_room(run)
        put_in_place(self.folder.path, "runs", ready)
        self.done.taken[source.place] += len(ready)
        known = {*source.whole_runs, *source.damaged_runs}
        if left := [run for run in source.folder.run_names() if run not in known]:
            text = f"{len(left)} unfinished runs are not taken: the next sweep makes them again"
            self.done.notes.append(f"{source.place}: {text}")

    def _wants(self, source: Source, run: str) -> bool:
        """Whether a run of a source becomes the record of this folder; a contradiction is named and kept."""
        mine, theirs = self.folder.run(run), source.folder.run(run).result()
        if not mine.path.exists():
            return True
        if self.here and run in self.here.damaged_runs and run not in self.origin:
            if theirs is None:
                return False
            place = self._keep(self.folder, [f"runs/{run}/{name}" for name in OF_A_RUN])
            self.done.contradictions.append(
                f"{mine.path} is now in {place}: the run of {source.place} is taken instead"
            )
            return True
        result = mine.result()
        if result is None:  # unfinished, or failed: as in a sweep, a result takes its place
            return theirs is not None and not is_owned(mine.path)
        if theirs is not None and theirs.digest != result.digest:
            names = [f"runs/{run}/{name}" for name in files_of(source.folder.run(run))]
            self.done.contradictions.append(
                f"runs/{run} has the digest {result.digest[:12]} in "
                f"{self.origin.get(run, self.folder.path)}, which is the record here, and "
                f"{theirs.digest[:12]} in {source.place}, which is now in {self._keep(source.folder, names)}"
            )
            return False
        self.done.known[source.place] += 1
        return False

    def _copy(self, source: Source, run: str) -> None:
        """Lay a run ready; DamagedRecord if it is not what its result seals."""
        ready = RunFolder(self.folder.path / ASIDE / "runs" / run)
        self._make_parts(ready.path)
        for name in files_of(source.folder.run(run)):
            content = read_bytes(source.folder.run(run).path / name)
            with writing(ready.path / name):
                (ready.path / name).write_bytes(content)
        ready.whole()

    def _make_room(self, run: str) -> None:
        """Take away an unfinished or damaged run in whose place a whole one lies ready."""
        place = self.folder.run(run).path
        if place.exists():
            self._make_parts(self.folder.path / ASIDE / "replaced")
            with writing(place):
                os.rename(place, self.folder.path / ASIDE / "replaced" / run)

    # ---- ledgers

    def _ledgers(self, source: Source) -> None:
        plan, theirs = self.folder.plan(), source.folder.plan()
        cells = {planned.cell: planned for planned in plan.cells}
        for planned in theirs.cells:
            name = f"cells/{planned.cell}.json"
            try:
                ledger = source.folder.ledger(planned, theirs)
            except FileNotFoundError:
                continue
            except DamagedRecord:  # it is named
                self._keep(source.folder, [name])
                continue
            try:
                self._ledger(plan, cells.get(planned.cell), planned, ledger, source)
            except Contradiction as error:
                place = self._keep(source.folder, [name])
                both = f"{self.folder.path / name} and {source.place / name}, which is now in {place}, differ"
                self.done.contradictions.append(f"{both}: {error.problem}")

    def _ledger(
        self,
        plan: PlanRecord,
        planned: PlannedCell | None,
        theirs: PlannedCell,
        ledger: Ledger,
        source: Source,
    ) -> None:
        path = self.folder.ledger_path(theirs.cell)
        if planned is None:  # beyond the plan that is here, for a sweep whose plan has this cell
            content = read_bytes(source.folder.ledger_path(theirs.cell))
            if _content(path) not in (None, content):
                raise Contradiction(path, "neither is of the plan that is here")
            write_atomically(path, content)
            return
        if planned.trial != theirs.trial:
            raise Contradiction(path, "the cell is planned in another way")
        if _is_damaged(lambda: self.folder.ledger(planned, plan)):
            set_aside(path)
        mine = self.folder.ledger(planned, plan) if path.exists() else Ledger.empty(planned.cell)
        merged = union(mine, ledger, plan, path)
        check_ledger(merged, planned, plan, path)
        merged, wrong = without_wrong_winners(merged, self._scores(merged, planned, plan))
        for problem in wrong:
            self.done.contradictions.append(f"{path}: {problem}; the next sweep chooses it again")
        if merged != mine:
            write_json(path, encode(merged))

    def _drop_wrong_transfers(self) -> None:
        """Take from each ledger the winners of other tasks that are none there."""
        plan = self.folder.plan()
        for planned in plan.cells if plan.tuning.transfer else ():
            try:
                ledger = self.folder.ledger(planned, plan)
            except (FileNotFoundError, DamagedRecord):  # it is named
                continue
            wrong = self.folder.wrong_transfers(ledger, planned, plan)
            path = self.folder.ledger_path(planned.cell)
            for _, problem in wrong:
                self.done.contradictions.append(f"{path}: {problem}; the next sweep names its runs again")
            if wrong:
                entries = [entry for entry, _ in wrong]
                kept = [entry for entry in ledger.transfer if entry not in entries]
                write_json(path, encode(replace(ledger, transfer=kept)))

    def _scores(self, ledger: Ledger, planned: PlannedCell, plan: PlanRecord) -> dict[Place, Scores]:
        """Of the tuning trials whose runs are here."""
        scores = {}
        for named in named_runs(ledger, planned, plan):
            if named.place.phase == "tuning":
                try:
                    result = self.folder.run(named.run).result()
                except DamagedRecord:
                    continue
                if result is not None:
                    scores[named.place] = result.scores
        return scores


def _content(path: Path) -> bytes | None:
    """A file's content, or nothing where there is no file."""
    try:
        return read_bytes(path)
    except (FileNotFoundError, DamagedRecord):
        return None


def _is_damaged(read: Callable[[], object]) -> bool:
    try:
        read()
    except FileNotFoundError:
        return False
    except DamagedRecord:
        return True
    return False

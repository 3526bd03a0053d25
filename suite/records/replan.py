"""A folder that already holds a plan, and a new plan for it: how they differ, and what would be lost.

A plan that only adds cells, tracks, studies, trials or seeds continues the work in its folder. So does one
whose plugin was edited: that plugin's runs are made again. One that drops or changes what has finished runs
would take the place of another experiment. Nothing here imports torch.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from suite.machine.errors import UserError
from suite.machine.words import count
from suite.records.agreement import differences, named_runs, text_of
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import DamagedRecord, write_json
from suite.records.schema import PlannedCell, PlanRecord, Range, Tuning

SHOWN = 5  # differences in a message, of however many
HOW = "the new plan"


def changes(before: PlanRecord, after: PlanRecord) -> str:
    """What a new plan changes or drops of another, in words. To add and to edit a plugin is no change."""
    cells, edited = {planned.cell: planned for planned in after.cells}, edited_plugins(before, after)
    found = Counter(
        text
        for old in before.cells
        if old.cell not in edited
        for text in _of_cell(old, cells.get(old.cell), before, after)
    )
    found.update(
        text for old in before.cells for text in _of_studies(old, cells.get(old.cell), before, after)
    )
    found.update(_of_tuning(before.tuning, after.tuning))
    if after.seeds < before.seeds:
        found[text_of(("seeds", before.seeds, after.seeds), HOW)] += 1
    texts = [f"{text}{f' ({cells} cells)' if cells > 1 else ''}" for text, cells in found.items()]
    more = len(texts) - SHOWN
    return "; ".join(texts[:SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _of_tuning(before: Tuning, after: Tuning) -> Iterator[str]:
    if before.seed != after.seed:
        yield text_of(("tuning.seed", before.seed, after.seed), HOW)
    tracks = {track.name: track for track in after.tracks}
    for old in before.tracks:
        if (new := tracks.get(old.name)) is None:
            yield f"the track {old.name} is not in {HOW}"
            continue
        if new.trials < old.trials:
            yield text_of((f"tuning.{old.name}.trials", old.trials, new.trials), HOW)
        if new.at_once != old.at_once:
            yield text_of((f"tuning.{old.name}.at_once", old.at_once, new.at_once), HOW)
    if before.transfer and not after.transfer:
        yield text_of(("tuning.transfer", True, False), HOW)


def _of_studies(
    old: PlannedCell, new: PlannedCell | None, before: PlanRecord, after: PlanRecord
) -> Iterator[str]:
    """That a cell of both plans has fewer studies of a track than it had."""
    kept = {track.name: track.studies for track in after.tuning_of(new).tracks} if new else {}
    for track in before.tuning_of(old).tracks:
        if kept.get(track.name, track.studies) < track.studies:
            key = f"{old.method}.studies" if old.studies else f"tuning.{track.name}.studies"
            yield text_of((key, track.studies, kept[track.name]), HOW)


def _of_cell(
    old: PlannedCell, new: PlannedCell | None, before: PlanRecord, after: PlanRecord
) -> Iterator[str]:
    if new is None:
        yield f"the cell {old.cell} is not in {HOW}"
        return
    for difference in differences(new.trial.as_json(), old.trial.as_json()):
        if difference[0] != "seed":  # it follows from the experiment's
            yield text_of(difference, HOW)
    ranges, new_ranges = _ranges(before, old), _ranges(after, new)
    for name in sorted(ranges.keys() | new_ranges.keys()):
        if (one := ranges.get(name)) != (other := new_ranges.get(name)):
            yield f"the range of {old.method}.{name} is {one}, in {HOW} it is {other}"


def _ranges(plan: PlanRecord, cell: PlannedCell) -> dict[str, Range | None]:
    card = plan.methods.get(cell.method)
    return {name: hyper.range for name, hyper in card.hypers.items()} if card else {}


def edited_plugins(before: PlanRecord, after: PlanRecord) -> dict[str, list[str]]:
    """The cells that differ in nothing but the content of plugins, each with what is edited, by label."""
    cells = {planned.cell: planned for planned in after.cells}
    found = {}
    for old in before.cells:
        if new := cells.get(old.cell):
            keys = {key for key, *_ in differences(_with_plugins(new), _with_plugins(old))}
            labels = {"plugin": old.method, "plugins.model": old.model, "plugins.data": old.data}
            if keys and keys <= labels.keys():
                found[old.cell] = [label for key, label in labels.items() if key in keys]
    return found


def _with_plugins(planned: PlannedCell) -> dict[str, Any]:
    """The trial, with the key `plugins` also where it is empty: so a difference names its part."""
    return {"plugins": {}, **planned.trial.as_json()}


def edited_data(before: PlanRecord, after: PlanRecord) -> set[str]:
    """The data sets, by label, whose own file was edited: they may have other images now."""
    old, new = ({cell.data: cell.trial.plugins.get("data") for cell in p.cells} for p in (before, after))
    return {label for label in old.keys() & new.keys() if old[label] != new[label]}


def dropped_runs(folder: ExperimentFolder, before: PlanRecord, after: PlanRecord) -> int:
    """How many finished runs of the plan before would not be part of the new one, edited plugins aside."""
    cells, edited = {planned.cell: planned for planned in after.cells}, edited_plugins(before, after)
    at_once = {track.name: track.at_once for track in after.tuning.tracks}
    same_draws = {track.name for track in before.tuning.tracks if at_once.get(track.name) == track.at_once}
    same_seed = before.tuning.seed == after.tuning.seed
    dropped, wanted = set[str](), set[str]()
    for old in before.cells:
        if old.cell in edited:
            continue
        new = cells.get(old.cell)
        tuning = after.tuning_of(new or old)
        kept, kept_tuning = _kept(old, new, before, after)
        places = {
            place
            for place in tuning.places(after.seeds, old.task)
            if same_seed and (place.track is None or place.track in same_draws)
        }
        try:
            ledger = folder.ledger(old, before)
        except (FileNotFoundError, DamagedRecord):
            continue  # it names no run
        for named in named_runs(ledger, old, before):
            if (kept_tuning if named.place.phase == "tuning" else kept) and named.place in places:
                wanted.add(named.run)
            elif (folder.run(named.run).path / "result.json").exists():
                dropped.add(named.run)
    return len(dropped - wanted)  # a winner may be the published default: its runs are in two places


def _kept(
    old: PlannedCell, new: PlannedCell | None, before: PlanRecord, after: PlanRecord
) -> tuple[bool, bool]:
    """Whether the final runs, and the tuning runs, which have no probes, are part of the new plan."""
    if new is None:
        return False, False
    probed = replace(new, trial=replace(new.trial, probes=old.trial.probes))
    tuning = not list(_of_cell(old, probed, before, after))
    return tuning and old.trial.probes == new.trial.probes, tuning


def require_same_work(folder: ExperimentFolder, before: PlanRecord, after: PlanRecord) -> str:
    """A note about a new plan for a folder that holds another one, or nothing.

    UserError if finished runs would not be part of it: they belong to another experiment, whose plan, ledgers
    and report must not be replaced.
    """
    changed = changes(before, after)
    if changed and (runs := dropped_runs(folder, before, after)):
        aside = folder.path.with_name(f"{folder.path.name}-before")
        raise UserError(
            f"{folder.path}: it holds another plan, and {runs} finished runs that are not in the new one: "
            f"{changed}.\nNothing was changed. Keep both: move this folder away (mv {folder.path} {aside}), "
            "or choose another place with --results. To continue here with the runs that both plans share, "
            f"move its plan away (mv {folder.plan_path} {folder.path / 'plan-before.json'})"
        )
    if changed:
        return f"{folder.plan_path}: another plan without finished runs was here, and is replaced: {changed}"
    added = _added(before, after)
    return f"{folder.plan_path}: the plan that was here is extended: {added}" if added else ""


def forget_edited_plugins(folder: ExperimentFolder, before: PlanRecord, after: PlanRecord) -> str:
    """Remove the ledgers of edited plugins, whose runs are made again; a note about them, or nothing."""
    edited = edited_plugins(before, after)
    for cell in edited:
        folder.ledger_path(cell).unlink(missing_ok=True)
    _forget_winners(folder, before, edited)
    names = text_of_edited(edited)
    return f"{folder.path}: the file of {names} was edited: its runs are made again" if edited else ""


def _forget_winners(folder: ExperimentFolder, before: PlanRecord, edited: Collection[str]) -> None:
    """Remove the winners of edited cells from the ledgers of the other tasks, where they have run too."""
    gone = {(planned.method, planned.task) for planned in before.cells if planned.cell in edited}
    for planned in before.cells if before.tuning.transfer else ():
        try:
            ledger = folder.ledger(planned, before)
        except (FileNotFoundError, DamagedRecord):
            continue
        kept = [entry for entry in ledger.transfer if (planned.method, entry.source) not in gone]
        if kept != ledger.transfer:
            write_json(folder.ledger_path(planned.cell), encode(replace(ledger, transfer=kept)))


def text_of_edited(edited: Mapping[str, list[str]]) -> str:
    """What is edited, in words, each once."""
    return ", ".join(dict.fromkeys(name for names in edited.values() for name in names))


def _added(before: PlanRecord, after: PlanRecord) -> str:
    cells = len(after.cells) - len(before.cells)
    added = [count(cells, "cell")] if cells else []
    tracks = {track.name: track for track in before.tuning.tracks}
    for new in after.tuning.tracks:
        if (old := tracks.get(new.name)) is None:
            added.append(f"the track {new.name}")
            continue
        for name in ("trials", "studies"):
            if (one := getattr(old, name)) < (other := getattr(new, name)):
                added.append(f"{other} {name} of {new.name} instead of {one}")
    cells_before = {old.cell: old for old in before.cells}
    for new in after.cells:
        if new.studies and (old := cells_before.get(new.cell)):
            had = [track.studies for track in before.tuning_of(old).tracks]
            added += [f"{new.studies} studies of {new.cell}"] if min(had, default=0) < new.studies else []
    if after.seeds > before.seeds:
        added.append(f"{after.seeds} seeds instead of {before.seeds}")
    if after.tuning.transfer and not before.tuning.transfer:
        added.append("final runs of each winner on the other tasks")
    return ", ".join(added)


def require_no_older_place(results: Path, plan: PlanRecord, *runs: str) -> str:
    """A note about a folder that an older flipbench may have filled for this experiment, or nothing.

    It named the folder after the file alone: `paper/x` was results/x. UserError if runs of this plan, or the
    `runs`, lie there and nothing lies in the new place: they must be moved, not trained again.
    """
    here, before = results / plan.experiment, ExperimentFolder(results / Path(plan.experiment).name)
    if before.path == here or here.exists() or not before.path.is_dir():
        return ""
    trials = {planned.trial.run_id for planned in plan.cells} | set(runs)
    try:
        shared = trials & {planned.trial.run_id for planned in before.plan().cells}
    except (FileNotFoundError, DamagedRecord):
        shared = set()
    if shared or any(before.run(run).path.exists() for run in trials):
        raise UserError(
            f"{before.path}: an older flipbench left results of this experiment there; their place is now "
            f"{here}. Move them (mkdir -p {here.parent} && mv {before.path} {here}), then the same command "
            "resumes. To leave them there and begin again, choose another place with --results"
        )
    return f"{before.path}: another experiment of the same file name; it is left alone"

"""A plan as a person reads it: one line for each cell, then the costs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich import box
from rich.console import Group
from rich.text import Text

from suite.cli.console import duration, more_studies, table
from suite.experiment.cost import disk_bytes, probed_images, training_images
from suite.experiment.files import published_archive
from suite.experiment.plan import Plan
from suite.machine.errors import UserError
from suite.machine.words import count
from suite.records.archive import read_contents
from suite.records.codec import encode
from suite.records.files import DamagedRecord
from suite.records.schema import Tuning

if TYPE_CHECKING:
    from suite.sweep.pace import Times


class Measured(NamedTuple):
    """The times of each cell's runs on this machine, and the workers that share them."""

    times: Mapping[str, "Times"]
    workers: int

    def seconds(self, plan: Plan) -> float:
        """Of a sweep of the whole plan, if its workers do not slow each other."""
        times = [(cell, self.times[cell.name]) for cell in plan.cells]
        seconds = (plan.tuning_runs(cell) * t.tuning + plan.final_runs(cell) * t.final for cell, t in times)
        return sum(seconds) / self.workers


def plan_view(plan: Plan, results: Path, shows: Sequence[str], measured: Measured | None = None) -> Group:
    """The cells, the searched hyperparameters, the totals, and which differences the plan shows."""
    timed = ["a final run takes"] if measured else []
    cells = table("cell", "runs", "epochs", "binary weights", *timed, box=box.SIMPLE_HEAD)
    for cell in plan.cells:
        each = cell.train.epochs
        cells.add_row(
            cell.name,
            str(plan.runs_of(cell)),
            f"{each} each, {each * plan.runs_of(cell):,}",
            f"{cell.network.binary:,}",
            *([duration(measured.times[cell.name].final)] if measured else []),
        )
    spaces = {cell.method_label: cell.space for cell in plan.cells}
    searches = [
        f"{label} searches {', '.join(space) or 'nothing'}"
        for label, space in spaces.items()
        if plan.tuning.tracks
    ]
    more = {cell.method_label: cell.studies for cell in plan.cells if cell.studies}
    totals = (
        f"each cell: {_budget(plan.tuning, plan.seeds)}",
        *([f"more studies: {more_studies(more)}"] if more else []),
        f"{count(len(plan.cells), 'cell')}, at most {count(plan.runs, 'run')}, "
        f"{count(plan.epochs, 'epoch')}, "
        f"at most {disk_bytes(plan) / 1e6:,.0f} MB of records in {results / plan.name}",
        *_published(plan, results),
        *_probes(plan),
        _duration(plan, measured),
    )
    missing = [f"{label}: {text}" for label, text in missing_images(plan).items()]
    return Group(Text(plan.experiment.summary), cells, *map(Text, (*searches, *totals, *shows, *missing)))


def _duration(plan: Plan, measured: Measured | None) -> str:
    if measured:
        workers = count(measured.workers, "worker")
        return (
            f"all runs take about {duration(measured.seconds(plan))} with {workers} here, by a few steps of "
            "each cell, timed alone; workers that share memory slow each other"
        )
    images, probed = training_images(plan), probed_images(plan)
    and_probed = f" and at most {probed:,} to probe" if probed else ""
    return f"{images:,} images to train on{and_probed} (--measure says how long that takes here)"


def _budget(tuning: Tuning, seeds: int) -> str:
    """What the runs of a cell are."""
    parts = [
        f"{track.name}: {count(track.studies, 'study')} of "
        f"{count(track.trials, 'trial')}, {count(seeds, 'final run')} of "
        "each winner"
        for track in tuning.tracks
    ]
    default = count(tuning.count("default", seeds), "final run")
    shared = ", which are the winner's where it wins" if tuning.tracks else ", not tuned"
    parts.append(f"{default} of the published default{shared}")
    if transfer := tuning.count("transfer", seeds):
        parts.append(f"{count(transfer, 'final run')} of the other tasks' winners")
    return "; ".join(parts)


def _published(plan: Plan, results: Path) -> list[str]:
    """What a sweep need not train, by what the archive says of itself; the sweep checks it."""
    if (archive := published_archive(plan.name, results)) is None:
        return []
    try:
        finished = len(read_contents(archive).finished_runs)
    except (DamagedRecord, UserError, OSError) as error:
        return [f"{archive}: no run of it can be adopted: {error}"]
    runs = f"{count(finished, 'finished run')} {'is' if finished == 1 else 'are'}"
    return [f"{runs} in {archive}: a sweep begins with those of this plan"]


def _probes(plan: Plan) -> list[str]:
    """What is measured on the network of each final run, with its options."""
    probes = {each.name: each.options for cell in plan.cells for each in cell.probes}
    texts = [
        f"{name} ({', '.join(f'{key}: {value}' for key, value in options.items())})" if options else name
        for name, options in probes.items()
    ]
    return [f"probes of each final run: {', '.join(texts)}"] if texts else []


def missing_images(plan: Plan) -> dict[str, str]:
    """The data sets whose images are not there, by label, and what is missing: a plan needs none of it."""
    found = {}
    for label, paths in plan.absent.items():
        if paths:
            more = f" and {len(paths) - 1} more files" if len(paths) > 1 else ""
            found[label] = f"its images are not there: {paths[0]}{more}"
    return found


def plan_as_json(plan: Plan, measured: Measured | None = None) -> dict[str, Any]:
    """The content of plan.json and the costs."""
    costs = {"runs": plan.runs, "epochs": plan.epochs, "disk_bytes": disk_bytes(plan)}
    costs |= {"training_images": training_images(plan), "probed_images": probed_images(plan)}
    if measured:
        times = {name: of_cell._asdict() for name, of_cell in measured.times.items()}
        costs |= {"seconds": measured.seconds(plan), "workers": measured.workers, "run_seconds": times}
    return {**encode(plan.record), **costs, "missing_images": missing_images(plan)}

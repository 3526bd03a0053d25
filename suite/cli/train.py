"""`flipbench train`: one run of one cell, in this process or in several that torchrun starts."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from suite.cli.console import complain, err, out, print_json, say
from suite.cli.options import RESULTS, AsJson, Device, Exp, Plugin, Results, Set, Threads
from suite.cli.plan import read_plan
from suite.machine import preemption
from suite.machine.errors import UserError, one_of

if TYPE_CHECKING:
    import torch

    from suite.experiment.plan import Plan
    from suite.records.run import RunFolder
    from suite.records.schema import EpochLine, Result
    from suite.records.trial import Trial
    from suite.sweep.worker import Files

NO_NETWORK = (
    "{run}: this run is finished and holds no network, and a finished run never changes. Move its folder "
    "away, or name another place with --results: then the same command trains it again, to the same bits"
)


def train(
    exp: Exp,
    cell: Annotated[str, typer.Argument(help="data.model.method, as `plan` prints it.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the start, the order and the augmentation.")] = 0,
    final: Annotated[bool, typer.Option("--final", help="Score once on the test set.")] = False,
    keep_weights: Annotated[
        bool,
        typer.Option("--keep-weights", help="Keep the network of the final run, for `flipbench load`."),
    ] = False,
    set_: Set = None,
    plugin: Plugin = None,
    device: Device = "auto",
    threads: Threads = 1,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Train one run of one cell at its published (or set) hyperparameters, epoch by epoch."""
    from suite.machine.apart import apart
    from suite.records.codec import encode

    if keep_weights and not final:
        raise UserError("--keep-weights: only a final run keeps its network: add --final")
    planned = read_plan(exp, set_, plugin)
    trial = _trial(planned, exp, cell, seed, final)
    run = results / planned.name / "runs" / trial.run_id
    notes = [note for note in _notes(planned, results, trial) if note]
    keep = keep_weights or planned.keep_weights
    preemption.heed_sigterm()
    if own := {source: planned.plugins[source] for source in trial.sources}:
        ended = apart(own.values(), _train_with, own, trial, run, device, threads, keep, notes)
    else:
        ended = _train(trial, run, device, threads, keep, notes)
    if ended.exit_code:
        raise typer.Exit(ended.exit_code)
    if (result := ended.result) is None:
        return
    if as_json:
        print_json({"run": str(run), **encode(result)})
        return
    scores = "  ".join(f"{name} {value:.4f}" for name, value in encode(result.scores).items())
    say(out, f"{result.status}: {scores}\nrecord: {run}")


class Ended(NamedTuple):
    """How a training ended here. The result of several processes is the first one's alone."""

    result: "Result | None" = None
    exit_code: int = 0


def _notes(planned: "Plan", results: Path, trial: "Trial") -> Iterator[str]:
    """What to know about the folder in which the run is recorded."""
    from suite.records.experiment import ExperimentFolder
    from suite.records.files import DamagedRecord
    from suite.records.replan import changes, require_no_older_place

    yield require_no_older_place(results, planned.record, trial.run_id)
    folder = ExperimentFolder(results / planned.name)
    try:
        changed = changes(folder.plan(), planned.record)
    except (FileNotFoundError, DamagedRecord):
        return
    if changed:
        yield f"{folder.path} holds another plan: {changed}. The run is recorded there, and is no part of it"


def _trial(planned: "Plan", exp: str, cell: str, seed: int, final: bool) -> "Trial":
    cells = {entry.name: entry for entry in planned.cells}
    if cell not in cells:
        raise UserError(f"{exp} has no cell {cell!r}{one_of(cell, cells)}")
    return cells[cell].trial(cells[cell].published, seed, "final" if final else "tune")


def _train_with(
    files: "Files", trial: "Trial", run: Path, device: str, threads: int, keep: bool, notes: Sequence[str]
) -> Ended:
    """`_train` in a process that has imported the plugins of the cell."""
    from suite.sweep.worker import load_files

    preemption.heed_sigterm()
    load_files(files)
    return _train(trial, run, device, threads, keep, notes)


def _train(
    trial: "Trial", folder: Path, device: str, threads: int, keep: bool, notes: Sequence[str]
) -> Ended:
    """Train the run unless it is finished."""
    from suite.data import DecoderDied
    from suite.machine.environment import choose_device, use_device
    from suite.records.run import RunFolder
    from suite.training.loop import train as train_trial
    from suite.training.probing import require_one_process
    from suite.training.progress import Progress
    from suite.training.ranks import device_of_rank, joined, processes

    require_one_process(trial, processes())
    where, run, progress = choose_device(device_of_rank(device)), RunFolder(folder), Progress()
    use_device(where, threads)
    if not (run.path / "result.json").exists():
        # absent data and too little memory raise an error before anything is written
        notes = [*notes, *_require_images(where, trial, run)]
    with joined(where) as ranks, run.owned() if ranks.first else contextlib.nullcontext(True) as mine:
        if not all(ranks.gather(mine)):
            raise UserError(f"{run.path}: another process trains this run")
        show = _print_epoch if ranks.first else lambda line: None
        for note in notes if ranks.first else ():
            say(err, note)
        try:
            finished = ranks.gather(run.result() if ranks.first else None)[0]
            if finished and keep and run.lacks_weights(trial, finished):
                raise UserError(NO_NETWORK.format(run=run.path))
            result = finished or train_trial(
                trial, run, where, progress=progress, on_epoch=show, ranks=ranks, keep_weights=keep
            )
        except preemption.StopRequested as stopped:
            if ranks.first:
                say(err, f"{stopped}; the same command resumes the run")
            return Ended(exit_code=preemption.EXIT_CODE)
        except DecoderDied as error:
            complain("stopped:", str(error))
            say(err, "the same command resumes the run")
            return Ended(exit_code=1)
    if not ranks.first:
        return Ended()
    for note in progress.notes:
        say(err, note)
    return Ended(result)


def _require_images(device: "torch.device", trial: "Trial", run: "RunFolder") -> Iterator[str]:
    """Read or list the images of the trial, which must be those of the other runs of its experiment, and
    demand the memory in which they are decoded; what to know.
    """
    from suite.data import StoredImages, skipped_text
    from suite.data.held import splits_on
    from suite.records.agreement import changed_images
    from suite.records.experiment import ExperimentFolder

    splits = splits_on(device, trial.data, trial.stage == "final")
    if path := ExperimentFolder(run.path.parent.parent).other_images(trial, splits.record):
        raise UserError(changed_images(path))
    if isinstance(splits.train, StoredImages):
        here, all_ = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
        part = trial.train.batch_size // max(trial.train.batch_parts, all_)
        splits.train.require_shared_memory([part], workers=here)
    if note := skipped_text(splits.record.skipped):
        yield note


def _print_epoch(line: "EpochLine") -> None:
    say(
        err,
        f"epoch {line.epoch:>4}  train loss {line.train_loss:.4f}  validation top-1 {line.val_top1:.4f}"
        f"  flips {sum(line.flips.flips):>9}  {line.seconds:.1f} s",
    )

"""`flipbench train`: one run of one cell, in this process or in several that torchrun starts."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from suite.cli.console import err, out, print_json, say
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


def train(
    exp: Exp,
    cell: Annotated[str, typer.Argument(help="data.model.method, as `plan` prints it.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the start, the order and the augmentation.")] = 0,
    final: Annotated[bool, typer.Option("--final", help="Score once on the test set.")] = False,
    set_: Set = None,
    plugin: Plugin = None,
    device: Device = "auto",
    threads: Threads = 1,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Train one run of one cell at its published (or set) hyperparameters, epoch by epoch."""
    from suite.data import StoredImages, skipped_text
    from suite.data.held import splits_on
    from suite.machine.environment import choose_device, use_device
    from suite.records.codec import encode
    from suite.records.run import RunFolder
    from suite.training.ranks import device_of_rank

    planned = read_plan(exp, set_, plugin)
    trial = _trial(planned, exp, cell, seed, final)
    where = choose_device(device_of_rank(device))
    use_device(where, threads)
    run = RunFolder(results / planned.name / "runs" / trial.run_id)
    notes = [note for note in _notes(planned, results, run) if note]
    if not (run.path / "result.json").exists():
        # absent data and too little memory raise an error before anything is written
        splits = splits_on(where, trial.data, final)
        notes.append(skipped_text(splits.record.skipped))
        if isinstance(splits.train, StoredImages):
            here, all_ = (int(os.environ.get(name, "1")) for name in ("LOCAL_WORLD_SIZE", "WORLD_SIZE"))
            part = trial.train.batch_size // max(trial.train.batch_parts, all_)
            splits.train.require_shared_memory([part], workers=here)
    preemption.heed_sigterm()
    result = _train(trial, run, where, [note for note in notes if note])
    if result is None:
        return
    if as_json:
        print_json({"run": str(run.path), **encode(result)})
        return
    scores = "  ".join(f"{name} {value:.4f}" for name, value in encode(result.scores).items())
    say(out, f"{result.status}: {scores}\nrecord: {run.path}")


def _notes(planned: "Plan", results: Path, run: "RunFolder") -> Iterator[str]:
    """What to know about the folder in which the run is recorded."""
    from suite.records.experiment import ExperimentFolder
    from suite.records.files import DamagedRecord
    from suite.records.replan import changes, require_no_older_place

    yield require_no_older_place(results, planned.record, run.path.name)
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


def _train(trial: "Trial", run: "RunFolder", device: "torch.device", notes: list[str]) -> "Result | None":
    """Train the run unless it is finished. The result goes to the first of several processes only."""
    from suite.data import DecoderDied
    from suite.training.loop import train as train_trial
    from suite.training.progress import Progress
    from suite.training.ranks import joined

    progress = Progress()
    with joined(device) as ranks, run.owned() if ranks.first else contextlib.nullcontext(True) as mine:
        if not all(ranks.gather(mine)):
            raise UserError(f"{run.path}: another process trains this run")
        show = _print_epoch if ranks.first else lambda line: None
        for note in notes if ranks.first else ():
            say(err, note)
        try:
            finished = ranks.gather(run.result() if ranks.first else None)[0]
            result = finished or train_trial(
                trial, run, device, progress=progress, on_epoch=show, ranks=ranks
            )
        except preemption.StopRequested as stopped:
            if ranks.first:
                say(err, f"{stopped}; the same command resumes the run")
            raise typer.Exit(preemption.EXIT_CODE) from None
        except DecoderDied as error:
            err.print(f"[bold red]stopped:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
            say(err, "the same command resumes the run")
            raise typer.Exit(1) from None
    if not ranks.first:
        return None
    for note in progress.notes:
        say(err, note)
    return result


def _print_epoch(line: "EpochLine") -> None:
    say(
        err,
        f"epoch {line.epoch:>4}  train loss {line.train_loss:.4f}  validation top-1 {line.val_top1:.4f}"
        f"  flips {sum(line.flips.flips):>9}  {line.seconds:.1f} s",
    )

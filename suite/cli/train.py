"""`flipbench train`: one run of one cell, in this process or in several that torchrun starts."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.console import err, out, print_json, say
from suite.cli.options import RESULTS, AsJson, Device, Exp, Plugin, Results, Set, Threads
from suite.cli.plan import read_plan
from suite.machine import preemption
from suite.machine.errors import UserError, one_of

if TYPE_CHECKING:
    from suite.experiment.plan import Plan
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
    from suite.machine.apart import apart
    from suite.records.codec import encode

    planned = read_plan(exp, set_, plugin)
    trial = _trial(planned, exp, cell, seed, final)
    run = results / planned.name / "runs" / trial.run_id
    preemption.heed_sigterm()
    try:
        if own := planned.plugins.get(trial.plugin or ""):
            result = _unless_stopped(apart([own], _train_with, own, trial, run, device, threads))
        else:
            result = _train(trial, run, device, threads)
    except preemption.StopRequested:
        raise typer.Exit(preemption.EXIT_CODE) from None
    if result is None:
        return
    if as_json:
        print_json({"run": str(run), **encode(result)})
        return
    scores = "  ".join(f"{name} {value:.4f}" for name, value in encode(result.scores).items())
    say(out, f"{result.status}: {scores}\nrecord: {run}")


def _trial(planned: "Plan", exp: str, cell: str, seed: int, final: bool) -> "Trial":
    cells = {entry.name: entry for entry in planned.cells}
    if cell not in cells:
        raise UserError(f"{exp} has no cell {cell!r}{one_of(cell, cells)}")
    return cells[cell].trial(cells[cell].published, seed, "final" if final else "tune")


def _train_with(plugin: str, trial: "Trial", run: Path, device: str, threads: int) -> "Result | str | None":
    """`_train` in a process that has imported the plugin of the cell; the text of a StopRequested."""
    from suite.sweep.worker import load

    preemption.heed_sigterm()
    load(plugin, trial.plugin)
    try:
        return _train(trial, run, device, threads)
    except preemption.StopRequested as stopped:
        return str(stopped)


def _unless_stopped(ended: "Result | str | None") -> "Result | None":
    if isinstance(ended, str):
        raise preemption.StopRequested(ended)
    return ended


def _train(trial: "Trial", folder: Path, device: str, threads: int) -> "Result | None":
    """Train the run unless it is finished. The result goes to the first of several processes only."""
    from suite.data.held import splits_on
    from suite.machine.environment import choose_device, use_device
    from suite.records.files import owned
    from suite.records.run import RunFolder
    from suite.training.loop import train as train_trial
    from suite.training.progress import Progress
    from suite.training.ranks import device_of_rank, joined

    where, run, progress = choose_device(device_of_rank(device)), RunFolder(folder), Progress()
    use_device(where, threads)
    if not (run.path / "result.json").exists():
        # Absent data raise an error before anything is written.
        splits_on(where, trial.data, trial.stage == "final")
    with joined(where) as ranks, owned(run.path) if ranks.first else contextlib.nullcontext(True) as mine:
        if not all(ranks.gather(mine)):
            raise UserError(f"{run.path}: another process trains this run")
        show = _print_epoch if ranks.first else lambda line: None
        try:
            finished = ranks.gather(run.result() if ranks.first else None)[0]
            result = finished or train_trial(trial, run, where, progress=progress, on_epoch=show, ranks=ranks)
        except preemption.StopRequested as stopped:
            if ranks.first:
                say(err, f"{stopped}; the same command resumes the run")
            raise
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

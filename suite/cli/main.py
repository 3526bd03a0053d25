"""The command `flipbench`: the front door, and the only place that knows both the suite and the report.

Exit codes: 0 all planned runs have a result; 1 some failed or are missing; 2 what was asked cannot be done,
and nothing was written; 130 interrupted, 75 told to stop by SIGTERM: the same command goes on from there.
Of `verify`: 0 all there and intact; 1 something planned is missing, failed, or could not be repeated;
2 something is damaged or contradictory.
"""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from suite.machine import preemption
from suite.machine.errors import UserError, one_of
from suite.records.files import DamagedRecord, read_json

if TYPE_CHECKING:
    from suite.experiment.plan import Plan
    from suite.sweep.pool import Pool

app = typer.Typer(
    help="The comparative benchmark of optimizers for binarized neural networks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
out, err = Console(), Console(stderr=True)

Exp = Annotated[
    str, typer.Argument(metavar="EXP", help="A name in experiments/, or the path of a YAML file.")
]
Folder = Annotated[str, typer.Argument(metavar="EXP", help="A name in results/, or the path of its folder.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value, for example --set train.epochs=5."),
]
Plugin = Annotated[
    list[Path] | None,
    typer.Option("--plugin", help="A Python file with methods of your own; it is executed."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and print the plan; run and write nothing.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Engine = Annotated[
    Literal["local", "ray"],
    typer.Option(help="Where trials run: this machine, or a Ray cluster (docs/clusters.md)."),
]
Workers = Annotated[
    int | None, typer.Option(min=1, help="Worker processes. Default: one per core, or one per GPU.")
]
Threads = Annotated[int, typer.Option(min=1, help="Threads of each worker; another number gives other bits.")]
Results = Annotated[Path, typer.Option(help="The folder that holds one folder per experiment.")]


def main() -> None:
    """Run the command line; what a user can mend ends in one message and exit code 2."""
    preemption.end_at_sigterm()
    try:
        app()
    except (UserError, DamagedRecord, OSError) as error:
        err.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(2)


@app.command("list")
def list_(plugin: Plugin = None, as_json: AsJson = False) -> None:
    """What there is: methods with hyperparameters and ranges, models, data sets, experiments."""
    from suite.cli.views.catalogue import tables

    cards = _cards(plugin)
    experiments = {name: _headline(path) for name, path in sorted(_experiments().items())}
    if as_json:
        _print_json({**cards, "experiments": experiments})
        return
    for table in tables(cards, experiments):
        out.print(table)


@app.command()
def show(
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method, as `list` names it.")],
    plugin: Plugin = None,
    as_json: AsJson = False,
) -> None:
    """All about one method: what it does, its paper, its file, every hyperparameter, the memory it takes."""
    from suite.cli.views.catalogue import method_card

    methods = _cards(plugin)["methods"]
    if method not in methods:
        raise UserError(f"there is no method {method!r}{one_of(method, methods)}")
    if as_json:
        _print_json({"name": method, **methods[method]})
    else:
        out.print(method_card(method, methods[method]), highlight=False)


@app.command()
def plan(
    exp: Exp,
    set_: Set = None,
    plugin: Plugin = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Check an experiment and print its cells, trials, epochs and disk, before anything runs."""
    _print_plan(_plan(exp, set_, plugin), results, as_json)


def _walk(*, tuning_only: bool) -> Callable[..., None]:
    """The body of `sweep`, and of `tune`, which stops half-way."""

    def command(
        exp: Exp,
        set_: Set = None,
        plugin: Plugin = None,
        device: Device = "auto",
        engine: Engine = "local",
        workers: Workers = None,
        threads: Threads = 1,
        results: Results = Path("results"),
        dry_run: DryRun = False,
        as_json: AsJson = False,
    ) -> None:
        planned = _plan(exp, set_, plugin)
        if dry_run:
            _print_plan(planned, results, as_json)
        else:
            folder = results / planned.name
            _run(planned, folder, engine, device, workers, threads, as_json, tuning_only=tuning_only)

    return command


app.command(
    "sweep",
    help="Tune every cell, run the winners on fresh seeds, write the report. Run it again after a stop.",
)(_walk(tuning_only=False))
app.command(
    "tune",
    help="Only the tuning trials of every cell; the test set stays out of reach. `sweep` goes on from there.",
)(_walk(tuning_only=True))


@app.command()
def train(
    exp: Exp,
    cell: Annotated[str, typer.Argument(help="data.model.method, as `plan` prints it.")],
    seed: Annotated[int, typer.Option(min=0, help="Of the start, the order and the augmentation.")] = 0,
    final: Annotated[bool, typer.Option("--final", help="Score once on the test set.")] = False,
    set_: Set = None,
    plugin: Plugin = None,
    device: Device = "auto",
    threads: Threads = 1,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """One run of one cell at its published (or set) hyperparameters, epoch by epoch."""
    from suite.data.held import splits_on
    from suite.experiment.spec import SpecError
    from suite.machine.environment import choose_device, use_device
    from suite.machine.preemption import Preempted, heed_sigterm
    from suite.records.files import canonical, owned
    from suite.records.run import RunFolder, SilentRunFolder
    from suite.training.loop import train as train_trial
    from suite.training.ranks import device_of_rank, joined

    planned = _plan(exp, set_, plugin)
    cells = {entry.name: entry for entry in planned.cells}
    if cell not in cells:
        raise SpecError(f"{exp} has no cell {cell!r}{one_of(cell, cells)}")
    where = choose_device(device_of_rank(device))
    use_device(where, threads)
    trial = cells[cell].trial(cells[cell].published, seed, "final" if final else "tune")
    folder = results / planned.name / "runs" / trial.run_id

    def show(line: dict[str, Any]) -> None:
        err.print(
            f"epoch {line['epoch']:>4}  train loss {line['train_loss']:.4f}"
            f"  validation top-1 {line['val_top1']:.4f}"
            f"  flips {sum(line['flips']['flips']):>9}  {line['seconds']:.1f} s",
            highlight=False,
        )

    heed_sigterm()
    if not (folder / "result.json").exists():
        splits_on(where, canonical(trial.data), final)  # absent data speak before anything is written
    with joined(where) as ranks, owned(folder) if ranks.first else contextlib.nullcontext(True) as mine:
        if not all(ranks.gather(mine)):
            raise SpecError(f"{folder}: another process trains this run")
        run = RunFolder(folder) if ranks.first else SilentRunFolder(folder)
        try:
            finished = ranks.gather(run.result() if ranks.first else None)[0]
            result = finished or train_trial(
                trial, run, where, on_epoch=show if ranks.first else lambda line: None, ranks=ranks
            )
        except Preempted as stopped:
            if ranks.first:
                err.print(f"{stopped}; the same command goes on from here")
            raise typer.Exit(preemption.EXIT_CODE) from None
    if not ranks.first:
        return
    for note in run.notes:
        err.print(escape(note), soft_wrap=True, highlight=False)
    if as_json:
        _print_json({"run": str(run.path), **result})
        return
    scores = "  ".join(f"{name} {value:.4f}" for name, value in result["scores"].items())
    out.print(f"{result['status']}: {scores}\nrecord: {run.path}", highlight=False)


@app.command()
def prepare(
    data: Annotated[
        Literal["imagenet"], typer.Argument(metavar="imagenet", help="The data set that reads the result.")
    ],
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A tree: train/<class>/*.JPEG and val.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A folder of its own for the result.")],
    encoding: Annotated[
        Literal["jpeg", "pixels"],
        typer.Option(help="Smaller JPEG files, or bare pixels: larger, and fastest to read."),
    ] = "jpeg",
    side: Annotated[int, typer.Option(min=1, help="The short side of an image in pixels.")] = 256,
    quality: Annotated[int, typer.Option(min=1, max=95, help="Of JPEG.")] = 90,
    damaged: Annotated[
        Literal["stop", "leave-out"], typer.Option(help="What to do about images that cannot be decoded.")
    ] = "stop",
    workers: Annotated[int | None, typer.Option(min=1, help="Processes. Default: one per core.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Then read it all again and compare the checksums.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Convert a tree of images once, so that training reads them faster. Run it again after a stop."""
    from suite.cli.views.prepare import bar, told
    from suite.data.stored.prepare import prepare as prepare_images
    from suite.data.stored.verify_pack import verify as verify_images
    from suite.machine.environment import cores

    try:
        with bar(err, "images") as show:
            summary = prepare_images(
                source,
                target,
                encoding=encoding,
                side=side,
                quality=quality,
                damaged=damaged,
                workers=workers or cores(),
                on_progress=show,
            )
    except KeyboardInterrupt:
        err.print("interrupted; the same command goes on from here")
        raise typer.Exit(130) from None
    problems = []
    if check:
        with bar(err, "bytes checked") as show:
            problems = verify_images(target, show)
    if as_json:
        _print_json({"data": data, **summary._asdict(), "checked": check, "problems": problems})
    else:
        out.print(told(summary, target), soft_wrap=True, highlight=False)
        for problem in problems:
            out.print(f"[red]{escape(problem)}[/]", soft_wrap=True, highlight=False)
        if check and not problems:
            out.print("every byte is as its checksum says", highlight=False)
    if problems:
        raise typer.Exit(2)


@app.command()
def report(exp: Folder, results: Results = Path("results")) -> None:
    """Write the report of what is there, finished or not. Reads records only."""
    from report.build import build_report

    page = build_report(_folder(exp, results), out.print)
    out.print(f"report: {page}", highlight=False)


@app.command()
def status(
    exp: Folder,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every two seconds.")] = False,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """How far a sweep has come, seen from any terminal, and whether one works there now."""
    from suite.checks.status import Observer
    from suite.cli.views.status import picture, watch_status

    if watch and (as_json or not out.is_terminal):
        raise UserError("--watch needs a terminal, and goes without --json")
    observer = Observer(_folder(exp, results))
    if watch:
        watch_status(observer, out)
    elif as_json:
        _print_json(dataclasses.asdict(observer.look()))
    else:
        out.print(picture(observer.look()), highlight=False)


@app.command()
def verify(
    exp: Folder,
    replay: Annotated[
        str | None,
        typer.Option(metavar="RUN|N|all", help="Train this run, so many or all again and compare the bits."),
    ] = None,
    plugin: Plugin = None,
    results: Results = Path("results"),
    as_json: AsJson = False,
) -> None:
    """Check that all records are there (else exit code 1), intact and free of contradiction (else 2)."""
    from suite.cli.views import verify as verify_view

    folder = _folder(exp, results)
    found = verify_view.verify_with_bar(folder, err)
    runs = verify_view.chosen_runs(replay, folder, found) if replay else []
    if runs and plugin:
        _load_plugins(plugin)
    same = verify_view.replay_with_bar(folder, found, runs, err) if runs else 0
    if as_json:
        _print_json(verify_view.as_json(found, len(runs), same))
    else:
        out.print(verify_view.picture(found), soft_wrap=True, highlight=False)
        if replay:
            out.print(f"{same} of {len(runs)} replayed runs gave the same bits", highlight=False)
        out.print(verify_view.verdict(found), highlight=False)
    raise typer.Exit(found.exit_code)


def _folder(exp: str, results: Path) -> Path:
    """The folder of an experiment's records, named or given."""
    return results / exp if (results / exp).is_dir() or not Path(exp).is_dir() else Path(exp)


def _plan(exp: str, changes: list[str] | None, plugins: list[Path] | None) -> "Plan":
    from suite.experiment.spec import ExperimentFile

    path = Path(exp) if exp.endswith((".yaml", ".yml")) else Path("experiments") / f"{exp}.yaml"
    source = ExperimentFile(path, changes or [])
    source.experiment()  # most mistakes show here, before anybody has waited for torch
    from suite.experiment.plan import make_plan

    return make_plan(source, _load_plugins(plugins))


def _cards(plugins: list[Path] | None) -> dict[str, Any]:
    from suite.cli.catalogue import catalogue

    if plugins:
        _load_plugins(plugins)
    return catalogue(afresh=bool(plugins))


def _load_plugins(plugins: list[Path] | None) -> list[str]:
    from optimizers import load_plugin
    from suite.experiment.spec import SpecError

    for plugin in plugins or []:
        try:
            load_plugin(plugin)
        except Exception as error:  # a plugin is a user's code: anything may come out of it
            raise SpecError(f"--plugin {plugin}: {type(error).__name__}: {error}") from None
    return [str(plugin.resolve()) for plugin in plugins or []]


def _run(
    planned: "Plan",
    folder: Path,
    engine: str,
    device: str,
    workers: int | None,
    threads: int,
    as_json: bool,
    *,
    tuning_only: bool,
) -> None:
    from suite.data.stored.batches import share_decoders
    from suite.experiment.cost import require_space
    from suite.machine.environment import choose_device
    from suite.sweep.pool import LocalPool, Machine, default_devices
    from suite.sweep.ray_pool import RayPool

    if engine == "ray":
        pool = RayPool(folder, device, workers, threads, planned.plugins)
        count = pool.workers
    else:
        chosen = choose_device(device)
        devices = (str(chosen),) * (workers or 1) if ":" in device else default_devices(chosen.type, workers)
        share_decoders(len(devices))
        pool, count = LocalPool(Machine(devices, threads), planned.plugins), len(devices)
    with pool:
        require_space(planned, folder, count)
        complete = _sweep(planned, folder, pool, tuning_only=tuning_only)
    _conclude(planned, folder, complete, as_json, tuning_only=tuning_only)


def _sweep(planned: "Plan", folder: Path, pool: "Pool", *, tuning_only: bool) -> bool:
    from suite.cli.views.progress import SweepProgress
    from suite.data import load_splits
    from suite.records.files import owned
    from suite.sweep.coordinator import Busy, DiskFailed, Sweep, prepare_folder

    records = {}
    for label, data in {cell.data_label: cell.data for cell in planned.cells}.items():
        options = dict(data)
        splits = load_splits(options.pop("name"), options, with_test=False)
        records[label] = splits.record
        if problem := pool.lend(data, splits):
            err.print(f"{label}: every worker holds its own images, because they cannot be shared: {problem}")
    preemption.heed_sigterm()
    with owned(folder) as mine:
        if not mine:
            raise Busy(f"{folder}: another sweep works in this folder")
        notes = prepare_folder(planned, folder, records)
        progress = SweepProgress(planned, tuning_only=tuning_only)
        for note in notes:
            progress.on_note(note)
        err.print(f"{progress.runs} runs, {progress.epochs} epochs, {pool} -> {folder}")
        try:
            with progress:
                return Sweep(planned, folder, pool, tuning_only, progress.on_report, progress.on_note).run()
        except KeyboardInterrupt:
            err.print("interrupted; the same command goes on from here")
            raise typer.Exit(130) from None
        except preemption.Preempted:
            err.print("told to stop; the same command goes on from here")
            raise typer.Exit(preemption.EXIT_CODE) from None
        except DiskFailed as error:
            err.print(f"[bold red]stopped:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
            raise typer.Exit(1) from None


def _conclude(planned: "Plan", folder: Path, complete: bool, as_json: bool, *, tuning_only: bool) -> None:
    from report.build import build_report

    page = build_report(folder) if as_json or tuning_only else build_report(folder, out.print)
    if as_json:
        cells = [read_json(folder / "cells" / f"{cell.name}.json") for cell in planned.cells]
        _print_json({"complete": complete, "report": str(page), "cells": cells})
    err.print(f"report: {page}", highlight=False)
    if not complete:
        err.print("[bold red]some planned runs have no result:[/] the report says which and why")
        raise typer.Exit(1)


def _print_plan(planned: "Plan", results: Path, as_json: bool) -> None:
    from suite.experiment.cost import disk_bytes
    from suite.experiment.trial import network_size

    tuning, seeds = planned.experiment.tuning, planned.experiment.seeds
    disk = disk_bytes(planned)
    if as_json:
        _print_json({**planned.as_dict(), "runs": planned.runs, "epochs": planned.epochs, "disk_bytes": disk})
        return
    table = Table(Column("cell", no_wrap=True), "runs", "epochs", "binary weights", box=box.SIMPLE_HEAD)
    for cell in planned.cells:
        size = network_size(cell.trial(cell.published, 0, "tune"), cell.sizes)
        each = cell.train["epochs"]
        table.add_row(
            cell.name,
            f"{tuning.trials} + {seeds}",
            f"{each} each, {each * (tuning.trials + seeds):,}",
            f"{size.binary:,}",
        )
    out.print(escape(planned.experiment.summary), highlight=False)
    out.print(table)
    for label, space in {cell.method_label: cell.space for cell in planned.cells}.items():
        out.print(f"{label} searches {', '.join(space) or 'nothing'}", highlight=False)
    out.print(
        f"{len(planned.cells)} cells, {planned.runs:,} runs, {planned.epochs:,} epochs, "
        f"at most {disk / 1e6:,.0f} MB of records in {results / planned.name}",
        highlight=False,
    )


def _experiments() -> dict[str, Path]:
    folder = Path("experiments")
    return {str(path.relative_to(folder).with_suffix("")): path for path in folder.rglob("*.yaml")}


def _headline(path: Path) -> str:
    from suite.experiment.spec import ExperimentFile

    try:
        values = ExperimentFile(path).values
    except UserError as error:  # one broken file must not hide the others
        return str(error)
    return str(values.get("summary", "")) if isinstance(values, dict) else ""


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, ensure_ascii=False))

"""`flipbench place`: where a method of one's own stands among the published baselines."""

import hashlib
import shlex
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from suite.cli.console import complain, err, out, say
from suite.cli.options import RESULTS, Device, Results, Workers
from suite.experiment.files import find_experiment
from suite.machine.errors import UserError, one_of
from suite.records.files import DamagedRecord, make_folder, write_atomically
from suite.records.placement import (
    PLACED,
    PlacedTask,
    Placement,
    PlacementRecord,
    enter,
    read_placement,
    set_aside_other,
    shape_of,
    write_placement,
)

if TYPE_CHECKING:
    import torch

    from suite.checks.placement import Baselines
    from suite.experiment.plan import Plan
    from suite.records.placement import Repeated


def place(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A Python file with a method; it is executed.")
    ],
    method: Annotated[
        str | None, typer.Option(help="The method to place, if the file holds several.")
    ] = None,
    decay: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Let this hyperparameter decay to 0 along a cosine, as in baselines."
        ),
    ] = None,
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            "--task", help="A standard experiment, such as fashion-mlp. Default: all with baselines."
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="One tuning study instead of all: a first look without a verdict.")
    ] = False,
    device: Device = "auto",
    workers: Workers = None,
    results: Results = RESULTS,
) -> None:
    """Tune and train your method under the protocol of the published baselines, and show where it stands.

    Checks the file, trains two published runs again to compare this machine, then runs only your method and
    writes its page to RESULTS/placed/NAME. Run it again after a stop. Exit code 1 if the check finds a fault
    or a planned run has no result.
    """
    from report.placement import build_placement
    from suite.cli.sweep import Machines, run_plan
    from suite.machine.environment import choose_device

    name = _checked(file, method)
    entry = _entry(file, name, decay)
    baselines = _all_baselines(_standard(tasks, results), named=bool(tasks))
    standard = [each.experiment for each in baselines]
    folder = results / PLACED / (f"{name}-quick" if quick else name)
    source = file.read_bytes()
    placement = Placement(
        method=name,
        file=file.name,
        sha256=hashlib.sha256(source).hexdigest(),
        shape=shape_of(source),
        quick=quick,
        experiments=standard,
        at=date.today().isoformat(),
    )
    chosen = choose_device(device)
    if aside := set_aside_other(folder, placement.sha256, entry):
        say(err, f"another version of {file.name}, or other options, were placed before: that is in {aside}")
    make_folder(folder)
    plans = [_plan(folder, each, entry, file, quick) for each in baselines]
    # What can be wrong with the request is known by now: a placement that counts has begun.
    before = enter(results / PLACED, placement)
    command = _command(file, method, decay, tasks, quick)
    complete, placed, earlier = True, list[PlacedTask](), _tasks_before(folder)
    for number, (each, planned) in enumerate(zip(baselines, plans, strict=True), 1):
        placed.append(_task(earlier, each, chosen))
        later = [task for task in earlier if task.experiment in standard[number:]]
        write_placement(
            folder,
            PlacementRecord(placement=placement, command=command, tasks=[*placed, *later], before=before),
        )
        machines = Machines("local", device, workers, 1)
        complete &= run_plan(planned, folder / placed[-1].folder, machines, each.archive, part=True)
    page = build_placement(folder, out.print)
    say(out, f"placement: {page}")
    if not complete:
        complain("some planned runs have no result:", "the page says which and why")
        raise typer.Exit(1)


def _checked(file: Path, method: str | None) -> str:
    """The method of a file that passes the check, and is none of the catalogue."""
    from optimizers import METHODS
    from suite.checks.contract.check import check

    found = check(file)
    if found.faults:
        for fault in found.faults:
            say(err, f"{file}{f':{fault.line}' if fault.line else ''}: {fault.text}")
        complain(f"{file}:", "it does not pass the check, so nothing was trained")
        raise typer.Exit(1)
    names = [name.removeprefix("method ") for name in found.names if name.startswith("method ")]
    if method is not None and method not in names:
        raise UserError(f"{file}: it holds no method {method!r}{one_of(method, names)}")
    if method is None and len(names) != 1:
        held = f"{len(names)} methods ({', '.join(names)}): name one with --method" if names else "no method"
        raise UserError(f"{file}: it holds {held}")
    if (name := method or names[0]) in METHODS:
        raise UserError(f"{file}: the catalogue has a method {name!r} already: give yours a name of its own")
    return name


def _standard(tasks: list[str] | None, results: Path) -> dict[str, Path]:
    """The archives of the standard experiments that were asked for; else of all that have one."""
    from suite.checks.placement import STANDARD, standard_experiments

    known = standard_experiments(results)
    short = {name.removeprefix(STANDARD): name for name in known}
    if not known:
        raise UserError(f"no standard experiment has published baselines; looked in {results}/published")
    for task in tasks or ():
        if task not in short:
            raise UserError(f"there are no baselines of {task!r}{one_of(task, sorted(short))}")
    return {short[task]: known[short[task]] for task in (dict.fromkeys(tasks) if tasks else short)}


def _all_baselines(standard: Mapping[str, Path], *, named: bool) -> "list[Baselines]":
    """Those of the experiments that have enough of them; where one was named it must have enough."""
    from suite.checks.placement import NoBaselines

    found = []
    for experiment, archive in standard.items():
        try:
            found.append(_baselines(experiment, archive))
        except NoBaselines as error:
            if named or len(standard) == 1:
                raise
            say(err, f"{experiment} is left out: {error}")
    if not found:
        raise UserError("no standard experiment has enough baselines; --task names one")
    return found


def _baselines(experiment: str, archive: Path) -> "Baselines":
    from suite.checks.placement import read_baselines

    found = read_baselines(experiment, archive)
    left_out = f"; {len(found.left_out)} left out, as runs are missing" if found.left_out else ""
    say(err, f"{experiment}: {len(found.whole)} baselines from {archive}{left_out}")
    return found


def _task(earlier: list[PlacedTask], baselines: "Baselines", device: "torch.device") -> PlacedTask:
    """The task with its handshake, which an earlier start of the placement on this machine may have made."""
    from suite.machine.environment import maker

    same = baselines.sha256, maker(device)
    made = next((task.repeated for task in earlier if (task.archive, task.device) == same), [])
    repeated = made or _handshake(baselines, device)
    task = PlacedTask(
        experiment=baselines.experiment,
        folder=_short(baselines),
        archive=baselines.sha256,
        device=maker(device),
        left_out=list(baselines.left_out),
        seed_sd=baselines.seed_sd,
        repeated=repeated,
    )
    for each in repeated:
        how = (
            "the same bits"
            if each.same_bits
            else f"{100 * each.here:.2f} %, published {100 * each.published:.2f} %"
        )
        say(err, f"handshake: {each.method}, run {each.run}: {how}")
    if not task.comparable:
        say(
            err,
            "this machine's runs lie further from the published ones than seeds do: there will be no verdict",
        )
    return task


def _tasks_before(folder: Path) -> list[PlacedTask]:
    """What an earlier start of the same placement has written."""
    try:
        return read_placement(folder).tasks
    except (FileNotFoundError, DamagedRecord):
        return []


def _handshake(baselines: "Baselines", device: "torch.device") -> "list[Repeated]":
    from rich.progress import Progress

    from suite.checks.placement import train_again
    from suite.machine.environment import use_device

    use_device(device, threads=1)
    with Progress(console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task("training two published runs again", total=None)
        return train_again(baselines, device, lambda line: bar.advance(task))


def _entry(file: Path, name: str, decay: str | None) -> dict[str, Any]:
    """The method in an experiment; UserError if the hyperparameter cannot decay."""
    if decay is None:
        return {"name": name}
    from suite.machine.apart import apart

    entry = {"name": name, "decay": {decay: {"cosine": 0.0}}}
    if problem := apart([file], _problem_of_decay, file, entry):
        raise UserError(f"--decay: {problem}")
    return entry


def _problem_of_decay(file: Path, entry: dict[str, Any]) -> str:
    """Why the method of a file cannot be trained so, or nothing; it imports the file."""
    from optimizers import METHODS
    from suite.experiment.resolve import searched_hypers
    from suite.experiment.spec import MethodEntry, Problem
    from suite.plugins import load_plugin

    load_plugin(file)
    try:
        searched_hypers(METHODS[entry["name"]], MethodEntry.model_validate(entry), ())
    except Problem as problem:
        return problem.message
    return ""


def _plan(folder: Path, baselines: "Baselines", entry: dict[str, Any], file: Path, quick: bool) -> "Plan":
    """The standard experiment with the newcomer in it, which is also written next to its records."""
    from suite.checks.placement import placed_file
    from suite.cli.plan import read_plan
    from suite.experiment.spec import ExperimentFile

    source = ExperimentFile(find_experiment(baselines.experiment))
    path = folder / f"{_short(baselines)}.yaml"
    write_atomically(path, placed_file(source, baselines, entry, quick).encode())
    return read_plan(str(path), None, [file])


def _short(baselines: "Baselines") -> str:
    """The name of a standard experiment without its folder."""
    return baselines.experiment.rpartition("/")[2]


def _command(file: Path, method: str | None, decay: str | None, tasks: list[str] | None, quick: bool) -> str:
    """The command line that makes the placement again."""
    options = [
        *(["--method", method] if method else []),
        *(["--decay", decay] if decay else []),
        *(word for task in tasks or () for word in ("--task", task)),
        *(["--quick"] if quick else []),
    ]
    return shlex.join(["flipbench", "place", file.name, *options])

"""`flipbench plan`: an experiment, resolved and checked, before anything runs."""

import importlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from suite.cli.console import err, out, print_json
from suite.cli.options import RESULTS, AsJson, Device, Exp, Plugin, Results, Set, Workers
from suite.cli.plugins import load_plugins
from suite.experiment.files import find_experiment
from suite.machine.errors import UserError

if TYPE_CHECKING:
    import torch

    from suite.cli.views.plan import Measured
    from suite.experiment.plan import Plan
    from suite.sweep.pace import Times


def plan(
    exp: Exp,
    set_: Set = None,
    plugin: Plugin = None,
    measure: Annotated[
        bool,
        typer.Option("--measure", help="Train a few steps of each cell here, for the time of the sweep."),
    ] = False,
    device: Device = "auto",
    workers: Workers = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Check an experiment and print its cells, its costs and what it can show, before anything runs.

    Only --measure needs the images. --device and --workers are those of the sweep whose time it measures.
    """
    if not measure and (workers is not None or device != "auto"):
        raise UserError("--device and --workers: a plan without --measure is the same for all: add --measure")
    planned = read_plan(exp, set_, plugin)
    print_plan(planned, results, as_json, _measured(planned, device, workers) if measure else None)


def _measured(planned: "Plan", device: str, workers: int | None) -> "Measured":
    """The time that the runs of a plan take here, with so many workers."""
    from suite.cli.views.plan import Measured
    from suite.data.stored.batches import share_decoders
    from suite.machine.apart import apart
    from suite.machine.environment import choose_device
    from suite.sweep.pool import devices_of

    devices = devices_of(device, workers, planned.runs)
    share_decoders(len(devices))  # images on disk come as slowly as to one of these workers
    arguments = planned, choose_device(devices[0])
    own = planned.plugins
    times = apart(own.values(), _times, *arguments) if own else _times(*arguments)
    return Measured(times, len(devices))


def _times(planned: "Plan", device: "torch.device") -> "dict[str, Times]":
    from rich.progress import Progress

    from suite.machine.environment import use_device
    from suite.sweep.pace import times_of_plan

    use_device(device, threads=1)
    with Progress(console=err, disable=not err.is_terminal, transient=True) as bar:
        task = bar.add_task("timing a few steps of each cell", total=len(planned.cells))
        return times_of_plan(planned, device, lambda cell: bar.advance(task))


def require_same_work_in(results: Path, planned: "Plan") -> None:
    """UserError if a sweep would refuse the plan, as its folder has finished runs of another one."""
    from suite.records.experiment import ExperimentFolder, OtherFormat
    from suite.records.files import DamagedRecord
    from suite.records.replan import require_same_work

    folder = ExperimentFolder(results / planned.name)
    try:
        before = folder.plan()
    except OtherFormat as error:
        raise UserError(str(error)) from None
    except (FileNotFoundError, DamagedRecord):  # a sweep writes it
        return
    require_same_work(folder, before, planned.record)


def read_plan(exp: str, changes: list[str] | None, plugins: list[Path] | None) -> "Plan":
    """The plan of an experiment with `--set` changes; SpecError with a line for every problem."""
    from suite.experiment.spec import ExperimentFile

    source = ExperimentFile(find_experiment(exp), changes or [])
    experiment = source.experiment()  # finds most mistakes before torch is imported, which takes seconds
    if plugins or experiment.plugins:
        from suite.machine.apart import apart
        from suite.machine.forkserver import fork_context

        fork_context()  # its server imports torch while this process does, which reads the plan that it gets
        importlib.import_module("suite.experiment.plan")
        return apart([*(plugins or ()), *experiment.plugins], _plan_with_plugins, exp, changes, plugins)
    from suite.experiment.plan import make_plan

    return make_plan(source)


def _plan_with_plugins(exp: str, changes: list[str] | None, plugins: list[Path] | None) -> "Plan":
    from suite.experiment.plan import make_plan
    from suite.experiment.spec import ExperimentFile

    load_plugins(plugins)
    return make_plan(ExperimentFile(find_experiment(exp), changes or []))


def print_plan(planned: "Plan", results: Path, as_json: bool, measured: "Measured | None" = None) -> None:
    """Print a plan, its costs and what it can show; nothing is written."""
    from report.detectable import detectable, planned_tests
    from suite.cli.views.plan import plan_as_json, plan_view

    shown, tests = detectable(planned.record), planned_tests(planned.record)
    if as_json:
        found = {"detectable": [each.as_json() for each in shown]}
        found |= {"tests": [asdict(each) for each in tests]} if tests else {}
        print_json({**plan_as_json(planned, measured), **found})
        return
    claim = planned.record.claim
    words = [] if claim is None else [f"claim {claim.id}: {claim.sentence}"]
    out.print(plan_view(planned, results, [*map(str, shown), *words, *map(str, tests)], measured))

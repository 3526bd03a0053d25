"""`flipbench plan`: an experiment, resolved and checked, before anything runs."""

import importlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from suite.cli.console import out, print_json
from suite.cli.options import RESULTS, AsJson, Exp, Plugin, Results, Set
from suite.cli.plugins import load_plugins
from suite.experiment.files import find_experiment

if TYPE_CHECKING:
    from suite.experiment.plan import Plan


def plan(
    exp: Exp,
    set_: Set = None,
    plugin: Plugin = None,
    results: Results = RESULTS,
    as_json: AsJson = False,
) -> None:
    """Check an experiment and print its cells, its costs and what it can show, before anything runs."""
    print_plan(read_plan(exp, set_, plugin), results, as_json)


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


def print_plan(planned: "Plan", results: Path, as_json: bool) -> None:
    """Print a plan, its costs and what it can show; nothing is written."""
    from report.detectable import detectable, planned_tests
    from suite.cli.views.plan import plan_as_json, plan_view

    shown, tests = detectable(planned.record), planned_tests(planned.record)
    if as_json:
        found = {"detectable": [each.as_json() for each in shown]}
        found |= {"tests": [asdict(each) for each in tests]} if tests else {}
        print_json({**plan_as_json(planned), **found})
        return
    claim = planned.record.claim
    words = [] if claim is None else [f"claim {claim.id}: {claim.sentence}"]
    out.print(plan_view(planned, results, [*map(str, shown), *words, *map(str, tests)]))

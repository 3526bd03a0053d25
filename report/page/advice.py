"""The advice of a report: the rule on its records, and the settings to copy."""

import itertools
import math
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import yaml

from report.analysis.advice import Advice, Candidate, recommend
from report.analysis.judgement import Judgement
from report.read.records import CellRecord, Records, Task
from suite.records.files import digest
from suite.records.schedules import SCHEDULES, Restart, as_json
from suite.records.schema import PlanRecord
from suite.records.trial import HyperSetting

Draws = Mapping[tuple[Task, str], float]  # n_95 of a method on a task


@dataclass(frozen=True)
class Origin:
    """The experiment's file that these records are made from, and the `--set` changes to it.

    plugins: files of the user's own that it does not name, by the row that needs them.
    """

    experiment: str
    changes: list[str] = field(default_factory=list)
    plugins: Mapping[str, str] = field(default_factory=dict)


def advice_of(
    records: Records, judgements: Mapping[Task, Judgement], draws: Draws, origin: Origin | None = None
) -> Advice | None:
    """The advice of these records, with its settings for every task; None if nothing may be best.

    origin: of records that are not made from the file that their plan names.
    """
    chosen = recommend(candidates(records, judgements, draws), len(records.tasks))
    if chosen is None:
        return None
    cells = [cell for cell in records.cells if cell.method == chosen.method]
    conditional = any(judgements[task].conditional for task in records.tasks if task in judgements)
    return replace(
        chosen,
        caution="Given one draw of the tuning: with other draws the rule may pick another method."
        if conditional
        else "",
        settings={cell.task.title: as_yaml(settings_of(records, cell)) for cell in cells},
        commands={cell.task.title: command_of(records, cell, origin) for cell in cells},
    )


def candidates(records: Records, judgements: Mapping[Task, Judgement], draws: Draws) -> list[Candidate]:
    """The methods that compete, in the order of the plan."""
    may_be_best = [
        each.method for judged in judgements.values() for each in judged.methods if each.may_be_best
    ]
    found = []
    for method in records.methods:
        if method in records.controls:
            continue
        known = [draws.get((task, method), math.nan) for task in records.tasks]
        most = math.nan if any(map(math.isnan, known)) else max(known)
        whole = math.ceil(most - 1e-9) if math.isfinite(most) else most
        size = bytes_per_weight(records, method)
        found.append(Candidate(method, may_be_best.count(method), whole, size))
    return found


def bytes_per_weight(records: Records, method: str) -> float:
    """Stored and optimizer bytes of a binary weight, the most over the finished runs; NaN without one."""
    cells = [cell for cell in records.cells if cell.method == method]
    results = [run.result for cell in cells for run in records.finals(cell) if run.result is not None]
    sizes = [each.bytes_per_binary_weight for each in results]
    return max((each.stored + each.optimizer for each in sizes), default=math.nan)


def settings_of(records: Records, cell: CellRecord) -> dict[str, Any]:
    """Parts of an experiment: of several winners the best on validation, decays as they were trained."""
    planned = cell.planned.trial
    winner = max(cell.winners.values(), key=lambda each: each.value, default=None)
    shown = records.plan.methods[cell.planned.method].hypers
    trained = planned.setting
    used = {name: value for name, value in trained.items() if name in shown}
    for name, value in (winner.hypers if winner else {}).items():
        used[name] = as_trained(value, trained.get(name))
    real_lr = used.pop("real.lr", None)
    entry: dict[str, Any] = {"name": planned.method.name}
    if cell.planned.method != planned.method.name:
        entry["label"] = cell.planned.method
    entry |= {name: as_json(value) for name, value in used.items()}
    return {"methods": [entry], **({"real": {"lr": as_json(real_lr)}} if real_lr is not None else {})}


def as_yaml(value: Any, *, in_one_line: bool = False) -> str:
    """The text of a value in an experiment."""
    width = math.inf if in_one_line else 90
    return yaml.safe_dump(
        value, sort_keys=False, allow_unicode=True, width=width, default_flow_style=in_one_line
    ).rstrip()


def command_of(records: Records, cell: CellRecord, origin: Origin | None = None) -> str:
    """The command line that trains one network with these settings, and keeps it."""
    origin = origin or origin_of(records.plan)
    settings = settings_of(records, cell)
    others = [change for change in origin.changes if change.partition("=")[0].split(".")[0] not in settings]
    others += [f"{key}={as_yaml(value, in_one_line=True)}" for key, value in settings.items()]
    # These name other methods, too: with one method alone the experiment's file would be refused.
    others += ["claim=null"] * (records.plan.claim is not None) + ["published=[]"] * bool(
        records.plan.published
    )
    words = ["flipbench", "train", origin.experiment, cell.name, "--final", "--keep-weights"]
    if own := origin.plugins.get(cell.method) or _unnamed_plugin(records.plan, cell):
        words += ["--plugin", own]
    return shlex.join([*words, *(word for change in others for word in ("--set", change))])


def _unnamed_plugin(plan: PlanRecord, cell: CellRecord) -> str:
    """A place for the name of the user's file, which no record holds, if the experiment names none."""
    named = yaml.safe_load(plan.yaml).get("plugins")
    return "YOUR_FILE.py" if cell.planned.trial.sources and not named else ""


def origin_of(plan: PlanRecord) -> Origin:
    """The experiment that a plan names; the plan's text ends with the changes to it."""
    mark = "# --set "
    last = itertools.takewhile(lambda line: line.startswith(mark), reversed(plan.yaml.splitlines()))
    changes = [line.removeprefix(mark) for line in last][::-1]
    suffix = f"-{digest(changes)[:8]}"
    if changes and plan.experiment.endswith(suffix):
        return Origin(plan.experiment.removesuffix(suffix), changes)
    return Origin(plan.experiment)


def as_trained(drawn: HyperSetting, planned: HyperSetting) -> HyperSetting:
    """The drawn start with the decay that the plan puts on top of it."""
    if isinstance(planned, SCHEDULES) and isinstance(drawn, int | float) and planned.start:
        return _starting_at(drawn, planned.scaled(drawn / planned.start))
    return drawn


def _starting_at(start: float, schedule: Any) -> Any:
    """The schedule with exactly this start: the quotient of two starts is rounded."""
    if isinstance(schedule, Restart):
        return replace(schedule, of=_starting_at(start, schedule.of))
    return replace(schedule, start=start)

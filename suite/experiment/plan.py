"""From an experiment to its cells: everything that will run, resolved and checked before anything does."""

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from optimizers import METHODS
from optimizers.core import Addition, Hyper, Method, WeightRule
from suite.data import absent
from suite.experiment.cell import (
    REAL_LR,
    Cell,
    resolve_cell,
    resolve_data,
    resolve_method,
    resolve_model,
    resolve_probe,
)
from suite.experiment.claim import claim_problems
from suite.experiment.edges import edge_problems
from suite.experiment.ranges import range_of
from suite.experiment.resolve import searched_hypers, settings
from suite.experiment.spec import Experiment, ExperimentFile, MethodEntry, Problem, RealEntry
from suite.experiment.strict_yaml import Location
from suite.machine.errors import UserError, described, one_of, shown
from suite.plugins import PLUGINS, load_plugin
from suite.records.files import canonical
from suite.records.schema import (
    FORMAT,
    PHASES,
    HyperCard,
    MethodCard,
    PlanRecord,
    PublishedScore,
    Tuning,
    task_name,
)
from suite.records.trial import PROTOCOL

MOST_STUDIES = 2  # times those of the others: with four times the comparison loses a true best too often


@dataclass(frozen=True)
class Plan:
    """A resolved experiment: its cells and their budget.

    It is made with the plugins loaded, and needs none of them afterwards. `plugins` are the files from
    outside the catalogue that its cells use, by the hash that their trials hold; `absent` is what must be
    there before images can be read, and is not, by data set.
    """

    name: str
    experiment: Experiment
    text: str
    plugins: Mapping[str, str]
    cells: tuple[Cell, ...]
    methods: Mapping[str, MethodCard]  # by label
    absent: Mapping[str, Sequence[Path]]  # by label

    @functools.cached_property
    def tuning(self) -> Tuning:
        """The tracks of every cell, and the tasks whose winners run on the others."""
        return self.experiment.budget

    def tuning_of(self, cell: Cell) -> Tuning:
        """The same of a cell whose method may have more studies."""
        return self.tuning.with_studies(cell.studies)

    @property
    def seeds(self) -> int:
        """The final runs of each study's winner."""
        return self.experiment.seeds

    @property
    def keep_weights(self) -> bool:
        """Whether final runs keep their networks."""
        return self.experiment.train.keep_weights

    def tuning_runs(self, cell: Cell) -> int:
        return self.tuning_of(cell).count("tuning", self.seeds)

    def final_runs(self, cell: Cell) -> int:
        """At most: where the published default wins, its final runs are those of the winner."""
        return sum(self.tuning_of(cell).count(phase, self.seeds) for phase in PHASES if phase != "tuning")

    def runs_of(self, cell: Cell) -> int:
        return self.tuning_runs(cell) + self.final_runs(cell)

    @property
    def runs(self) -> int:
        return sum(map(self.runs_of, self.cells))

    @property
    def epochs(self) -> int:
        """Training epochs, if no run diverges."""
        return sum(cell.train.epochs * self.runs_of(cell) for cell in self.cells)

    @functools.cached_property
    def record(self) -> PlanRecord:
        """The content of plan.json: the denominators, before anything runs."""
        models = {cell.model_label: cell for cell in self.cells}
        return PlanRecord(
            format=FORMAT,
            protocol=PROTOCOL,
            experiment=self.name,
            summary=self.experiment.summary,
            yaml=self.text,
            tuning=self.tuning,
            seeds=self.seeds,
            methods=dict(self.methods),
            data={cell.data_label: cell.sizes for cell in self.cells},
            layers={label: cell.network.kinds for label, cell in models.items()},
            cells=[cell.planned for cell in self.cells],
            margin=self.experiment.margin,
            published=[PublishedScore(**entry.model_dump()) for entry in self.experiment.published],
            claim=self.experiment.claim,
        )


def make_plan(source: ExperimentFile) -> Plan:
    """Resolve an experiment against the registries; SpecError with a line for every problem.

    The plugins that the experiment names are loaded here, for good.
    """
    experiment = source.experiment()
    _load_plugins(source, experiment)
    if wrong := list(_wrong_parts(experiment)):
        raise source.error(*wrong)
    cells, problems = _cells(experiment)
    problems += [
        *_same_labels(experiment),
        *_ambiguous(cells),
        *_published_of_nothing(experiment),
        *_named_twice(experiment),
    ]
    problems += [*_nothing_to_transfer(experiment), *_wrong_studies(experiment)]
    if not problems and experiment.claim is not None:
        problems += claim_problems(experiment.claim, experiment, cells)
    if problems := problems or edge_problems(cells):
        raise source.error(*problems)
    used = {source for cell in cells for source in cell.first.sources}
    return Plan(
        source.name,
        experiment,
        source.text,
        {plugin.source: str(plugin.path) for plugin in PLUGINS.values() if plugin.source in used},
        tuple(cells),
        {entry.called: method_card(entry, experiment.real) for entry in experiment.methods},
        {label: absent(data) for label, data in {cell.data_label: cell.data for cell in cells}.items()},
    )


def _load_plugins(source: ExperimentFile, experiment: Experiment) -> None:
    for number, plugin in enumerate(experiment.plugins):
        try:
            load_plugin(source.path.parent / plugin)
        except UserError as error:
            raise source.error(Problem(("plugins", number), str(error))) from None
        except BaseException as error:  # a plugin is a user's code: it may raise anything, also SystemExit
            raise source.error(Problem(("plugins", number), described(error))) from None


def _wrong_parts(experiment: Experiment) -> Iterator[Problem]:
    """Problems of a data set, a model or a method alone, in all its cells."""
    parts: list[tuple[Callable[[Any, Location], Any], Any, Location]] = []
    for number, task in enumerate(experiment.tasks):
        parts += [(resolve_data, data, ("tasks", number, "data", n)) for n, data in enumerate(task.data)]
        parts += [(resolve_model, model, ("tasks", number, "model", n)) for n, model in enumerate(task.model)]
    parts += [(resolve_method, entry, ("methods", n)) for n, entry in enumerate(experiment.methods)]
    parts += [(resolve_probe, probe, ("probes", n)) for n, probe in enumerate(experiment.probes)]
    for check, part, location in parts:
        try:
            check(part, location)
        except Problem as problem:
            yield problem


def _published_of_nothing(experiment: Experiment) -> Iterator[Problem]:
    """Published scores of a method, data set or model that this experiment does not have."""
    labels = {
        "method": [entry.called for entry in experiment.methods],
        "data": [data.called for task in experiment.tasks for data in task.data],
        "model": [model.called for task in experiment.tasks for model in task.model],
    }
    for number, entry in enumerate(experiment.published):
        for key, known in labels.items():
            name = getattr(entry, key)
            if name is not None and name not in known:
                message = f"this experiment has no {key} {shown(name)}{one_of(name, known)}"
                yield Problem(("published", number, key), message)


def _named_twice(experiment: Experiment) -> Iterator[Problem]:
    """Probes that are named more than once: a record has one place for each."""
    for number, probe in enumerate(experiment.probes):
        if probe.name in [earlier.name for earlier in experiment.probes[:number]]:
            yield Problem(("probes", number), f"{probe.name} is named twice")


def _nothing_to_transfer(experiment: Experiment) -> Iterator[Problem]:
    """Winners that are to run on other tasks, where there are none of them."""
    if len(experiment.budget.transfer) == 1:
        yield Problem(("tuning", "transfer"), "the winners have no other task to run on: name two tasks")
    if experiment.tuning.transfer and all(track.trials == 1 for track in experiment.budget.tracks):
        message = "nothing is tuned, so no winner differs from the published default: `trials` of 2 or more"
        yield Problem(("tuning", "transfer"), message)


def _wrong_studies(experiment: Experiment) -> Iterator[Problem]:
    """Methods whose studies are fewer than all have, or too many for a comparison with the others."""
    least = min((track.studies for track in experiment.budget.tracks), default=0)
    for number, entry in enumerate(experiment.methods):
        location = ("methods", number, "studies")
        if entry.studies is None:
            continue
        if least < 2:
            message = (
                "only where `tuning` gives every method several: a row of one study compares with none; take "
                "`studies` out of all methods, or raise tuning.studies"
            )
            yield Problem(location, message)
            return
        if entry.studies < least:
            message = f"every method has {least} by `tuning`, and none has fewer: a method may have more"
            yield Problem(location, message)
        elif entry.studies > MOST_STUDIES * least:
            message = (
                f"with more than {MOST_STUDIES} times the {least} of the others the verdicts no longer hold"
            )
            yield Problem(location, message)


def _cells(experiment: Experiment) -> tuple[list[Cell], list[Problem]]:
    """Every cell that can be resolved, and each problem once, however many cells it spoils."""
    cells: list[Cell] = []
    problems: dict[str, Problem] = {}
    for number, task in enumerate(experiment.tasks):
        for at, named in enumerate(task.data):
            data = resolve_data(named, ("tasks", number, "data", at))  # once: it may list images
            for model in task.model:
                for entry in experiment.methods:
                    try:
                        cells.append(resolve_cell(experiment, number, data, model, entry))
                    except Problem as problem:
                        problems.setdefault(f"{problem.location} {problem}", problem)
    return cells, list(problems.values())


def _same_labels(experiment: Experiment) -> Iterator[Problem]:
    """Methods and tasks with the name of an earlier one: their cells would share a file."""
    methods = [entry.called for entry in experiment.methods]
    for number, name in enumerate(methods):
        if name in methods[:number]:
            message = f"two methods are called {name}: give one of them a `label`"
            yield Problem(("methods", number), message)
    seen, twice = set[str](), set[str]()
    for number, task in enumerate(experiment.tasks):
        for data, model in itertools.product(task.data, task.model):
            name = task_name(data.called, model.called)
            if name in seen and name not in twice:
                message = f"two tasks are called {name}: give one of their data sets or models a `label`"
                yield Problem(("tasks", number), message)
                twice.add(name)
            seen.add(name)


def _ambiguous(cells: Sequence[Cell]) -> list[Problem]:
    """Labels that stand for two different data sets or models."""
    problems: list[Problem] = []
    for kind, named in (
        ("data sets", {(cell.data_label, canonical(cell.data.as_json())) for cell in cells}),
        ("models", {(cell.model_label, canonical(cell.model.as_json())) for cell in cells}),
    ):
        problems += [
            Problem(("tasks",), f"two different {kind} are called {label}: give one of them a `label`")
            for label in _repeated(label for label, _ in sorted(named))
        ]
    return problems


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def is_latent_free(rule: WeightRule) -> bool:
    """Whether the layers hold their signs and nothing else: measured, not declared.

    Whatever an optimizer accumulates to decide on flips is its state: no line divides an average that is
    called momentum from one that is called a latent weight.
    """
    stored = rule.start(torch.linspace(-1.0, 1.0, 8).reshape(2, 4))
    return bool(torch.equal(rule.read(stored), stored) and (stored.abs() == 1).all())


def _additions(method: Method, given: Mapping[str, Any], searched: Mapping[str, Hyper]) -> Iterator[Addition]:
    """What the settings of an experiment add to a method; of a searched choice, what each value adds."""
    for name, hyper in method.hypers.items():
        choices = getattr(hyper.range, "choices", [hyper.default])
        values = [given[name]] if name in given else choices if name in searched else []
        yield from filter(None, map(hyper.addition, values))


def _added(entry: MethodEntry, additions: Sequence[Addition]) -> Iterator[str]:
    if additions:
        yield f"Here with {' and '.join(addition.phrase for addition in additions)}."
    if entry.preset is not None:
        yield f"Here with the published setting {entry.preset}."


def _differs(
    method: Method, entry: MethodEntry, given: Mapping[str, Any], searched: Mapping[str, Hyper]
) -> list[str]:
    """How an entry differs from the plain method: its preset, its options, what it searches in addition."""
    preset = method.presets[entry.preset] if entry.preset is not None else {}
    words = [f"preset {entry.preset}"] if entry.preset is not None else []
    for name, value in given.items():
        published = preset.get(name, method.defaults[name])
        if value != published:
            words.append(
                f"{name} {value if isinstance(value, str | int | float) else 'as the experiment sets it'}"
            )
    return words + [f"{name} searched" for name in searched if method.hypers[name].optional]


def method_card(entry: MethodEntry, real: RealEntry) -> MethodCard:
    """A method as the report shows it: a range of None marks a hyperparameter that is not searched."""
    method, given = METHODS[entry.name], settings(METHODS[entry.name], entry, ())
    own = searched_hypers(method, entry, ())
    searched = {**own, **({"real.lr": REAL_LR} if real.lr is None else {})}
    shown = {name for name, hyper in method.hypers.items() if not hyper.optional}
    shown |= {*searched, *given, "real.lr"}
    shown -= {name for name in given if method.hypers[name].newer and given[name] is None}
    additions = list(_additions(method, given, searched))
    return MethodCard(
        method=method.name,
        paper="; ".join(dict.fromkeys([*(addition.paper for addition in additions), method.paper])),
        summary=" ".join([method.summary, *_added(entry, additions)]),
        latent_free=is_latent_free(method()),
        control=method.control,
        family=method.family,
        differs=_differs(method, entry, given, own),
        hypers={
            name: HyperCard(default=hyper.default, range=range_of(hyper) if name in searched else None)
            for name, hyper in {**method.hypers, "real.lr": REAL_LR}.items()
            if name in shown
        },
    )

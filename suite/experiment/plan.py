"""From an experiment to its cells: everything that will run, resolved and checked before anything does."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from optuna.distributions import BaseDistribution

from optimizers import METHODS, PLUGINS, load_plugin
from optimizers.core import Hyper, HyperValue, WeightRule, log
from suite.data import DATASETS, DataError, describe, resolve_options
from suite.experiment.resolve import (
    checked_decay,
    checked_value,
    first_named,
    look_up,
    model_options,
    searched_hypers,
    settings,
)
from suite.experiment.schedules import apply_schedules, decayed, value_at
from suite.experiment.spec import Experiment, ExperimentFile, MethodEntry, Named, Problem, RealEntry, Task
from suite.experiment.strict_yaml import Location
from suite.experiment.trial import Trial, network_size, rule_at
from suite.machine.errors import one_of
from suite.models import MODELS
from suite.records.files import FORMAT, PROTOCOL, canonical

# Adam for the real parameters: betas 0.9 and 0.999 and Keras' eps, as in the paper and the rebuttal. Its
# learning rate is part of every study: published tables confound it with the method by up to seven points.
REAL_LR = log(0.01, 1e-4, 0.1)
FIRST_SEED = 1001  # of the final runs; tuning seeds stay below
NEARLY_DONE = 1.0 - 1e-6  # a decay to zero never arrives: the last step comes before progress 1


@dataclass(frozen=True)
class Cell:
    """One method on one task: what is tuned, what is set, and how trials follow from a draw."""

    data_label: str
    model_label: str
    method_label: str
    data: dict[str, Any]
    model: dict[str, Any]
    method: str
    fixed: dict[str, Any]  # hyperparameters that are not searched
    decay: dict[str, Any]
    space: dict[str, BaseDistribution]  # what is searched; "real.lr" is the real parameters' rate
    published: dict[str, HyperValue]  # the default of everything searched: trial 0
    train: dict[str, Any]
    sizes: dict[str, Any]  # of the data set: classes, shape, train, val, test, bytes

    @property
    def name(self) -> str:
        return f"{self.data_label}.{self.model_label}.{self.method_label}"

    def trial(self, drawn: Mapping[str, Any], seed: int, stage: str) -> Trial:
        """The trial of one draw: what was drawn, what is set, and the decays put on top of both."""
        values = {**self.fixed, **drawn}
        for name, shape in self.decay.items():
            values[name] = decayed(values[name], shape)
        real = {"lr": values.pop("real.lr")}
        return Trial(
            stage=stage,
            data=self.data,
            model=self.model,
            method=self.method,
            hypers=dict(sorted(values.items())),
            real=real,
            train=self.train,
            seed=seed,
            plugin=PLUGINS[self.method].source if self.method in PLUGINS else None,
        )


@dataclass(frozen=True)
class Plan:
    """An experiment, resolved: its cells and the seeds of their final runs."""

    name: str
    experiment: Experiment
    text: str
    plugins: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def seeds(self) -> list[int]:
        return list(range(FIRST_SEED, FIRST_SEED + self.experiment.seeds))

    @property
    def runs(self) -> int:
        return len(self.cells) * (self.experiment.tuning.trials + self.experiment.seeds)

    @property
    def epochs(self) -> int:
        """Training epochs, if every run goes to its end."""
        each = self.experiment.tuning.trials + self.experiment.seeds
        return sum(cell.train["epochs"] * each for cell in self.cells)

    def as_dict(self) -> dict[str, Any]:
        """What plan.json holds: the denominators, before anything runs."""
        return {
            "format": FORMAT,
            "protocol": PROTOCOL,
            "experiment": self.name,
            "summary": self.experiment.summary,
            "yaml": self.text,
            "tuning": self.experiment.tuning.model_dump(),
            "seeds": self.seeds,
            "methods": {
                entry.called: _card(entry, self.experiment.real) for entry in self.experiment.methods
            },
            "data": {cell.data_label: cell.sizes for cell in self.cells},
            "cells": [
                {
                    "cell": cell.name,
                    "data": cell.data_label,
                    "model": cell.model_label,
                    "method": cell.method_label,
                    "epochs": cell.train["epochs"],
                    "trial": cell.trial(cell.published, FIRST_SEED, "final").as_dict(),
                }
                for cell in self.cells
            ],
        }


def make_plan(source: ExperimentFile, plugins: Sequence[str] = ()) -> Plan:
    """Resolve an experiment against the registries; SpecError with a line for every problem.

    `plugins` are files with methods that are loaded already; those that the experiment names are loaded here.
    """
    experiment = source.experiment()
    plugins = (*plugins, *_load_plugins(source, experiment))
    if wrong := list(_wrong_parts(experiment)):
        raise source.error(*wrong)
    problems: dict[str, Problem] = {}
    cells: list[Cell] = []
    for number, task in enumerate(experiment.tasks):
        for at, data in enumerate(task.data):
            described = _data(data, ("tasks", number, "data", at))  # once: an image folder is listed for it
            for model in task.model:
                for entry in experiment.methods:
                    try:
                        cells.append(_cell(experiment, number, data, described, model, entry))
                    except Problem as problem:  # one mistake shows in many cells, but is told once
                        problems.setdefault(f"{problem.location} {problem}", problem)
    for name in _repeated(cell.name for cell in cells):
        what = Problem((), f"two cells are called {name}: give one of their parts a `label`")
        problems[name] = what
    for kind, called in (
        ("data sets", {(cell.data_label, canonical(cell.data)) for cell in cells}),
        ("models", {(cell.model_label, canonical(cell.model)) for cell in cells}),
    ):
        for label in _repeated(label for label, _ in sorted(called)):
            what = Problem(("tasks",), f"two different {kind} are called {label}: give one of them a `label`")
            problems[f"{kind} {label}"] = what
    if experiment.tuning.seed >= FIRST_SEED:
        what = Problem(("tuning", "seed"), f"must be below {FIRST_SEED}, where the final seeds begin")
        problems["seed"] = what
    if problems:
        raise source.error(*problems.values())
    return Plan(source.name, experiment, source.text, plugins, tuple(cells))


def _repeated(names: Iterable[str]) -> list[str]:
    return [name for name, times in Counter(names).items() if times > 1]


def _load_plugins(source: ExperimentFile, experiment: Experiment) -> tuple[str, ...]:
    paths = [str((source.path.parent / plugin).resolve()) for plugin in experiment.plugins]
    for number, path in enumerate(paths):
        try:
            load_plugin(Path(path))
        except Exception as error:  # a plugin is a user's code: anything may come out of it
            raise source.error(Problem(("plugins", number), f"{type(error).__name__}: {error}")) from None
    return tuple(paths)


def _wrong_parts(experiment: Experiment) -> Iterator[Problem]:
    """What is wrong with a data set, a model or a method whatever it is crossed with."""
    parts: list[tuple[Callable[[Any, Location], Any], Any, Location]] = []
    for number, task in enumerate(experiment.tasks):
        parts += [(_data, data, ("tasks", number, "data", n)) for n, data in enumerate(task.data)]
        parts += [(_model, model, ("tasks", number, "model", n)) for n, model in enumerate(task.model)]
    parts += [(_method, entry, ("methods", n)) for n, entry in enumerate(experiment.methods)]
    for check, part, location in parts:
        try:
            check(part, location)
        except Problem as problem:
            yield problem


def _data(data: Named, location: Location) -> tuple[dict[str, Any], dict[str, Any], str]:
    """A data set's options with every default, its sizes, its usual augmentation."""
    dataset = look_up(DATASETS, data.name, location)
    try:
        return resolve_options(data.name, data.options), describe(data.name, data.options), dataset.augment
    except DataError as error:
        raise Problem((*location, *first_named(data.options, error)), str(error)) from None


def _model(model: Named, location: Location) -> dict[str, Any]:
    """A model's options with every default."""
    return model_options(look_up(MODELS, model.name, location).options, model.options, location)


def _method(entry: MethodEntry, location: Location) -> dict[str, Hyper]:
    """What is searched of a method."""
    return searched_hypers(look_up(METHODS, entry.name, location), entry, location)


def _cell(
    experiment: Experiment,
    number: int,
    data: Named,
    described: tuple[dict[str, Any], dict[str, Any], str],
    model: Named,
    entry: MethodEntry,
) -> Cell:
    """One resolved cell; Problem with its location for the first thing wrong in it."""
    task = experiment.tasks[number]
    model_at = ("tasks", number, "model", task.model.index(model))
    method_at = ("methods", experiment.methods.index(entry))
    data_options, sizes, usual_augmentation = described
    options = _model(model, model_at)
    searched = _method(entry, method_at)
    if experiment.real.lr is None:
        searched["real.lr"] = REAL_LR
    cell = Cell(
        data_label=data.called,
        model_label=model.called,
        method_label=entry.called,
        data={"name": data.name, **data_options},
        model={"name": model.name, **options},
        method=entry.name,
        fixed=_fixed(entry, experiment.real, searched, method_at),
        decay=_decay(entry, experiment.real, method_at),
        space={name: hyper.range for name, hyper in searched.items()},
        published={name: hyper.default for name, hyper in searched.items()},
        train=_train_settings(experiment, task, usual_augmentation),
        sizes=sizes,
    )
    _check_training(cell, number, task)
    _check_rule(cell, method_at)
    _check_network(cell, model_at)
    return cell


def _fixed(
    entry: MethodEntry, real: RealEntry, searched: Mapping[str, Any], location: Location
) -> dict[str, Any]:
    """Every hyperparameter that is not searched: as set in the experiment, else its default."""
    method = METHODS[entry.name]
    hypers = method.hypers
    fixed = {name: hyper.unless_set for name, hyper in hypers.items() if name not in searched}
    for name, value in settings(method, entry, location).items():
        fixed[name] = checked_value(hypers[name], value, (*location, name), name)
    if real.lr is not None:
        fixed["real.lr"] = checked_value(REAL_LR, real.lr, ("real", "lr"), "lr")
    return fixed


def _decay(entry: MethodEntry, real: RealEntry, location: Location) -> dict[str, Any]:
    decay = {name: checked_decay(shape, (*location, "decay", name)) for name, shape in entry.decay.items()}
    for name, shape in real.decay.items():
        look_up({"lr": REAL_LR}, name, ("real", "decay"))
        decay["real.lr"] = checked_decay(shape, ("real", "decay", name))
    return decay


def _train_settings(experiment: Experiment, task: Task, usual_augmentation: str) -> dict[str, Any]:
    overrides = {name: value for name, value in task.train.model_dump().items() if value is not None}
    settings = {**experiment.train.model_dump(), **overrides}
    return {**settings, "augment": settings["augment"] or usual_augmentation}


def _check_training(cell: Cell, number: int, task: Task) -> None:
    """Do the settings of training fit the data?"""

    def wrong(name: str, message: str) -> Problem:
        own = getattr(task.train, name) is not None
        return Problem(("tasks", number, "train", name) if own else ("train", name), message)

    augment, choices = cell.train["augment"], DATASETS[cell.data["name"]].augmentations
    if augment not in choices:
        raise wrong("augment", f"{cell.data['name']} has no {augment!r}{one_of(augment, choices)}")
    size, parts = min(cell.train["batch_size"], cell.sizes["train"]), cell.train["batch_parts"]
    if size % parts or size // parts < 2:
        raise wrong("batch_parts", f"a batch of {size} images has no {parts} equal parts of 2 or more")


def _check_rule(cell: Cell, location: Location) -> None:
    """Build the method at the start and at the end of every schedule: its own checks speak here."""
    for progress in (0.0, NEARLY_DONE):
        try:
            trial = cell.trial(cell.published, FIRST_SEED, "final")
            rule, schedules = rule_at(trial, progress)
            weight = rule.start(torch.tensor([[0.1, -0.1]])).requires_grad_()
            apply_schedules(rule.optimizer([weight]), schedules, progress)
        except Exception as error:  # a plugin's method is a user's code: anything may come out of it
            told = (str(error).splitlines() or [""])[0]
            what = told if isinstance(error, ValueError) else f"{type(error).__name__}: {told}"
            name = first_named({**cell.fixed, **cell.decay}, error)
            at = ("decay", *name) if name and name[0] in cell.decay else name
            raise Problem((*location, *at), what) from None
        if not value_at(trial.real["lr"], progress) > 0:
            raise Problem(("real", "lr"), f"must be above zero, not {trial.real['lr']!r}")


def _check_network(cell: Cell, location: Location) -> None:
    """Build the network without memory: do the images fit, are the options possible?"""
    try:
        network_size(cell.trial(cell.published, FIRST_SEED, "final"), cell.sizes)
    except ValueError as error:
        options = {name: value for name, value in cell.model.items() if name != "name"}
        raise Problem((*location, *first_named(options, error)), f"{cell.model['name']}: {error}") from None
    except (RuntimeError, TypeError, OverflowError):  # torch's, when a size does not fit into 64 bits
        raise Problem(location, f"{cell.model['name']}: a network of this size cannot be built") from None


def is_latent_free(rule: WeightRule) -> bool:
    """Whether the layers hold their signs and nothing else: measured, not declared.

    Whatever an optimizer sums up to decide on flips is its state: no line divides an average that is called
    momentum from one that is called a latent weight.
    """
    stored = rule.start(torch.linspace(-1.0, 1.0, 8).reshape(2, 4))
    return bool(torch.equal(rule.read(stored), stored) and (stored.abs() == 1).all())


def _card(entry: MethodEntry, real: RealEntry) -> dict[str, Any]:
    """What the report says about a method: a range of null marks what the experiment does not search."""
    method = METHODS[entry.name]
    searched = {**searched_hypers(method, entry, ()), **({"real.lr": REAL_LR} if real.lr is None else {})}
    told = {name for name, hyper in method.hypers.items() if not hyper.optional}
    told |= {*searched, *settings(method, entry, ()), "real.lr"}
    return {
        "method": method.name,
        "paper": method.paper,
        "summary": method.summary,
        "latent_free": is_latent_free(method()),
        "control": method.control,
        "hypers": {
            name: {"default": hyper.default, "range": str(hyper) if name in searched else None}
            for name, hyper in {**method.hypers, "real.lr": REAL_LR}.items()
            if name in told
        },
    }

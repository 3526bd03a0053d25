"""One method on one task, resolved and checked: its search space, its set values, the trial of a draw."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from optuna.distributions import BaseDistribution

from optimizers import METHODS
from optimizers.core import BadHyper, BadValue, Hyper, HyperValue, log
from suite.data import DATASETS, DataError, describe, resolve
from suite.experiment.build import NetworkSize, apply_schedules, network_size, rule_at, schedules_of
from suite.experiment.resolve import (
    checked_decay,
    checked_options,
    checked_value,
    look_up,
    searched_hypers,
    settings,
)
from suite.experiment.spec import (
    Experiment,
    MethodEntry,
    Named,
    ProbeEntry,
    Problem,
    RealEntry,
    TaskEntry,
)
from suite.experiment.strict_yaml import Location
from suite.machine.errors import described, one_of, place_of
from suite.models import MODELS
from suite.models.model import BadOption
from suite.plugins import hash_of, hashes_of
from suite.probes import PROBES
from suite.probes.probe import has_latents
from suite.records.schedules import Schedule, value_at
from suite.records.schema import DataSizes, PlannedCell, Tuning, task_name
from suite.records.seeds import final_seed
from suite.records.trial import Augmentation, Choice, HyperSetting, Part, Stage, TrainSettings, Trial

# Adam for the real parameters: betas 0.9 and 0.999 and Keras' eps, as in the paper and the rebuttal. Its
# learning rate is part of every study: published tables confound it with the method by up to seven points.
REAL_LR = log(0.01, 1e-4, 0.1)
NEARLY_DONE = 1.0 - 1e-6  # a decay to zero never arrives: the last step comes before progress 1


@dataclass(frozen=True)
class Cell:
    """One method on one task. The name "real.lr" stands for the learning rate of the real parameters."""

    data_label: str
    model_label: str
    method_label: str
    data: Choice
    model: Choice
    method: str
    fixed: Mapping[str, HyperSetting]  # hyperparameters that are not searched
    decay: Mapping[str, Schedule]  # put on top of set and drawn values, from a start of 1
    space: Mapping[str, BaseDistribution]  # the searched hyperparameters
    published: Mapping[str, HyperValue]  # the default of each of them: trial 0
    train: TrainSettings
    sizes: DataSizes
    network: NetworkSize
    seed: int  # of the experiment
    plugin: str | None  # a hash of the method's file, if that is not in the catalogue
    plugins: Mapping[Part, str]  # the same of the model's, and of the data set's
    probes: tuple[Choice, ...] = ()  # of final runs
    studies: int | None = None  # of each track, where they are more than the experiment gives to all

    @property
    def name(self) -> str:
        return f"{self.task}.{self.method_label}"

    @property
    def task(self) -> str:
        """The data set and the model, by their labels."""
        return task_name(self.data_label, self.model_label)

    def trial(self, drawn: Mapping[str, HyperSetting], seed: int, stage: Stage) -> Trial:
        """The trial of one draw: the drawn and the set values, and the decays on top of both."""
        values: dict[str, Any] = {**self.fixed, **drawn}
        for name, decay in self.decay.items():
            values[name] = decay.scaled(values[name])
        real_lr = values.pop("real.lr")
        return Trial(
            stage=stage,
            data=self.data,
            model=self.model,
            method=Choice(self.method, dict(sorted(values.items()))),
            real_lr=real_lr,
            train=self.train,
            seed=seed,
            plugin=self.plugin,
            plugins=self.plugins,
            revised=(  # a plugin has no past
                *(() if self.plugin else _revised_hypers(self.method, values)),
                *(() if "model" in self.plugins else _revised_options(self.model)),
            ),
            probes=self.probes if stage == "final" else (),
        )

    @functools.cached_property
    def first(self) -> Trial:
        """The first final run of the published default."""
        return self.trial(self.published, final_seed(self.seed, 0, 0), "final")

    @functools.cached_property
    def planned(self) -> PlannedCell:
        """The cell as plan.json holds it."""
        return PlannedCell(
            cell=self.name,
            data=self.data_label,
            model=self.model_label,
            method=self.method_label,
            epochs=self.train.epochs,
            trial=self.first,
            studies=self.studies,
        )


def _revised_hypers(method: str, values: Mapping[str, Any]) -> list[str]:
    hypers = METHODS[method].hypers
    used = [name for name, value in values.items() if value != hypers[name].unless_set]
    return sorted(name for name in used if hypers[name].revised)


def _revised_options(model: Choice) -> list[str]:
    revised = MODELS[model.name].revised
    return [f"model.{name}" for name, values in revised.items() if model.options[name] in values]


@dataclass(frozen=True)
class DataSet:
    """A data set of a task with all its options, its sizes and its usual augmentation."""

    label: str
    choice: Choice
    sizes: DataSizes
    augment: Augmentation


def resolve_data(data: Named, location: Location) -> DataSet:
    """Problem for an unknown name, a wrong option, or a folder that cannot be listed."""
    dataset = look_up(DATASETS, data.name, location)
    choice = Choice(data.name, data.options)
    try:
        return DataSet(data.called, resolve(choice), describe(choice), dataset.augment)
    except DataError as error:
        at = (error.option,) if error.option in data.options else ()
        raise Problem((*location, *at), str(error)) from None


def resolve_model(model: Named, location: Location) -> Choice:
    """A model with all its options; Problem for an unknown name or a wrong option."""
    defaults = look_up(MODELS, model.name, location).options
    return Choice(model.name, checked_options(defaults, model.options, location))


def resolve_method(entry: MethodEntry, location: Location) -> dict[str, Hyper]:
    """The searched hyperparameters of a method; Problem for an unknown name or a wrong hyperparameter."""
    return searched_hypers(look_up(METHODS, entry.name, location), entry, location)


def resolve_probe(probe: ProbeEntry, location: Location) -> Choice:
    """A probe with all its options; Problem for an unknown name or a wrong option."""
    known = look_up(PROBES, probe.name, location)
    options = checked_options(known.options, probe.options, location)
    try:
        known.check(**options)
    except BadValue as error:
        raise Problem((*location, error.name), f"{probe.name}: {error}") from None
    return Choice(probe.name, options)


def resolve_cell(
    experiment: Experiment, task_number: int, data: DataSet, model: Named, entry: MethodEntry
) -> Cell:
    """One resolved cell; Problem with its location for the first thing that is wrong in it."""
    task = experiment.tasks[task_number]
    model_at = ("tasks", task_number, "model", task.model.index(model))
    method_at = ("methods", experiment.methods.index(entry))
    model_choice = resolve_model(model, model_at)
    searched = resolve_method(entry, method_at)
    if experiment.real.lr is None:
        searched["real.lr"] = REAL_LR
    cell = Cell(
        data_label=data.label,
        model_label=model.called,
        method_label=entry.called,
        data=data.choice,
        model=model_choice,
        method=entry.name,
        fixed=_fixed(entry, experiment.real, searched, method_at),
        decay=_decay(entry, experiment.real, method_at),
        space={name: hyper.range for name, hyper in searched.items()},
        published={name: hyper.default for name, hyper in searched.items()},
        train=_train_settings(experiment, task, data.augment),
        sizes=data.sizes,
        network=_network(model_choice, data.sizes, model_at),
        seed=experiment.tuning.seed,
        plugin=hash_of("method", entry.name),
        plugins=hashes_of(model_choice.name, data.choice.name),
        probes=tuple(resolve_probe(named, ("probes", n)) for n, named in enumerate(experiment.probes)),
        studies=_more_studies(entry, experiment.budget),
    )
    _check_training(cell, task, task_number)
    _check_rule(cell, method_at)
    _check_probes(cell)
    return cell


def _more_studies(entry: MethodEntry, budget: Tuning) -> int | None:
    """The studies of a method if they are more than each track gives to all."""
    more = budget.with_studies(entry.studies)
    return entry.studies if more != budget else None


def _fixed(
    entry: MethodEntry, real: RealEntry, searched: Mapping[str, Hyper], location: Location
) -> dict[str, HyperSetting]:
    """Every hyperparameter that is not searched: as the experiment sets it, else its default.

    One that is newer than the protocol and not used is left out: a trial's run id stays what it was before.
    """
    method = METHODS[entry.name]
    fixed: dict[str, HyperSetting] = {
        name: hyper.unless_set for name, hyper in method.hypers.items() if name not in searched
    }
    for name, value in settings(method, entry, location).items():
        fixed[name] = checked_value(method.hypers[name], value, (*location, name), name)
    for name, hyper in method.hypers.items():
        if hyper.newer and fixed.get(name) == hyper.unless_set:
            fixed.pop(name, None)
    if real.lr is not None:
        fixed["real.lr"] = checked_value(REAL_LR, real.lr, ("real", "lr"), "lr")
    return fixed


def _decay(entry: MethodEntry, real: RealEntry, location: Location) -> dict[str, Schedule]:
    decay = {name: checked_decay(shape, (*location, "decay", name)) for name, shape in entry.decay.items()}
    for name, shape in real.decay.items():
        decay[f"real.{name}"] = checked_decay(shape, ("real", "decay", name))
    return decay


def _train_settings(
    experiment: Experiment, task: TaskEntry, usual_augmentation: Augmentation
) -> TrainSettings:
    overrides = {name: value for name, value in task.train.model_dump().items() if value is not None}
    values = {**experiment.train.model_dump(exclude={"keep_weights"}), **overrides}
    return TrainSettings(**{**values, "augment": values["augment"] or usual_augmentation})


def _check_training(cell: Cell, task: TaskEntry, task_number: int) -> None:
    """Do the settings of training fit the data?"""

    def problem(name: str, message: str) -> Problem:
        of_task = getattr(task.train, name) is not None
        return Problem(("tasks", task_number, "train", name) if of_task else ("train", name), message)

    train, choices = cell.train, DATASETS[cell.data.name].augmentations
    if train.augment not in choices:
        raise problem("augment", f"{cell.data.name} has no {train.augment!r}{one_of(train.augment, choices)}")
    size = min(train.batch_size, cell.sizes.train)
    if size % train.batch_parts or size // train.batch_parts < 2:
        raise problem(
            "batch_parts", f"a batch of {size} images has no {train.batch_parts} equal parts of 2 or more"
        )


def _check_rule(cell: Cell, location: Location) -> None:
    """Build the method at the start and at the end of every schedule, so that its own checks run."""
    trial = cell.first
    for progress in (0.0, NEARLY_DONE):
        try:
            rule = rule_at(trial, progress)
            weight = rule.start(torch.tensor([[0.1, -0.1]])).requires_grad_()
            apply_schedules(rule.optimizer([weight]), schedules_of(trial), progress)
        except BadHyper as error:
            name = error.name
            at = ("decay", name) if name in cell.decay else (name,) if name in cell.fixed else ()
            raise Problem((*location, *at), str(error)) from None
        except Exception as error:  # a plugin's method is a user's code and can raise anything
            first_line = described(error).splitlines()[0]
            named = first_line.partition(": ")[2] if isinstance(error, ValueError) else first_line
            raise Problem(location, named) from None
        if not value_at(trial.real_lr, progress) > 0:
            raise Problem(("real", "lr"), f"must be above zero, not {trial.as_json()['real']['lr']!r}")


def _network(model: Choice, sizes: DataSizes, location: Location) -> NetworkSize:
    """Build the network without memory: do the images fit, are the options possible?"""
    try:
        network = network_size(model, sizes)
    except BadOption as error:
        raise Problem((*location, error.name), f"{model.name}: {error}") from None
    except ValueError as error:
        raise Problem(location, f"{model.name}: {error}") from None
    except Exception as error:
        if hash_of("model", model.name):  # a plugin's model is a user's code and can raise anything
            raise Problem(location, f"{model.name}: {described(error)} ({place_of(error)})") from None
        if isinstance(error, RuntimeError | TypeError | OverflowError):  # torch's: a size beyond 64 bits
            raise Problem(location, f"{model.name}: a network of this size cannot be built") from None
        raise
    if not network.shapes:
        raise Problem(location, f"{model.name}: it has no binary layer (suite.models.blocks.layers)")
    return network


def _check_probes(cell: Cell) -> None:
    """Can each probe measure what this method trains?"""
    for number, each in enumerate(cell.probes):
        if PROBES[each.name].needs_latents and not has_latents(rule_at(cell.first, 0.0)):
            raise Problem(
                ("probes", number),
                f"{each.name} measures stored latent weights, and {cell.method} has "
                "none: its layers compute with the numbers that they store. Put it into an experiment of its "
                "own, without this probe",
            )

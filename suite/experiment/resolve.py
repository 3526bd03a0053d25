"""Check the names, options and hyperparameters of an experiment, and fill in the defaults."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from optuna.distributions import CategoricalDistribution, IntDistribution

from optimizers.core import Hyper, Method
from suite.experiment.spec import MethodEntry, Problem
from suite.experiment.strict_yaml import Location
from suite.machine.errors import one_of, shown
from suite.records.schedules import (
    Schedule,
    ScheduleError,
    is_number,
    parse_decay,
    parse_schedule,
)
from suite.records.trial import HyperSetting

Entry = TypeVar("Entry")


def look_up(registry: Mapping[str, Entry], name: str, location: Location) -> Entry:
    """The registered entry of this name; Problem with the choices if there is none."""
    if name not in registry:
        raise Problem((*location, "name"), f"there is no {shown(name)}{one_of(name, registry)}")
    return registry[name]


def checked_options(
    defaults: Mapping[str, Any], given: Mapping[str, Any], location: Location
) -> dict[str, Any]:
    """All options of a model or a probe; each given one must be of the kind of its default."""
    resolved = {name: list(v) if isinstance(v, tuple) else v for name, v in defaults.items()}
    for name, value in given.items():
        if name not in defaults:
            raise Problem((*location, name), f"unknown option{one_of(name, defaults)}")
        resolved[name] = _of_kind(resolved[name], value, (*location, name))
    return resolved


KINDS = {int: "a whole number", float: "a number", str: "a word", bool: "true or false", list: "a list"}


def _of_kind(default: Any, value: Any, location: Location) -> Any:
    """The value, if it is of the default's kind; an integer is a number, too."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, list) and isinstance(value, list):
        return [_of_kind(default[0], entry, (*location, number)) for number, entry in enumerate(value)]
    if type(value) is not type(default) or (isinstance(value, float) and not math.isfinite(value)):
        text = "the text " if isinstance(value, str) else ""
        raise Problem(location, f"{KINDS[type(default)]} belongs here, not {text}{shown(value)}")
    return value


def settings(method: Method, entry: MethodEntry, location: Location) -> Mapping[str, Any]:
    """The hyperparameters that an experiment sets: its options, and its preset for all others."""
    if entry.preset is None:
        return entry.options
    if entry.preset not in method.presets:
        has = one_of(entry.preset, method.presets) if method.presets else ", nor any other"
        raise Problem((*location, "preset"), f"{method.name} has no preset {shown(entry.preset)}{has}")
    return {**method.presets[entry.preset], **entry.options}


def searched_hypers(method: Method, entry: MethodEntry, location: Location) -> dict[str, Hyper]:
    """The hyperparameters that a study searches: those named by `tune`, else all neither set nor optional."""
    tune, given = entry.tune or [], settings(method, entry, location)
    named: dict[Location, str] = {(name,): name for name in entry.options}
    named |= {("decay", name): name for name in entry.decay}
    named |= {("tune", number): name for number, name in enumerate(tune)}
    for at, name in named.items():
        if name not in method.hypers:
            choices = one_of(name, method.hypers)
            raise Problem((*location, *at), f"{method.name} has no hyperparameter {shown(name)}{choices}")
    for number, name in enumerate(tune):
        if name in given:
            raise Problem(
                (*location, "tune", number), f"{shown(name)} is set to a value and cannot be tuned as well"
            )
    free = {name: hyper for name, hyper in method.hypers.items() if name not in given}
    if entry.tune is None:
        searched = {name: hyper for name, hyper in free.items() if not hyper.optional}
    else:
        searched = {name: hyper for name, hyper in free.items() if name in tune}
    for name in entry.decay:
        if isinstance(method.hypers[name].range, IntDistribution):
            raise Problem((*location, "decay", name), f"{name} is a whole number, which cannot decay")
        values = _possible_values(method.hypers[name], given, name, searched)
        _check_can_decay(name, values, (*location, "decay", name))
    return searched


def _possible_values(
    hyper: Hyper, given: Mapping[str, Any], name: str, searched: Mapping[str, Hyper]
) -> Sequence[Any]:
    """The values that a hyperparameter can have in some trial; the default stands for a range of numbers."""
    if name in searched:
        return hyper.range.choices if isinstance(hyper.range, CategoricalDistribution) else [hyper.default]
    return [given.get(name, hyper.unless_set)]


def _check_can_decay(name: str, values: Iterable[Any], location: Location) -> None:
    for value in values:
        if isinstance(value, Mapping):
            raise Problem(location, f"{name} follows a schedule already, {shown(value)}")
        if not is_number(value):
            raise Problem(location, f"{name} can be {shown(value)}, which cannot decay: set it to a number")


def checked_value(hyper: Hyper, value: Any, location: Location, name: str) -> HyperSetting:
    """A hyperparameter that an experiment sets: a value of the right type, or a schedule of numbers."""
    if hyper.optional and value is None:
        return None
    if isinstance(hyper.range, IntDistribution):
        return _of_kind(hyper.default, value, location)
    kinds = hyper.range.choices if isinstance(hyper.range, CategoricalDistribution) else (hyper.default,)
    numeric = any(is_number(kind) for kind in kinds)
    if numeric and isinstance(value, Mapping):
        return _located(parse_schedule, value, location)
    if numeric and is_number(value):
        return float(value)
    words = [kind for kind in kinds if isinstance(kind, str)]
    if isinstance(value, str) and words and value not in words:
        raise Problem(location, f"there is no {shown(value)}{one_of(value, words)}")
    if isinstance(value, float) or not any(type(value) is type(kind) for kind in kinds):
        wanted = ["a number", "a schedule"] if numeric else []
        wanted += dict.fromkeys(shown(kind) for kind in kinds if not is_number(kind))
        text = "the text " if isinstance(value, str) else ""
        raise Problem(location, f"{name} takes {' or '.join(wanted)}, not {text}{shown(value)}")
    return value


def checked_decay(value: Any, location: Location) -> Schedule:
    """How a value decays, for any start: as the schedule of the start 1."""
    return _located(parse_decay, value, location)


def _located(parse: Callable[[Any], Schedule], value: Any, location: Location) -> Schedule:
    try:
        return parse(value)
    except ScheduleError as error:
        raise Problem((*location, *error.at), error.message) from None

"""Check what an experiment says about names, options, hyperparameters and schedules, and fill in the rest."""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution

from optimizers.core import Hyper, Method
from suite.experiment.schedules import SHAPES, value_at
from suite.experiment.spec import MethodEntry, Problem, shown
from suite.experiment.strict_yaml import Location
from suite.machine.errors import one_of


def look_up(registry: Mapping[str, Any], name: str, location: Location) -> Any:
    if name not in registry:
        raise Problem((*location, "name"), f"there is no {name!r}{one_of(name, registry)}")
    return registry[name]


def first_named(options: Mapping[str, Any], error: Exception) -> tuple[str, ...]:
    """The option that a message is about, to give it a place: the first it names, or whose value it shows."""
    words = re.findall(r"\w+", str(error))
    if named := [word for word in words if word in options]:
        return (named[0],)
    told = [
        name for name, value in options.items() if re.search(rf"(?<!\S){re.escape(str(value))}$", str(error))
    ]
    return (told[0],) if len(told) == 1 else ()


def model_options(defaults: dict[str, Any], given: dict[str, Any], location: Location) -> dict[str, Any]:
    resolved = {name: list(v) if isinstance(v, tuple) else v for name, v in defaults.items()}
    for name, value in given.items():
        if name not in defaults:
            raise Problem((*location, name), f"unknown option{one_of(name, defaults)}")
        resolved[name] = _like(resolved[name], value, (*location, name))
    return resolved


def _like(default: Any, value: Any, location: Location) -> Any:
    """The value, if it is of the default's kind (an integer will do for a number)."""
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(default, list) and isinstance(value, list):
        return [_like(default[0], entry, (*location, number)) for number, entry in enumerate(value)]
    if type(value) is not type(default) or (isinstance(value, float) and not math.isfinite(value)):
        kind = {
            int: "a whole number",
            float: "a number",
            str: "a word",
            bool: "true or false",
            list: "a list",
        }
        text = "the text " if isinstance(value, str) else ""
        raise Problem(location, f"{kind[type(default)]} belongs here, not {text}{shown(value)}")
    return value


def settings(method: Method, entry: MethodEntry, location: Location) -> dict[str, Any]:
    """What an experiment sets of a method: its options, and its preset where they say nothing."""
    if entry.preset is None:
        return entry.options
    if entry.preset not in method.presets:
        has = one_of(entry.preset, method.presets) if method.presets else ", nor any other"
        raise Problem((*location, "preset"), f"{method.name} has no preset {entry.preset!r}{has}")
    return {**method.presets[entry.preset], **entry.options}


def searched_hypers(method: Method, entry: MethodEntry, location: Location) -> dict[str, Hyper]:
    """What a study searches of a method: all that is neither set nor optional, or what `tune` names."""
    tune, given = entry.tune or [], settings(method, entry, location)
    named = {(name,): name for name in entry.options}
    named |= {("decay", name): name for name in entry.decay}
    named |= {("tune", number): name for number, name in enumerate(tune)}
    for at, name in named.items():
        if name not in method.hypers:
            choices = one_of(name, method.hypers)
            raise Problem((*location, *at), f"{method.name} has no hyperparameter {name!r}{choices}")
    for number, name in enumerate(tune):
        if name in given:
            raise Problem(
                (*location, "tune", number), f"{name!r} is set to a value and cannot be tuned as well"
            )
    free = {name: hyper for name, hyper in method.hypers.items() if name not in given}
    if entry.tune is None:
        searched = {name: hyper for name, hyper in free.items() if not hyper.optional}
    else:
        searched = {name: hyper for name, hyper in free.items() if name in tune}
    for name in entry.decay:
        values = _possible_values(method.hypers[name], given, name, searched)
        _check_can_decay(name, values, (*location, "decay", name))
    return searched


def _possible_values(
    hyper: Hyper, given: Mapping[str, Any], name: str, searched: Mapping[str, Hyper]
) -> Sequence[Any]:
    """What a hyperparameter can be in some trial; of a range its default will do."""
    if name in searched:
        return hyper.range.choices if isinstance(hyper.range, CategoricalDistribution) else [hyper.default]
    return [given.get(name, hyper.unless_set)]


def _check_can_decay(name: str, values: Iterable[Any], location: Location) -> None:
    for value in values:
        if isinstance(value, dict):
            raise Problem(location, f"{name} follows a schedule already, {shown(value)}")
        if not is_number(value):
            raise Problem(location, f"{name} can be {shown(value)}, which cannot decay: set it to a number")


def checked_value(hyper: Hyper, value: Any, location: Location, name: str) -> Any:
    """A hyperparameter set by hand: of the right type, or a well-formed schedule of numbers."""
    if hyper.optional and value is None:
        return None
    kinds = hyper.range.choices if isinstance(hyper.range, CategoricalDistribution) else (hyper.default,)
    numeric = any(is_number(kind) for kind in kinds)
    if numeric and isinstance(value, dict):
        return _checked_schedule(value, location)
    if numeric and is_number(value):
        return float(value)
    words = [kind for kind in kinds if isinstance(kind, str)]
    if isinstance(value, str) and words and value not in words:
        raise Problem(location, f"there is no {value!r}{one_of(value, words)}")
    if isinstance(value, float) or not any(type(value) is type(kind) for kind in kinds):
        wanted = ["a number", "a schedule"] if numeric else []
        wanted += dict.fromkeys(shown(kind) for kind in kinds if not is_number(kind))
        text = "the text " if isinstance(value, str) else ""
        raise Problem(location, f"{name} takes {' or '.join(wanted)}, not {text}{shown(value)}")
    return value


def is_number(value: Any) -> bool:
    """A finite number, and no boolean."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shape_of(value: Any, location: Location) -> tuple[str, Any]:
    if not isinstance(value, dict) or len(value) != 1:
        raise Problem(
            location, f"a schedule is one of {', '.join(SHAPES)} with its setting, not {shown(value)}"
        )
    ((shape, setting),) = value.items()
    if shape not in SHAPES:
        raise Problem((*location, shape), f"there is no schedule {shape!r}{one_of(shape, SHAPES)}")
    return shape, setting


def _checked_schedule(value: Any, location: Location) -> dict[str, Any]:
    shape, setting = _shape_of(value, location)
    at = (*location, shape)
    if shape == "step":
        setting = _checked_step(setting, ("start", "factor", "at"), at)
    elif shape == "restart":
        setting = _checked_restart(setting, _checked_schedule, at)
    elif not (isinstance(setting, list) and len(setting) == 2 and all(is_number(v) for v in setting)):
        raise Problem(at, f"takes [start, end], two numbers, not {shown(setting)}")
    elif shape == "exponential" and min(setting) <= 0:
        raise Problem(at, f"needs a start and an end above zero, not {shown(setting)}")
    else:
        setting = [float(v) for v in setting]
    try:
        ends = [value_at({shape: setting}, progress) for progress in (0.0, 0.5, 1.0)]
    except OverflowError:
        ends = [math.inf]
    if not all(math.isfinite(end) for end in ends):
        raise Problem(at, f"grows beyond what a number can hold: {shown(setting)}")
    return {shape: setting}


def checked_decay(value: Any, location: Location) -> dict[str, Any]:
    """How a value decays that is only known once it is drawn: to a share of itself, in [0, 1]."""
    shape, setting = _shape_of(value, location)
    at = (*location, shape)
    if shape == "step":
        setting = _checked_step(setting, ("factor", "at"), at)
        if setting["factor"] > 1:
            raise Problem((*at, "factor"), f"must be at most 1, not {setting['factor']}: a decay never grows")
    elif shape == "restart":
        setting = _checked_restart(setting, checked_decay, at)
    elif not (is_number(setting) and 0 <= setting <= 1) or (shape == "exponential" and setting == 0):
        least = "above 0" if shape == "exponential" else "from 0"
        raise Problem(
            at, f"takes the share of the start that is left at the end, {least} to 1, not {shown(setting)}"
        )
    return {shape: setting}


def _checked_step(setting: Any, keys: tuple[str, ...], location: Location) -> dict[str, Any]:
    """The setting of a step schedule, numbers as floats: 1 and 1.0 are the same experiment."""
    if not isinstance(setting, dict) or set(setting) != set(keys):
        raise Problem(location, f"takes the keys {', '.join(keys)}, not {shown(setting)}")
    for key in keys[:-1]:
        if not is_number(setting[key]):
            raise Problem((*location, key), f"a number belongs here, not {shown(setting[key])}")
    if setting["factor"] < 0:
        raise Problem((*location, "factor"), f"must be at least 0, not {setting['factor']}")
    at = _checked_points(setting["at"], (*location, "at"))
    return {key: at if key == "at" else float(setting[key]) for key in keys}


def _checked_restart(
    setting: Any, checked: Callable[[Any, Location], dict[str, Any]], location: Location
) -> dict[str, Any]:
    """The setting of a restart: a schedule or a decay that `checked` knows, and the points of its starts."""
    if not isinstance(setting, dict) or set(setting) != {"of", "at"}:
        raise Problem(location, f"takes the keys of, at, not {shown(setting)}")
    at = _checked_points(setting["at"], (*location, "at"))
    return {"of": checked(setting["of"], (*location, "of")), "at": at}


def _checked_points(at: Any, location: Location) -> list[float]:
    in_order = isinstance(at, list) and all(is_number(v) and 0 < v < 1 for v in at) and sorted(set(at)) == at
    if not in_order:
        raise Problem(location, f"takes rising shares of the training, between 0 and 1, not {shown(at)}")
    return at

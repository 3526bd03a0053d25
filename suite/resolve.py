"""Check what an experiment says about names, options, hyperparameters and schedules, and fill in the rest."""

import math
from collections.abc import Mapping
from typing import Any

from optuna.distributions import CategoricalDistribution

from optimizers.core import Hyper, Method
from suite.schedules import SHAPES
from suite.spec import MethodEntry, Problem, one_of
from suite.strict_yaml import Location


def look_up(registry: Mapping[str, Any], name: str, location: Location) -> Any:
    if name not in registry:
        raise Problem((*location, "name"), f"there is no {name!r}{one_of(name, registry)}")
    return registry[name]


def first_named(options: Mapping[str, Any], error: Exception) -> tuple[str, ...]:
    """The option that a message is about, to give it a place."""
    return tuple([name for name in options if name in str(error)][:1])


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
        return [_like(default[0], entry, location) for entry in value]
    if type(value) is not type(default) or (isinstance(value, float) and not math.isfinite(value)):
        kind = {
            "int": "an integer",
            "float": "a number",
            "str": "a word",
            "bool": "true or false",
            "list": "a list",
        }
        raise Problem(location, f"{kind[type(default).__name__]} belongs here, not {value!r}")
    return value


def searched_hypers(method: Method, entry: MethodEntry, location: Location) -> dict[str, Hyper]:
    """What a study searches of a method: all that is not set, or what `tune` names."""
    for key, names in (("decay", entry.decay), ("tune", entry.tune or []), ("", entry.options)):
        for name in names:
            if name not in method.hypers:
                choices = one_of(name, method.hypers)
                raise Problem(
                    (*location, key or name), f"{method.name} has no hyperparameter {name!r}{choices}"
                )
    for name in entry.tune or []:
        if name in entry.options:
            raise Problem((*location, "tune"), f"{name!r} is set to a value and cannot be tuned as well")
    free = {name: hyper for name, hyper in method.hypers.items() if name not in entry.options}
    return free if entry.tune is None else {name: free[name] for name in free if name in entry.tune}


def checked_value(hyper: Hyper, value: Any, location: Location, name: str) -> Any:
    """A hyperparameter set by hand: of the right type, or a well-formed schedule of numbers."""
    kinds = hyper.range.choices if isinstance(hyper.range, CategoricalDistribution) else (hyper.default,)
    numeric = any(isinstance(kind, float) for kind in kinds)
    if isinstance(value, dict) and numeric:
        return _checked_schedule(value, location)
    if isinstance(value, int | float) and numeric and _is_number(value):
        return float(value)
    if isinstance(value, str) and any(isinstance(kind, str) for kind in kinds) and value not in kinds:
        raise Problem(
            location, f"there is no {value!r}{one_of(value, [k for k in kinds if isinstance(k, str)])}"
        )
    if not any(type(value) is type(kind) for kind in kinds) or (isinstance(value, float) and not numeric):
        wanted = "a number or a schedule" if numeric else " or ".join(sorted({str(k) for k in kinds}))
        raise Problem(location, f"{name} takes {wanted}, not {value!r}")
    return value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shape_of(value: Any, location: Location) -> tuple[str, Any]:
    if not isinstance(value, dict) or len(value) != 1:
        raise Problem(location, f"a schedule is one of {list(SHAPES)} with its setting, not {value!r}")
    ((shape, setting),) = value.items()
    if shape not in SHAPES:
        raise Problem(location, f"there is no schedule {shape!r}{one_of(str(shape), SHAPES)}")
    return shape, setting


def _checked_schedule(value: Any, location: Location) -> dict[str, Any]:
    shape, setting = _shape_of(value, location)
    if shape == "step":
        _check_step(setting, {"start", "factor", "at"}, location)
    elif not (isinstance(setting, list) and len(setting) == 2 and all(_is_number(v) for v in setting)):
        raise Problem((*location, shape), f"takes [start, end], two numbers, not {setting!r}")
    elif shape == "exponential" and min(setting) <= 0:
        raise Problem((*location, shape), f"needs a start and an end above zero, not {setting!r}")
    else:
        setting = [float(v) for v in setting]
    return {shape: setting}


def checked_decay(value: Any, location: Location) -> dict[str, Any]:
    shape, setting = _shape_of(value, location)
    if shape == "step":
        _check_step(setting, {"factor", "at"}, location)
    elif not _is_number(setting) or setting < 0 or (shape == "exponential" and setting == 0):
        raise Problem(
            (*location, shape), f"takes the share of the start that is left at the end, not {setting!r}"
        )
    return {shape: setting}


def _check_step(setting: Any, keys: set[str], location: Location) -> None:
    if not isinstance(setting, dict) or set(setting) != keys:
        raise Problem((*location, "step"), f"takes {sorted(keys)}, not {setting!r}")
    if not all(_is_number(setting[key]) for key in keys - {"at"}):
        raise Problem((*location, "step"), f"start and factor are numbers, not {setting!r}")
    at = setting["at"]
    if not isinstance(at, list) or not all(_is_number(v) and 0 < v < 1 for v in at) or sorted(at) != at:
        raise Problem(
            (*location, "step", "at"), f"takes rising shares of the training, in (0, 1), not {at!r}"
        )

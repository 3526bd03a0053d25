"""Check the options of a data set and fill in their defaults."""

from typing import Any

from suite.data.errors import DataError
from suite.data.source import Dataset, Options
from suite.machine.errors import one_of, shown


def resolve_options(dataset: Dataset, options: Options) -> dict[str, Any]:
    """All options of a data set, defaults filled in; DataError for an unknown, missing or bad one."""
    resolved = {"validation": dataset.validation, "train_limit": None, **dataset.optional, **options}
    choices = ["validation", "train_limit", *dataset.required, *dataset.optional]
    if unknown := sorted(set(resolved) - set(choices)):
        name = unknown[0]
        raise DataError(f"data set {dataset.name!r} has no option {shown(name)}{one_of(name, choices)}", name)
    if missing := [name for name in dataset.required if name not in resolved]:
        raise DataError(f"data set {dataset.name!r} needs the option {missing}")
    for name, kind in dataset.required.items():
        if type(resolved[name]) is not kind:
            raise _bad(dataset, name, f"of type {kind.__name__}", resolved[name])
    _check_values(dataset, resolved)
    return {name: resolved[name] for name in choices}


def _check_values(dataset: Dataset, resolved: dict[str, Any]) -> None:
    for name, default in dataset.optional.items():
        if default is not None and type(resolved[name]) is not type(default):
            if type(default) is not float or type(resolved[name]) is not int:
                raise _bad(dataset, name, f"of type {type(default).__name__}", resolved[name])
            resolved[name] = float(resolved[name])
    validation, limit = resolved["validation"], resolved["train_limit"]
    if not isinstance(validation, float) or not 0 < validation < 1:
        raise _bad(dataset, "validation", "a fraction between 0 and 1", validation)
    if limit is not None and (type(limit) is not int or limit < 2):
        raise _bad(dataset, "train_limit", "a number of images, 2 or more", limit)
    for name, (good, words) in dataset.limits.items():
        if not good(resolved[name]):
            raise _bad(dataset, name, words, resolved[name])


def _bad(dataset: Dataset, option: str, wanted: str, value: Any) -> DataError:
    return DataError(
        f"data set {dataset.name!r}: option {option!r} must be {wanted}, got {shown(value)}", option
    )

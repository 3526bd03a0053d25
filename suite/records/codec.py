"""From a JSON object to a typed record and back: every file of a record passes through here.

A value is checked once, when it is decoded, and stays typed from there on.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, dataclass_transform

from pydantic import ConfigDict, TypeAdapter, ValidationError

from suite.records.files import DamagedRecord

Kind = TypeVar("Kind")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(kind: type[Kind]) -> type[Kind]:
    """A frozen dataclass that refuses unknown keys when it is decoded."""
    kind.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return dataclass(frozen=True, kw_only=True)(kind)


def absent(empty: type[Any] | None = None) -> Any:
    """A field that is None, or an empty list or dict, by default: then its key is left out of the JSON."""
    if empty is None:
        return field(default=None, metadata={"absent": True})
    return field(default_factory=empty, metadata={"absent": True})


def decode(kind: type[Kind], value: Any, path: Path) -> Kind:
    """The record that a JSON object holds; raises DamagedRecord with the file, the key and the problem."""
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        raise DamagedRecord(path, first_problem(error)) from None


def first_problem(error: ValidationError) -> str:
    """The first of pydantic's problems: the key and the problem."""
    first = error.errors()[0]
    steps = [str(step) for step in first["loc"]]
    key = ".".join(step if step.isprintable() else ascii(step) for step in steps)[:200]
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message[0].lower()}{message[1:]}" if key else message


@functools.cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def encode(value: Any) -> Any:
    """A record as JSON values, its keys in the order of its fields."""
    if hasattr(value, "as_json"):
        return value.as_json()
    if is_dataclass(value):
        return {
            name: encode(content)
            for name, may_be_absent in _keys(type(value))
            if (content := getattr(value, name)) not in NOTHING or not may_be_absent
        }
    if isinstance(value, Mapping):
        return {key: encode(content) for key, content in value.items()}
    if isinstance(value, list | tuple):
        return [encode(content) for content in value]
    return value


NOTHING: tuple[Any, ...] = (None, [], {})


@functools.cache
def _keys(kind: Any) -> list[tuple[str, bool]]:
    """The keys of a record, and whether each is left out while it is empty."""
    return [(each.name, bool(each.metadata.get("absent"))) for each in fields(kind)]

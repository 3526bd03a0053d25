"""YAML that means what it says: 1e-7 is a number, `no` is a word, a key stands once, a value has a place.

PyYAML reads YAML 1.1 (https://yaml.org/spec/1.1/), where `1e-7` is a string, `no` a boolean, `010` eight and
the second of two equal keys wins silently. This loader resolves scalars as YAML 1.2's core schema does and
refuses duplicate keys.
"""

import math
import re
from collections.abc import Hashable
from typing import Any

import yaml

Location = tuple[str | int, ...]


class _Loader(yaml.SafeLoader):
    """SafeLoader with its own scalar rules; the global one stays as it is."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own class attribute, replaced, not shared

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key must be a word", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key!r} stands twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def _text(loader: Any, node: yaml.Node) -> str:
    assert isinstance(node, yaml.ScalarNode)
    return str(loader.construct_scalar(node))


def _number(loader: yaml.SafeLoader, node: yaml.Node) -> float:
    text = _text(loader, node).lower()
    special = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
    return special[text] if text in special else float(text)


_SCALARS = {
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+", list("-+0123456789")),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        list("-+.0123456789"),
    ),
    "tag:yaml.org,2002:merge": (r"<<", ["<"]),
}
for _tag, (_pattern, _first) in _SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), _first)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(_text(loader, node)))
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


class YamlError(ValueError):
    """Not YAML at all; the message starts with file:line:column."""


class Document:
    """A YAML text: its values, and the line and column of each."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            self.values: Any = yaml.load(text, _Loader)
            self._root = yaml.compose(text, _Loader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
            raise YamlError(f"{place}: {error.problem or error.context}") from None
        except (yaml.YAMLError, ValueError) as error:
            raise YamlError(f"{name}: {' '.join(str(error).split())}") from None

    def place(self, location: Location) -> str:
        """file:line:column of the last part of `location` that exists: of its key in a mapping."""
        node, mark = self._root, None
        for step in location:
            if isinstance(node, yaml.MappingNode):
                found = [(key, value) for key, value in node.value if key.value == str(step)]
                if found:
                    mark, node = found[0][0].start_mark, found[0][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{self.name}:1:1"

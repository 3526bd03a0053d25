"""YAML that means what it says: 1e-7 is a number, `no` is a word, a key stands once, a value has a place.

PyYAML reads YAML 1.1 (https://yaml.org/spec/1.1/), where `1e-7` is a string, `no` a boolean, `010` eight and
the second of two equal keys wins silently. This loader resolves scalars as YAML 1.2's core schema does and
refuses duplicate keys, keys that are no words, and tags.
"""

import math
import re
from typing import Any

import yaml

Location = tuple[str | int, ...]
WORD, MERGE = "tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"
MOST_DIGITS = 300  # of an integer: more would not fit into a float


def _refusal(what: str, where: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=what, problem_mark=where.start_mark)


class _Loader(yaml.SafeLoader):
    """SafeLoader with its own scalar rules; the global one stays as it is."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own class attribute, replaced, not shared

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise _refusal(f"tags have no meaning here: {event.tag}", event)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Here and not at construction, where a merge has already written into the mappings it draws from.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (WORD, MERGE):
                what = f", not {key.value}" if isinstance(key, yaml.ScalarNode) else ""
                raise _refusal(f"a key must be a word{what}", key)
            if key.value in seen:
                raise _refusal(f"the key {key.value!r} stands twice", key)
            seen.add(key.value)
        return node


def _word(loader: yaml.SafeLoader, node: yaml.Node) -> str:
    if any("\ud800" <= character <= "\udfff" for character in node.value):
        raise _refusal(f"half a character: {node.value!r}", node)
    return node.value


def _integer(loader: yaml.SafeLoader, node: yaml.Node) -> int:
    if len(node.value) > MOST_DIGITS:
        raise _refusal(f"a number of {len(node.value)} digits is too long", node)
    return int(node.value)


def _number(loader: yaml.SafeLoader, node: yaml.Node) -> float:
    text = node.value.lower()
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
_Loader.add_constructor(WORD, _word)
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


class YamlError(ValueError):
    """Not YAML at all; the message starts with file:line:column."""


class Document:
    """A YAML text: its values, and the line and column of each. YamlError if it is no such text."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            loader = _Loader(text)
            self._root = loader.get_single_node()
            self.values: Any = None if self._root is None else loader.construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            what = ", ".join(part for part in (error.context, error.problem) if part)
            raise YamlError(f"{self._at(mark)}: {what}") from None
        except yaml.reader.ReaderError as error:
            before = text[: error.position].split("\n")
            where = f"{name}:{len(before)}:{len(before[-1]) + 1}"
            raise YamlError(f"{where}: the character #x{error.character:04x} has no place in YAML") from None
        except RecursionError:
            raise YamlError(f"{name}: nested too deeply") from None

    def place(self, location: Location) -> str:
        """file:line:column of the last part of `location` that exists: of its key in a mapping."""
        node, mark = self._root, None
        for step in location:
            if isinstance(node, yaml.MappingNode):
                # What is merged in stands first, so that the key of this mapping itself is the last one.
                found = [(key, value) for key, value in node.value if key.value == step]
                if found:
                    mark, node = found[-1][0].start_mark, found[-1][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
        return self._at(mark)

    def _at(self, mark: Any) -> str:
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{self.name}:1:1"

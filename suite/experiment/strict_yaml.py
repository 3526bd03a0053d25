"""A strict reader of YAML: 1e-7 is a number, `no` is a word, no key appears twice, each value has a place.

PyYAML reads YAML 1.1 (https://yaml.org/spec/1.1/), where `1e-7` is a string, `no` a boolean, `010` eight and
the second of two equal keys wins silently. This loader resolves scalars by YAML 1.2's core schema (without
its hexadecimal and octal integers) and refuses duplicate keys, keys that are not words, and tags.
"""

import re
from typing import Any

import yaml

Location = tuple[str | int, ...]
PREFIX = "tag:yaml.org,2002:"
WORD, MERGE = f"{PREFIX}str", f"{PREFIX}merge"
MAX_DIGITS = 300  # of an integer: a longer one does not fit into a float
MAX_DEPTH = 40  # of values inside values; an experiment needs eight
MAX_SIZE = 1_000_000  # values and characters, each alias counted as all that it stands for
SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?[0-9]+",
    "float": r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
    "merge": r"<<",
}


class YamlError(ValueError):
    """A text that is not valid YAML; the message starts with file:line:column."""


def refused_character(text: str) -> str:
    """The problem with the first character that YAML does not allow in a text, or nothing."""
    found = yaml.reader.Reader.NON_PRINTABLE.search(text)
    return f"the character #x{ord(found.group()):04x} is not allowed" if found else ""


def _error(problem: str, at: Any) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=at.start_mark)


class _Loader(yaml.SafeLoader):
    """A SafeLoader with its own rules for scalars; those of SafeLoader stay as they are."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012 - PyYAML's own class attribute, replaced, not shared

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        if getattr(event, "tag", None) is not None:
            raise _error(f"tags have no meaning here: {event.tag}", event)
        return super().compose_node(parent, index)

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        # Keys are checked here, because construction starts by copying merged keys into the mapping.
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag not in (WORD, MERGE):
                found = f", not {key.value}" if isinstance(key, yaml.ScalarNode) else ""
                raise _error(f"a key must be a word{found}", key)
            if key.value in seen:
                raise _error(f"the key {key.value!r} appears twice", key)
            seen.add(key.value)
        return node

    def construct_word(self, node: yaml.Node) -> str:
        if refused := refused_character(node.value):  # written as an escape: "\0"
            raise _error(refused, node)
        return node.value

    def construct_integer(self, node: yaml.Node) -> int:
        if len(node.value) > MAX_DIGITS:
            raise _error(f"a number of {len(node.value)} digits is too long", node)
        return int(node.value)

    def construct_number(self, node: yaml.Node) -> float:
        return float(node.value.lower().replace(".inf", "inf").replace(".nan", "nan"))


for _name, _pattern in SCALARS.items():
    _Loader.add_implicit_resolver(PREFIX + _name, re.compile(rf"(?:{_pattern})$"), [None])
_Loader.add_constructor(WORD, _Loader.construct_word)
_Loader.add_constructor(f"{PREFIX}int", _Loader.construct_integer)
_Loader.add_constructor(f"{PREFIX}float", _Loader.construct_number)


def _measured(node: yaml.Node, known: dict[int, tuple[int, int] | None]) -> tuple[int, int]:
    """The size and the depth of a value, its aliases followed; an error if they have no end or a high one.

    `known` holds what is measured already, and None for the values around this one.
    """
    if isinstance(node, yaml.ScalarNode):
        return 1 + len(node.value), 0
    if id(node) not in known:
        known[id(node)] = None
        pairs = node.value if isinstance(node, yaml.MappingNode) else [(entry,) for entry in node.value]
        parts = [_measured(part, known) for pair in pairs for part in pair]
        size, depth = 1 + sum(size for size, _ in parts), 1 + max((depth for _, depth in parts), default=0)
        if depth > MAX_DEPTH:
            raise _error(f"nested too deeply: more than {MAX_DEPTH} values inside each other", node)
        if size > MAX_SIZE:
            raise _error(f"too large: more than {MAX_SIZE:,} characters, once its aliases are followed", node)
        known[id(node)] = size, depth
    if (measured := known[id(node)]) is None:
        raise _error("an alias to a value that it is a part of", node)
    return measured


class Document:
    """A YAML text: its values, and the line and column of each. Raises YamlError if the text is not valid."""

    def __init__(self, text: str, name: str) -> None:
        self.name = name
        try:
            loader = _Loader(text)
            self._root = loader.get_single_node()
            if self._root is not None:
                _measured(self._root, {})  # before anything is built from it
            self.values: Any = None if self._root is None else loader.construct_document(self._root)
        except yaml.MarkedYAMLError as error:
            problem = ", ".join(part for part in (error.context, error.problem) if part)
            raise YamlError(f"{self._at(error.problem_mark or error.context_mark)}: {problem}") from None
        except yaml.reader.ReaderError as error:
            before = text[: error.position].split("\n")
            place = f"{name}:{len(before)}:{len(before[-1]) + 1}"
            raise YamlError(f"{place}: the character #x{error.character:04x} is not allowed") from None
        except RecursionError:
            raise YamlError(f"{name}: nested too deeply") from None

    def place(self, location: Location) -> str:
        """file:line:column of the last part of `location` that exists; in a mapping, that of its key."""
        node, mark = self._root, None
        for step in location:
            if isinstance(node, yaml.MappingNode):
                # Merged keys come first, so the last match is the key that the mapping itself sets.
                found = [(key, value) for key, value in node.value if key.value == step]
                if found:
                    mark, node = found[-1][0].start_mark, found[-1][1]
            elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
        return self._at(mark)

    def _at(self, mark: Any) -> str:
        return f"{self.name}:{mark.line + 1}:{mark.column + 1}" if mark else f"{self.name}:1:1"

"""What a function says of itself when a decorator registers it: its name, its caption and its options."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

PLAIN = (bool, int, float, str)


class Signature(NamedTuple):
    """name: with dashes for underscores. summary: the docstring's first line. options: name -> default."""

    name: str
    summary: str
    options: dict[str, Any]


def signature_of(function: Callable[..., Any], given: Sequence[str]) -> Signature:
    """The signature of a function that takes so many positional arguments and options after a star.

    TypeError for other positional arguments, an option without a plain default, or no docstring.
    """
    where = function.__name__
    parameters = inspect.signature(function).parameters.values()
    options = {each.name: each.default for each in parameters if each.kind is each.KEYWORD_ONLY}
    positional = [each for each in parameters if each.name not in options]
    if len(positional) != len(given) or any(each.kind is each.VAR_POSITIONAL for each in positional):
        raise TypeError(f"{where} takes {', '.join(given)}, then its options after a *")
    for name, default in options.items():
        kinds = set(map(type, default)) if isinstance(default, tuple) and default else {type(default)}
        if len(kinds) > 1 or not kinds <= set(PLAIN):
            kinds_of_value = "a number, a word, true or false, or a tuple of one of these kinds"
            raise TypeError(f"{where}: the option {name} needs a default: {kinds_of_value}")
    summary = (inspect.getdoc(function) or "").split("\n", 1)[0]
    if not summary:
        raise TypeError(f"{where} needs a docstring: its first line is the caption in every table")
    return Signature(where.replace("_", "-"), summary, options)

"""The errors that a user can correct, and how they name values, choices and the errors of other code."""

import difflib
import json
import reprlib
import traceback
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

LONGEST = 100  # characters of one value or word in a message


class UserError(Exception):
    """Printed as one message without a traceback; the command ends with exit code 2."""


def one_of(name: str, choices: Iterable[str]) -> str:
    """': did you mean x? the choices are …', to end a message about an unknown name."""
    known = {choice.lower(): choice for choice in choices}
    word = name[:LONGEST].lower()
    near = [each for each in known if each.endswith(f"/{word}")]  # the name without its folder
    near = near or difflib.get_close_matches(word, known, n=1)
    hint = f"; did you mean {known[near[0]]!r}?" if near else ";"
    return f"{hint} the choices are {', '.join(known.values()) or 'none'}"


def shown(value: object) -> str:
    """A value as a message shows it: as YAML writes it, and not too long, however large the value is."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return shortened(_SHORT.repr(value))


def shortened(text: str, most: int = LONGEST) -> str:
    """The text, cut where it is longer than a message needs."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def described(error: BaseException) -> str:
    """Type and text of an error of any code; its text may be endless, no Unicode, or an error of its own."""
    try:
        text = str(error)
    except BaseException as another:
        text = f"its text cannot be made: {type(another).__name__}"
    return _whole_characters(f"{type(error).__name__}: {text}", 2000)


def place_of(error: BaseException) -> str:
    """The file and the line that raised an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return _whole_characters(f"{frames[-1].filename}:{frames[-1].lineno}", 2000) if frames else "nowhere"


def traceback_of(error: BaseException) -> str:
    """The traceback of an error of any code, its end if it is very long."""
    try:
        text = "".join(traceback.format_exception(error))
    except BaseException as another:
        text = f"no traceback: {type(another).__name__}"
    return _whole_characters(text[-20_000:], 100_000)


def _whole_characters(text: str, most: int) -> str:
    """The text without halves of surrogate pairs, which no record can hold."""
    return shortened(text.encode(errors="backslashreplace").decode(), most)


class _Short(reprlib.Repr):
    """`repr` that looks at the beginning of a value only."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxlist, self.maxtuple, self.maxdict = 5, 10, 10, 10

    def repr_str(self, x: str, level: int) -> str:
        return repr(x[: LONGEST + 1])

    def repr_int(self, x: int, level: int) -> str:
        return repr(x) if x.bit_length() < 1000 else f"a number of {x.bit_length()} bits"

    def repr_dict(self, x: Mapping[Any, Any], level: int) -> str:
        if level <= 0:
            return "{...}"
        items = [
            f"{self.repr1(k, level - 1)}: {self.repr1(x[k], level - 1)}" for k in islice(x, self.maxdict)
        ]
        return f"{{{', '.join(items)}{', ...' if len(x) > self.maxdict else ''}}}"


_SHORT = _Short()

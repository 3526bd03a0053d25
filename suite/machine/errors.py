"""The errors that a user can correct, and how they name values and choices."""

import difflib
import json
from collections.abc import Iterable


class UserError(Exception):
    """Printed as one message without a traceback; the command ends with exit code 2."""


def one_of(name: str, choices: Iterable[str]) -> str:
    """': did you mean x? the choices are …', to end a message about an unknown name."""
    known = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"; did you mean {known[near[0]]!r}?" if near else ";"
    return f"{hint} the choices are {', '.join(known.values()) or 'none'}"


def shown(value: object) -> str:
    """A value as a message shows it: as YAML writes it, and not too long."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."

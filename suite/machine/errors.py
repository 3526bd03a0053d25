"""The errors that a user can mend, and how they name the choices."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Printed as one message without a traceback; the command ends with exit code 2."""


def one_of(name: str, choices: Iterable[str]) -> str:
    """': did you mean x? the choices are …', to end a message about an unknown name."""
    known = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"; did you mean {known[near[0]]!r}?" if near else ";"
    return f"{hint} the choices are {', '.join(known.values()) or 'none'}"

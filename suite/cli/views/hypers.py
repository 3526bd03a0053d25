"""The columns of a hyperparameter in a table."""

from collections.abc import Mapping
from typing import Any


def default_cell(values: Mapping[str, Any]) -> str:
    """The default of a hyperparameter; an optional one is off."""
    if values["optional"]:
        return "off"
    return "none" if values["default"] is None else str(values["default"])


def range_cell(values: Mapping[str, Any]) -> str:
    """The range; of an optional hyperparameter also the published value."""
    is_number = isinstance(values["default"], float) and values["optional"]
    published = f", published {values['default']:g}" if is_number else ""
    return values["range"] + published


def yes_or_no(value: bool) -> str:
    return "yes" if value else "no"

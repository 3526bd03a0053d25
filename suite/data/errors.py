"""The errors of this room."""

from suite.machine.errors import UserError


class DataError(UserError):
    """A data set is absent, damaged or wrongly asked for; the message names the place and the remedy.

    option: the name of the data set's option at fault, None if the fault lies elsewhere.
    """

    def __init__(self, message: str, option: str | None = None) -> None:
        super().__init__(message)
        self.option = option


class DecoderDied(RuntimeError):
    """A process that decodes images died or failed, as when memory runs out; the run is not at fault."""


class TestSetGuard(RuntimeError):
    """The test set was asked for while it must be out of reach."""

    __test__ = False  # pytest would take the name for a test class

"""What the sweep learns about a run: the types of all messages between workers, coordinator and screen.

A run sends any number of EpochDone, then one other message. `Failed` is its own fault, `Lost` the machine's.
"""

from typing import NamedTuple

from suite.records.schema import Failure, Result


class EpochDone(NamedTuple):
    """A run has finished this epoch, counted from 1."""

    run_id: str
    epoch: int


class Done(NamedTuple):
    """A run has its result. `notes` are about damaged files and what became of them."""

    run_id: str
    result: Result
    notes: str = ""


class Kept(NamedTuple):
    """A run had its result before this sweep, or another cell has asked for it."""

    run_id: str
    notes: str = ""


class Failed(NamedTuple):
    """A run has no result and is not tried again now. `failure` is None if another cell has reported it."""

    run_id: str
    failure: Failure | None


class Lost(NamedTuple):
    """The machine failed a run: no memory, a dead worker, an unreadable file. It may be tried again."""

    run_id: str
    failure: Failure


class Busy(NamedTuple):
    """Another process trains this run."""

    run_id: str


class Preempted(NamedTuple):
    """A run was asked to stop and has saved its state."""

    run_id: str
    text: str


class DiskFull(NamedTuple):
    """No run can write its record any more; `text` names the file and what to do."""

    run_id: str
    text: str


Message = EpochDone | Done | Kept | Failed | Lost | Busy | Preempted | DiskFull

"""The state of an unfinished run: hashed, written whole, one older generation kept."""

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import torch

from suite.machine.preemption import StopRequested
from suite.records.files import (
    DamagedRecord,
    read_bytes,
    set_aside,
    with_checksum,
    without_checksum,
    write_atomically,
    writing,
)
from suite.records.run import CHECKPOINTS
from suite.training.ranks import Ranks

FORMAT = 3  # of the state that training keeps
Item = TypeVar("Item")


class Checkpoints:
    """The checkpoints of one run in this process. Of several processes the first one writes.

    folder: of the run. state: the content of a checkpoint at this moment. place: where the run is, in words.
    every: seconds between two checkpoints.
    """

    def __init__(
        self,
        folder: Path,
        state: Callable[[], dict[str, Any]],
        place: Callable[[], str],
        *,
        every: float,
        ranks: Ranks,
    ) -> None:
        self.folder, self.state, self.place, self.every, self.ranks = folder, state, place, every, ranks
        self._last = time.perf_counter()

    def load(self, note: Callable[[str], None]) -> dict[str, Any] | None:
        """The state to resume from, the same in all processes; None if the run starts from the beginning.

        Raises RanksError if the processes do not read the same checkpoint.
        """
        state = load_checkpoint(self.folder, note) if self.ranks.first else None
        self.ranks.gather(None)  # the first process has set damaged files aside: now the others may read
        if not self.ranks.first:
            state = load_checkpoint(self.folder)
        step = state and state["progress"]["step"]
        self.ranks.agree(step, f"the checkpoint in {self.folder}, which all of them must see")
        return state

    def due(self) -> bool:
        """Whether it is time for the next one."""
        return time.perf_counter() - self._last >= self.every

    def save(self) -> None:
        if self.ranks.first:
            save_checkpoint(self.folder, self.state())
        self._last = time.perf_counter()

    def save_and_stop(self) -> NoReturn:
        """Save, then raise StopRequested with a message that names the place."""
        self.save()
        raise StopRequested(f"stopped after {self.place()}, and saved")

    @contextlib.contextmanager
    def saved_if_stopped(self) -> Iterator[None]:
        """Save before a StopRequested leaves this block."""
        try:
            yield
        except StopRequested:
            self.save_and_stop()

    def saved_while_waiting(self, batches: Iterable[Item]) -> Iterator[Item]:
        """The batches, one after another; saves before a StopRequested that comes while one is awaited."""
        with self.saved_if_stopped():
            yield from batches


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Write the checkpoint of the run in this folder; the last one becomes the previous one."""
    buffer = io.BytesIO()
    torch.save({**state, "run": folder.name, "format": FORMAT}, buffer)
    current, previous = (folder / name for name in CHECKPOINTS)
    with writing(previous), contextlib.suppress(FileNotFoundError):
        os.replace(current, previous)
    write_atomically(current, with_checksum(buffer.getvalue()))


def load_checkpoint(folder: Path, note: Callable[[str], None] = lambda text: None) -> dict[str, Any] | None:
    """The state in the newest whole checkpoint; None if the run has to start from the beginning.

    Damaged ones are set aside as `<name>.damaged`; `note` gets a message about them and the consequence.
    """
    state, damaged = None, []
    for name in CHECKPOINTS:
        try:
            state = _read(folder / name)
            break
        except FileNotFoundError:
            continue
        except DamagedRecord as error:
            set_aside(error.path)
            damaged.append(str(error))
    if state is not None and state.pop("format", None) != FORMAT:
        state = None
        note("the checkpoint is that of another version of flipbench; the run starts from the beginning")
    if damaged:
        consequence = "starts from the beginning" if state is None else "resumes from the checkpoint before"
        note(f"{'; '.join(damaged)}; set aside, the run {consequence}")
    return state


def _read(path: Path) -> dict[str, Any]:
    content = without_checksum(read_bytes(path), path)
    try:
        state = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")
    except Exception as error:  # torch's reader raises many types
        raise DamagedRecord(path, f"it is no checkpoint ({type(error).__name__})") from None
    if not isinstance(state, dict):
        raise DamagedRecord(path, "it is no checkpoint")
    if (run := state.pop("run", None)) != path.parent.name:
        raise DamagedRecord(path, f"it is that of run {run}")
    return state

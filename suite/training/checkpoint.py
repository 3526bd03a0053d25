"""The state of an unfinished run: hashed, written whole, one older generation kept."""

import contextlib
import hashlib
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from suite.records.files import DamagedRecord, set_aside, write_atomically, writing

NAMES = ("checkpoint.pt", "checkpoint.previous.pt")
FORMAT = 2  # of the state that training keeps


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint of the run in this folder; what was the checkpoint becomes the previous one."""
    buffer = io.BytesIO()
    torch.save({**state, "run": folder.name, "format": FORMAT}, buffer)
    content = buffer.getvalue()
    current, previous = (folder / name for name in NAMES)
    with writing(previous), contextlib.suppress(FileNotFoundError):
        os.replace(current, previous)
    write_atomically(current, hashlib.sha256(content).digest() + content)


def load_checkpoint(folder: Path, say: Callable[[str], None] = lambda text: None) -> dict[str, Any] | None:
    """The state in the newest whole checkpoint; None if there is none, and the run has to begin anew.

    Damaged ones are set aside as `<name>.damaged`, and `say` is told what that means for the run.
    """
    state, damaged = None, []
    for name in NAMES:
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
        say("the checkpoint is that of another version of flipbench; the run begins anew")
    if damaged:
        what = "begins anew" if state is None else "goes on from the checkpoint before"
        say(f"{'; '.join(damaged)}; set aside, the run {what}")
    return state


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise DamagedRecord(path, "its content does not match its checksum")
    state = torch.load(io.BytesIO(content[32:]), weights_only=True, map_location="cpu")
    if (run := state.pop("run", None)) != path.parent.name:
        raise DamagedRecord(path, f"it is that of run {run}")
    return state

"""The state of an unfinished run: hashed, written whole, one older generation kept."""

import contextlib
import hashlib
import io
import os
from pathlib import Path
from typing import Any

import torch

from suite.records import set_aside, write_atomically

NAMES = ("checkpoint.pt", "checkpoint.previous.pt")


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint; what was the checkpoint becomes the previous one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    current, previous = (folder / name for name in NAMES)
    with contextlib.suppress(FileNotFoundError):
        os.replace(current, previous)
    write_atomically(current, hashlib.sha256(content).digest() + content)


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """The newest whole checkpoint, or None; damaged ones are set aside under `<name>.damaged`."""
    for name in NAMES:
        path = folder / name
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            return torch.load(io.BytesIO(content[32:]), weights_only=True, map_location="cpu")
        set_aside(path)
    return None

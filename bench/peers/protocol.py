"""The messages between the coordinator and a contender: one JSON object per line, over stdin and stdout.

request  {"network": "binarynet-1", "method": "bop", "precision": "float32", "steps": 9, "fixed_batch": false}
answer   {"wall": 9.1, "cpu": 9.0, "images": 450, "losses": [2.4, ...], "binary": 10352000, "real": 3850}

A contender first writes one line, {"versions": {...}}, and ends when stdin does. The first request for a cell
builds it, and it stays warm. With `fixed_batch` a new cell is built, trained on one batch and dropped: so the
contenders are checked against each other.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from bench.peers.networks import Cell


class Session(Protocol):
    """One network in training."""

    images_per_step: int
    binary: int  # binary weights
    real: int  # other trainable parameters

    def run(self, steps: int) -> list[float]:
        """Train so many steps; the loss of each, in nats."""
        ...


class Answer(NamedTuple):
    """The measurements of a contender: seconds by two clocks, images, losses, sizes of its session."""

    wall: float
    cpu: float  # of all threads
    images: int
    losses: list[float]
    binary: int
    real: int


def serve(versions: dict[str, str], open_session: Callable[[Cell, bool], Session]) -> None:
    """Answer requests until stdin ends. `open_session` takes the cell and `fixed_batch`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the output of libraries goes to stderr
    warm: dict[Cell, Session] = {}

    def send(line: dict) -> None:
        print(json.dumps(line), file=answers, flush=True)

    send({"versions": versions})
    for line in sys.stdin:
        request = json.loads(line)
        cell = Cell(request["network"], request["method"], request["precision"])
        if request["fixed_batch"]:
            session = open_session(cell, True)
        else:
            session = warm.get(cell) or warm.setdefault(cell, open_session(cell, False))
        send(timed(session, request["steps"])._asdict())


def timed(session: Session, steps: int) -> Answer:
    """Run so many steps and time them."""
    wall, cpu = time.perf_counter(), time.process_time()
    losses = session.run(steps)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return Answer(wall, cpu, steps * session.images_per_step, losses, session.binary, session.real)

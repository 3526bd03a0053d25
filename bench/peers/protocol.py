"""How the coordinator and a contender talk: one JSON object a line, over stdin and stdout.

request  {"network": "binarynet-1", "method": "bop", "precision": "float32", "steps": 9, "fixed_batch": false}
answer   {"wall": 9.1, "cpu": 9.0, "images": 450, "losses": [2.4, ...], "binary": 10352000, "real": 3850}

A contender greets with one line, {"versions": {...}}, and ends when stdin does. The first request for a cell
builds it, and it stays warm. With `fixed_batch` the cell is built anew, trained on one batch and forgotten:
that is how the contenders are checked against each other.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Protocol

from bench.peers.networks import Cell


class Session(Protocol):
    """One network in training."""

    images_per_step: int
    binary: int  # binary weights
    real: int  # other trainable parameters

    def run(self, steps: int) -> list[float]:
        """Train so many steps; the loss of each, in nats."""
        ...


def serve(versions: dict[str, str], open_session: Callable[[Cell, bool], Session]) -> None:
    """Answer requests until stdin ends. `open_session` is given the cell and `fixed_batch`."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints goes to stderr
    warm: dict[Cell, Session] = {}

    def answer(line: dict) -> None:
        print(json.dumps(line), file=answers, flush=True)

    answer({"versions": versions})
    for line in sys.stdin:
        request = json.loads(line)
        cell = Cell(request["network"], request["method"], request["precision"])
        if request["fixed_batch"]:
            session = open_session(cell, True)
        else:
            session = warm.get(cell) or warm.setdefault(cell, open_session(cell, False))
        answer(timed(session, request["steps"]))


def timed(session: Session, steps: int) -> dict:
    """Run so many steps and say what they took: wall seconds, and CPU seconds of all threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    losses = session.run(steps)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return {
        "wall": wall,
        "cpu": cpu,
        "images": steps * session.images_per_step,
        "losses": losses,
        "binary": session.binary,
        "real": session.real,
    }

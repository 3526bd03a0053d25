"""A process whose forks may die: importing torch takes seconds, a fork of a process that has done so none."""

import gc
import os
import pickle
import signal
import time
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from optimizers import METHODS
from suite.data.held import splits_on
from suite.machine.forkserver import fork_context
from suite.training.provenance import environment
from tests.support.tiny import CPU, tiny_plan


class Ended(NamedTuple):
    """How a process ended: its exit code, -9 if it was killed, and what it returned, or a traceback."""

    code: int
    value: Any


class Warm:
    """A process that has imported everything and trained nothing: its forks can train."""

    def __init__(self, place: Path) -> None:
        context = fork_context()
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, place))
        self.process.start()
        there.close()

    def run(self, function: Callable[..., Any], *arguments: Any, seconds: float = 0.0) -> Ended:
        """Call a function of a module in a fork; it is killed after so many seconds, unless that is zero."""
        try:
            self.pipe.send((function, arguments, seconds))
            return self.pipe.recv()
        except (BrokenPipeError, ConnectionResetError, EOFError) as error:
            self.process.join(10)
            code = self.process.exitcode
            raise RuntimeError(f"the warm process is gone, its exit code is {code}: {error!r}") from None

    def close(self) -> None:
        self.pipe.close()
        self.process.join()


def _serve(pipe: Connection, place: Path) -> None:
    """Read the images and look at the machine, once for all forks; then fork."""
    torch.set_num_threads(1)  # threads do not survive a fork, and OpenMP would wait for them for ever
    splits_on(CPU, tiny_plan(place).cells[0].data, True)
    environment(CPU, METHODS["bop"])
    gc.freeze()  # a fork that collected garbage would copy all these objects
    while True:
        try:
            function, arguments, seconds = pipe.recv()
        except EOFError:
            return
        pipe.send(_forked(function, arguments, seconds))


def _forked(function: Callable[..., Any], arguments: tuple[Any, ...], seconds: float) -> Ended:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            value, code = function(*arguments), 0
        except BaseException:
            value, code = traceback.format_exc(), 1
        with os.fdopen(writer, "wb") as answer:
            pickle.dump(value, answer)
        os._exit(code)
    os.close(writer)
    if seconds:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)  # perhaps it has ended: its number is taken until it is waited for
        os.close(reader)
        return Ended(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), None)
    with os.fdopen(reader, "rb") as answer:
        told = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return Ended(code, pickle.loads(told) if told else None)

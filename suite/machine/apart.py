"""Code of a user in a process of its own: whatever it does there, this process stays as it is.

A plugin may patch torch, print, change the environment or end its process. So it is imported nowhere but in
processes that are made for it: where it is planned with, and where its own cells are trained.
"""

import os
import time
from collections.abc import Callable, Iterable, Mapping
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, TypeVar

from suite.machine import preemption
from suite.machine.errors import UserError, described, place_of
from suite.machine.forkserver import end_with_parent, fork_context
from suite.machine.streams import secure_streams

Value = TypeVar("Value")
NO_ANSWER = "a plugin's values cannot leave its process"
LOOK_EVERY = 0.2  # seconds between looks at a request to stop


class ProcessEnded(UserError):
    """The process of a plugin has ended before its function, or was ended because it took too long."""

    def __init__(self, names: str, reason: str) -> None:
        super().__init__(f"{names}: {reason}")
        self.reason = reason


def apart(
    plugins: Iterable[Path | str],
    function: Callable[..., Value],
    *arguments: Any,
    limit: float = float("inf"),
) -> Value:
    """The value of `function(*arguments)`, which imports these plugins, in a process that ends with it.

    What it prints goes to stderr. A request to stop this process is passed on. Raises UserError if the
    function raises anything, ProcessEnded if its process ends in another way, or after `limit` seconds.
    """
    names = ", ".join(map(str, plugins))
    context = fork_context()
    here, there = context.Pipe(duplex=False)
    place = os.getcwd(), dict(os.environ)
    process = context.Process(target=_answer, args=(there, place, function, arguments))
    process.start()
    there.close()
    asked, end = False, time.monotonic() + limit
    try:
        while not wait([here, process.sentinel], LOOK_EVERY):
            if time.monotonic() > end:
                raise ProcessEnded(names, f"has not ended within {limit:g} s")
            if preemption.requested() and not asked:
                process.terminate()
                asked = True
        if not here.poll():
            raise EOFError
        good, value = here.recv()
    except (EOFError, ConnectionError):
        process.join()
        raise ProcessEnded(names, f"has ended its process (exit code {process.exitcode})") from None
    except (ImportError, AttributeError) as error:  # it holds something of the plugin's own
        raise UserError(f"{names}: {NO_ANSWER}: {described(error)}") from None
    finally:
        process.kill()
        process.join()
        here.close()
    if not good:
        raise UserError(value)
    return value


def _answer(
    pipe: Connection,
    place: tuple[str, Mapping[str, str]],
    function: Callable[..., Any],
    arguments: tuple[Any, ...],
) -> None:
    end_with_parent()
    secure_streams(results=False)
    folder, environment = place
    os.chdir(folder)
    os.environ.update(environment)
    try:
        answer = True, function(*arguments)
    except (UserError, OSError) as error:
        answer = False, str(error)
    except BaseException as error:
        answer = False, f"{described(error)} ({place_of(error)})"
    try:
        pipe.send(answer)
    except BaseException as error:  # it cannot be pickled
        pipe.send((False, f"{NO_ANSWER}: {described(error)}"))

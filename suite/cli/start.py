"""The start of the process `flipbench`, before anything else is imported: its streams, signals and limits."""

import os
import resource
import sys
from typing import NoReturn

from suite.machine.preemption import end_at_sigint
from suite.machine.streams import lost_results, secure_streams

FILES = 4096  # open files that a process asks for: three for each worker, and those of torch and its threads
FEWEST_FILES = 128


def start() -> None:
    """Run the command line."""
    end_at_sigint()
    secure_streams(results=True)
    if problem := _no_folder() or _file_limit():
        _end(problem)
    from suite.cli.main import main

    try:
        main()
    except SystemExit as ended:
        if not ended.code and (problem := lost_results()):
            _end(problem)
        raise


def _end(problem: str) -> NoReturn:
    print(f"error: {problem}", file=sys.stderr)
    sys.exit(2)


def _no_folder() -> str:
    """The problem with the current folder, on which every relative path depends, or nothing."""
    try:
        os.getcwd()
    except OSError as error:
        return f"the current folder cannot be read: {error.strerror}; change to another one"
    return ""


def _file_limit() -> str:
    """Allow as many open files as this user may have; the problem if these are too few."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    if wanted >= FEWEST_FILES:
        return ""
    needed = f"and needs {FEWEST_FILES}: raise the limit, for example with `ulimit -n {FILES}`"
    return f"this process may open {wanted} files at once, {needed}"

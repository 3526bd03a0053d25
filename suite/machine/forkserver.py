"""Worker processes are forks of one process that has loaded torch, which takes seconds."""

import multiprocessing
import os
import signal
import threading
from multiprocessing import forkserver, parent_process
from multiprocessing.connection import wait
from multiprocessing.context import ForkServerContext

# A process has one such server, so it loads the modules of all kinds of workers.
LOADED = ["suite.sweep.worker", "suite.data.stored.pack_shard"]


def fork_context() -> ForkServerContext:
    """The context to start workers in. The server loads in the background."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    # Ctrl-C on a terminal reaches all processes. This one ends the others: they ignore it from their first
    # moment on, as it is ignored here while the server starts.
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, signal.SIG_IGN) if in_main_thread else None
    try:
        forkserver.ensure_running()
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, before)
    return context


def end_with_parent() -> None:
    """End this process at once when the one that started it ends, however that happens.

    A coordinator that was killed must not leave workers behind that write where its successor works.
    """
    threading.Thread(target=_wait_and_end, daemon=True).start()


def _wait_and_end() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)

"""Worker processes are forks of one process that has loaded torch, which takes seconds."""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

# A process has one such server, so it loads the modules of all kinds of workers.
LOADED = ["suite.sweep.worker", "suite.data.stored.pack_shard"]


def fork_context() -> ForkServerContext:
    """The context to start workers in. The server loads in the background."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    forkserver.ensure_running()
    return context

"""Worker processes are forks of one process that has torch loaded: each would need seconds to load it."""

import multiprocessing
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

# A process has one such server, whatever it starts first.
LOADED = ["suite.sweep.worker", "suite.data.stored.pack_shard"]


def fork_context() -> ForkServerContext:
    """The context to start workers in. The server loads while this process goes on."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LOADED)
    forkserver.ensure_running()
    return context

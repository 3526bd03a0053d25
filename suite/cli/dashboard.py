"""`flipbench dashboard`: the trials of a sweep in optuna-dashboard, while it runs and afterwards."""

from pathlib import Path
from typing import Annotated, Any

import typer

from suite.cli.console import err, say
from suite.cli.options import RESULTS, Folder, Results, results_folder
from suite.machine.errors import UserError
from suite.records.experiment import ExperimentFolder

HOST = "127.0.0.1"  # only this machine can reach it: the page asks for no password


def dashboard(
    exp: Folder,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of the page on this machine.")] = 8080,
    results: Results = RESULTS,
) -> None:
    """Open optuna-dashboard on the trials of a sweep, also while it runs. Only this machine can reach it."""
    log = ExperimentFolder(results_folder(exp, results)).optuna_log_path
    if not log.is_file():
        raise UserError(f"{log} does not exist: `flipbench sweep` and `flipbench tune` write it")
    say(err, f"http://{HOST}:{port} shows {log}; Ctrl-C ends it")
    serve(log, port)


def serve(log: Path, port: int) -> None:
    """Serve the page until the process is interrupted. UserError if it cannot be."""
    try:
        from optuna_dashboard import run_server
    except ImportError:
        raise UserError(
            "optuna-dashboard is not installed; it is the extra `dashboard` of flipbench"
        ) from None
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    class ReadOnlyBackend(JournalFileBackend):
        """Refuses every change from the page: the sweep alone writes the log, without a lock."""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            raise PermissionError(f"{log} belongs to the sweep; the page cannot change it")

    storage = JournalStorage(ReadOnlyBackend(str(log)))
    try:
        run_server(storage, host=HOST, port=port)
    except OSError as error:  # another program has the port, or only the system may open it
        raise UserError(f"--port {port}: {error.strerror}; choose another one") from None

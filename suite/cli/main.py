"""The command `flipbench`: the front door. Only this folder knows both the suite and the report.

Each command is a file of this folder. Torch, pandas and their like are imported inside: a start is quick.

Exit codes: 0 all planned runs have a result; 1 some failed or are missing; 2 the command cannot be carried
out, and nothing was written; 130 interrupted, 75 stopped by SIGTERM: then the same command resumes.
Of `check`: 0 it passes; 1 there is a fault; 2 the file cannot be read, or holds nothing to check.
Of `verify`: 0 all records are there and intact; 1 a planned one is missing, failed, or could not be repeated;
2 one is damaged or contradicts another. Of `merge`: 1 if records contradict each other. Of `status`, `study`,
`report`, `claims`, `export`: 0, or 2 for a damaged or contradictory record. Of `load`: 1 if the network does
not have the scores of its run.
"""

import sys
from typing import Annotated

import typer

from suite.cli.check import check
from suite.cli.claims import claims
from suite.cli.console import complain
from suite.cli.dashboard import dashboard
from suite.cli.export import export
from suite.cli.list import list_
from suite.cli.load import load
from suite.cli.merge import merge
from suite.cli.new_method import new_method
from suite.cli.place import place
from suite.cli.plan import plan
from suite.cli.prepare import prepare
from suite.cli.publish import publish
from suite.cli.report import report
from suite.cli.show import show
from suite.cli.status import status
from suite.cli.study import study
from suite.cli.sweep import sweep, tune
from suite.cli.train import train
from suite.cli.verify import verify
from suite.cli.version import print_version
from suite.machine import preemption
from suite.machine.errors import UserError
from suite.records.files import DamagedRecord

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False)


@app.callback()
def flipbench(
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """The comparative benchmark of optimizers for binarized neural networks."""


app.command("list")(list_)
app.command("new-method")(new_method)
COMMANDS = (
    *(show, check, plan, sweep, tune, train, load, prepare, report, study, status, verify, publish),
    *(claims, export, merge, place, dashboard),
)
for command in COMMANDS:
    app.command(command.__name__)(command)


def main() -> None:
    """Run the command line. An error that a user can mend ends in one message and exit code 2."""
    preemption.end_at_sigterm()
    try:
        app(prog_name="flipbench")
    except (UserError, DamagedRecord, OSError) as error:
        complain("error:", str(error))
        sys.exit(2)

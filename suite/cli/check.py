"""`flipbench check`: does a file of one's own keep the contracts that the tests hold the catalogue to?"""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from suite.cli.console import out, print_json, say
from suite.cli.options import AsJson


def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A Python file of your own; it is executed.")],
    as_json: AsJson = False,
) -> None:
    """Check a file of your own: one sentence for each finding, exit code 1 if one is a fault."""
    from suite.checks.contract.source import parsed
    from suite.machine.forkserver import fork_context

    parsed(file)  # finds most mistakes before torch is imported, which takes seconds
    fork_context()  # its server imports torch while this process does
    from suite.checks.contract.check import check as check_file

    found = check_file(file)
    if as_json:
        print_json(
            {
                "file": str(file),
                "names": found.names,
                "untried": found.untried,
                "passed": not found.faults,
                "findings": [dataclasses.asdict(remark) for remark in found.remarks],
            }
        )
    else:
        for remark in found.remarks:
            line = f":{remark.line}" if remark.line else ""
            say(out, f"{file}{line}: {'' if remark.fault else 'note: '}{remark.text}")
        names, untried = ", ".join(found.names), ", ".join(found.untried)
        faults = f"{len(found.faults)} fault{'s' if len(found.faults) > 1 else ''}"
        passed = "passed" if not untried else f"no fault, but not tried: {untried}"
        say(out, f"{file}: {faults if found.faults else passed}{f' ({names})' if names else ''}")
    if found.faults:
        raise typer.Exit(1)

"""Seconds to start Python, torch and the command, each time in a new process."""

import subprocess
import sys

from bench.race import Bench, Row

COMMANDS = {
    "python": "pass",
    "import torch": "import torch",
    "flipbench list": "import sys; sys.argv = ['flipbench', 'list']; from suite.cli.main import main; main()",
}


def run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def measure(bench: Bench) -> list[Row]:
    """Wall seconds, with the files in the cache of the disk after the race's first call."""
    race = bench.race(
        "start", {name: lambda code=code: run(code) for name, code in COMMANDS.items()}, wall=True
    )
    return [Row("start", "fresh process", name, race.median(name), "s", race.rounds) for name in COMMANDS]

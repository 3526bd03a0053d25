"""`python -m suite.cli`: the command, for launchers that start a module."""

from suite.cli.start import start

start()

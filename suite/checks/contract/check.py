"""Does the file of a user keep the contract? It is executed in a process of its own, for a limited time."""

import contextlib
import inspect
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from optimizers import METHODS, load_plugin
from optimizers.core import Method
from suite.checks.contract.method import STAGES
from suite.checks.contract.opened import Watch
from suite.checks.contract.remark import Remark, raised
from suite.checks.contract.source import imports_no_data, parsed
from suite.checks.contract.torch_state import SharedState
from suite.machine.apart import ProcessEnded, apart
from suite.machine.errors import UserError, described

RULE_LIMIT = 60  # seconds for one rule, and for the import
LIMIT = 600  # for all of them


@dataclass
class Checked:
    """What was found in a file: what it registers, by kind and name, and the remarks about it."""

    file: Path
    names: list[str] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)

    @property
    def faults(self) -> list[Remark]:
        return [remark for remark in self.remarks if remark.fault]


def check(path: Path) -> Checked:
    """The remarks about a file; UserError if it cannot be read or executed, or holds nothing to check."""
    parsed(path)
    try:
        return apart([path], check_here, path.resolve(), limit=LIMIT)
    except ProcessEnded as error:
        return Checked(path, remarks=[Remark(f"{error.reason}: what runs in it must return")])


def check_here(path: Path) -> Checked:
    """The same in this process, which the file then may have changed."""
    torch.set_num_threads(1)
    tree, watch, before = parsed(path), Watch(path), SharedState.now()
    methods = _load(path)
    at_import = [Remark(f"its import changes {change}") for change in before.changes()]
    before.restore()
    found = Checked(path, [f"method {method.name}" for method in methods])
    found.remarks += [*imports_no_data(tree), *at_import]
    for method in methods:
        whose = f"{method.name}: " if len(methods) > 1 else ""
        found.remarks += [replace(remark, text=whose + remark.text) for remark in _remarks(method)]
    found.remarks += watch.opens_no_file()
    return found


def _load(path: Path) -> list[Method]:
    """The methods of a file, also if that belongs to the catalogue."""
    of_catalogue = [m for m in METHODS.values() if Path(inspect.getfile(m.rule)) == path]
    if of_catalogue:
        return of_catalogue
    try:
        with _limited():
            return load_plugin(path)
    except BaseException as error:  # a plugin is a user's code: it may raise anything, also SystemExit
        line = raised(error, path).line
        if line is None and isinstance(error, ValueError):  # of `load_plugin`, with the file in its message
            raise UserError(str(error)) from None
        raise UserError(f"{path}{f':{line}' if line else ''}: {described(error)}") from None


def _remarks(method: Method) -> Iterator[Remark]:
    """The remarks of the first stage that finds a fault, and the notes before it."""
    before = SharedState.now()
    for stage in STAGES:
        found = [remark for rule in stage for remark in carried_out(rule, method)]
        yield from found
        if any(remark.fault for remark in found):
            break
    else:
        yield from (Remark(f"a training changes {change}") for change in before.changes(may_draw=True))
    before.restore()


def carried_out(rule: Callable[[Any], Iterator[Remark]], subject: Any) -> list[Remark]:
    """The remarks of one rule; whatever the file's code raises in it is one."""
    try:
        with _limited():
            return list(rule(subject))
    except BaseException as error:
        return [raised(error, subject.rule)]


class TookTooLong(Exception):
    """The code of a file has not returned in time."""


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raises TookTooLong in the line that is carried out when the time for one rule is over."""

    def end(*_: object) -> None:
        raise TookTooLong(f"it has not returned within {RULE_LIMIT} s")

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(RULE_LIMIT)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)

"""Does the file of a user keep the contract? It is executed in a process of its own, for a limited time."""

import contextlib
import inspect
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from suite.checks.contract import data, method, model
from suite.checks.contract.opened import Watch
from suite.checks.contract.remark import Remark, line_of, note, raised
from suite.checks.contract.source import imports_no_data, parsed
from suite.checks.contract.torch_state import SharedState
from suite.data import Dataset
from suite.data.options import resolve_options
from suite.machine.apart import ProcessEnded, apart
from suite.machine.errors import UserError, described
from suite.models.model import Model
from suite.plugins import (
    REGISTRIES,
    WORDS,
    Entry,
    Kind,
    PluginError,
    home_of,
    kind_of,
    load_plugin,
)

RULE_LIMIT = 60  # seconds for one rule, and for the import
LIMIT = 600  # for all of them
UNTRIED = "it is not tried"


@dataclass
class Checked:
    """What was found in a file: what it registers, by kind and name, and the remarks about it.

    untried: those of the names that nothing is known of.
    """

    file: Path
    names: list[str] = field(default_factory=list)
    untried: list[str] = field(default_factory=list)
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
    entries = _load(path)
    at_import = [Remark(f"its import changes {change}") for change in before.changes()]
    before.restore()
    found = Checked(path, [f"{WORDS[kind_of(entry)]} {entry.name}" for entry in entries])
    kinds = {kind_of(entry) for entry in entries}
    if kinds != {"data"}:
        found.remarks += imports_no_data(tree, with_data="data" in kinds)
    found.remarks += at_import
    learning, data_sets = (
        [entry for entry in entries if (kind_of(entry) == "data") == of_data] for of_data in (False, True)
    )
    for entry in learning:
        found.remarks += _named(entry, _remarks(entry), of=entries)
    found.remarks += watch.opens_no_file()  # a data set may, from here on
    for entry in data_sets:
        remarks = list(_remarks(entry))
        found.remarks += _named(entry, iter(remarks), of=entries)
        if any(remark.text.startswith(UNTRIED) for remark in remarks):
            found.untried.append(f"{WORDS['data']} {entry.name}")
    return found


def _named(entry: Entry, remarks: Iterator[Remark], of: list[Entry]) -> Iterator[Remark]:
    """The remarks about one entry of a file, with its name where there are several."""
    whose = f"{entry.name}: " if len(of) > 1 else ""
    return (replace(remark, text=whose + remark.text) for remark in remarks)


def _load(path: Path) -> list[Entry]:
    """What a file registers, also if that belongs to the catalogue."""
    of_catalogue = [
        entry
        for registry in REGISTRIES.values()
        for entry in registry.values()
        if Path(inspect.getfile(home_of(entry))) == path
    ]
    if of_catalogue:
        return of_catalogue
    try:
        with _limited():
            return load_plugin(path)
    except PluginError:
        raise
    except BaseException as error:  # a plugin is a user's code: it may raise anything, also SystemExit
        line = raised(error, path).line
        raise UserError(f"{path}{f':{line}' if line else ''}: {described(error)}") from None


STAGES: Mapping[Kind, Sequence[Sequence[Callable[[Any], Iterator[Remark]]]]] = {
    "method": method.STAGES,
    "model": model.STAGES,
    "data": data.STAGES,
}


def _remarks(entry: Entry) -> Iterator[Remark]:
    """The remarks of the first stage that finds a fault, and the notes before it."""
    before, home = SharedState.now(), home_of(entry)
    subject: Any = entry
    if isinstance(entry, Dataset):
        if problem := _cannot_be_read(entry):
            yield note(problem, line_of(home))
            return
        subject = data.Example(entry, resolve_options(entry, {}))
    if isinstance(entry, Model):
        try:
            with _limited():
                subject = model.small_form_of(entry)
        except BaseException as error:
            yield raised(error, home)
            return
    for stage in STAGES[kind_of(entry)]:
        found = [remark for rule in stage for remark in carried_out(rule, subject, home)]
        yield from found
        if any(remark.fault for remark in found):
            break
    else:
        yield from (Remark(f"a training changes {change}") for change in before.changes(may_draw=True))
    before.restore()


def _cannot_be_read(dataset: Dataset) -> str:
    """Why a data set cannot be tried here, or nothing."""
    if dataset.required:
        return f"{UNTRIED}: it needs the options {', '.join(dataset.required)}"
    if missing := dataset.absent(resolve_options(dataset, {})):
        return f"{UNTRIED}: its files are not there ({', '.join(map(str, missing))})"
    return ""


def carried_out(
    rule: Callable[[Any], Iterator[Remark]], subject: Any, home: Callable[..., Any]
) -> list[Remark]:
    """The remarks of one rule; whatever the code of the file of `home` raises in it is one."""
    try:
        with _limited():
            return list(rule(subject))
    except BaseException as error:
        return [raised(error, home)]


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

"""Tiny sweeps that run into trouble at a chosen call, and all that must hold of them then and in the end."""

import errno
import functools
import hashlib
import itertools
import multiprocessing
import os
import shutil
from collections.abc import Callable
from multiprocessing import forkserver
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from suite.checks.adopt import adoption
from suite.data import Splits, load_test
from suite.data.held import ReadTest, splits_on
from suite.experiment.plan import Plan
from suite.machine.errors import UserError
from suite.machine.plugin_file import source_of
from suite.records.files import make_folder, read_json
from suite.records.run import FILES, WEIGHTS, RunFolder
from suite.records.trial import Choice, Trial
from suite.records.weights import read_kept
from suite.sweep import pool as pool_room
from suite.sweep.coordinator import Sweep, prepare_folder
from suite.sweep.messages import Done, EpochDone, Failed, Kept, Lost, Message, Preempted
from suite.sweep.pool import LocalPool, Machine, Pool
from suite.sweep.worker import run_once
from tests.support.instants import Instants, fail, kill
from tests.support.tiny import CPU, SPEC, tiny_plan
from tests.support.warm import Warm

KEEP = "train.keep_weights=true"
BOP = ("methods=[bop]", "train.epochs=2", "train.batch_size=100", "seeds=1", KEEP)
RANDOM = (*BOP, "tuning={trials: 2, studies: 2}")
TPE = (*BOP, "tuning={tpe: {trials: 4, at_once: 2}}")
MODELS = "[{name: mlp, hidden: [16]}, {name: mlp, label: wide, hidden: [24]}]"
MOVED = (  # winners run on the other task too
    *BOP,
    "tuning={trials: 2, transfer: true}",
    f"tasks=[{{data: {{name: digits, train_limit: 200}}, model: {MODELS}}}]",
)

# ---- one attempt, in a process of its own


class Trouble(NamedTuple):
    """What happens at which call that writes: a kill, or an error; and all but EIO last."""

    at: int
    error: int = 0  # 0: a kill

    def __str__(self) -> str:
        return f"{errno.errorcode[self.error] if self.error else 'a kill'} at call {self.at}"


class Outcome(NamedTuple):
    """How a sweep ended that was not killed: is it complete, what was said, stopped it, was written."""

    complete: bool
    said: list[str]
    stopped: str
    calls: list[str]


class InlinePool:
    """One slot, in the coordinator's own process, that writes a checkpoint after every epoch."""

    def __init__(self, keep_weights: bool = False) -> None:
        self.messages: list[Message] = []
        self.keep_weights = keep_weights

    @property
    def free(self) -> int:
        return not self.messages

    def submit(self, folder: Path, trial: Trial) -> None:
        message = run_once(folder, trial, CPU, 0.0, self.messages.append, keep_weights=self.keep_weights)
        self.messages.append(message)

    def listen(self, timeout: float | None) -> list[Message]:
        messages, self.messages = self.messages, []
        return messages

    def lend(self, data: Choice, splits: Splits, read_test: ReadTest = load_test) -> str:
        return ""

    def stop(self, seconds: float) -> list[Message]:
        return []

    def close(self) -> None:
        pass


def swept(place: Path, *changes: str, text: str = SPEC) -> Plan:
    """The plan of the tiny experiment, after its sweep in place/results, in this process."""
    plan = tiny_plan(place, *changes, text=text)
    prepare_folder(plan, place / "results", {"digits": splits_on(CPU, plan.cells[0].data, False).record})
    Sweep(plan, place / "results", InlinePool(plan.keep_weights)).run()
    return plan


def attempt(
    place: Path, changes: tuple[str, ...], trouble: Trouble | None = None, archive: Path | None = None
) -> Outcome:
    """The sweep in place/results, begun or gone on with, in this process alone.

    It adopts the runs of the archive.
    """
    strike = None
    if trouble:
        strike = functools.partial(fail, trouble.error) if trouble.error else kill
    lasting = trouble is not None and trouble.error not in (0, errno.EIO)
    instants = Instants(place / "results", trouble.at if trouble else 0, strike, lasting).watch()
    return _sweep(place, changes, InlinePool(KEEP in changes), instants.calls, archive=archive)


def attempt_with_workers(
    place: Path,
    changes: tuple[str, ...],
    plugin: str | None = None,
    die_at: int = 0,
    archive: Path | None = None,
) -> Outcome:
    """The same with the real pool of two workers, forks of this process.

    They execute the plugin before their first trial. The coordinator dies of message number `die_at`,
    counted from 1.
    """
    fork = multiprocessing.get_context("fork")
    multiprocessing.get_context = lambda method=None: fork  # type: ignore[assignment]
    forkserver.ensure_running = lambda: None
    plugins = {source_of(Path(plugin)): plugin} if plugin else {}
    pool_room.files_of = lambda trial, plugins: plugins  # also of trials that use nothing of it
    machine = Machine(("cpu", "cpu"), checkpoint_every=0.0, keep_weights=KEEP in changes)
    with LocalPool(machine, plugins) as pool:
        return _sweep(place, changes, pool, [], die_at, archive)


def _sweep(
    place: Path,
    changes: tuple[str, ...],
    pool: Pool,
    calls: list[str],
    die_at: int = 0,
    archive: Path | None = None,
) -> Outcome:
    plan, folder = tiny_plan(place, *changes), place / "results"
    record = splits_on(CPU, plan.cells[0].data, False).record
    epochs = os.open(place / "epochs", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    said: list[str] = []
    messages = itertools.count(1)

    def on_message(message: Message, trial: Trial, cell: str) -> None:
        if next(messages) == die_at:
            kill(place)
        match message:
            case EpochDone():
                os.write(epochs, b".")
            case Done(notes=text) | Kept(notes=text) | Preempted(text=text):
                said.extend([text] if text else [])
            case Lost(failure=failure):
                said.append(failure.error)
            case Failed(failure=failure):
                said.append(failure.error if failure else "failed")

    try:
        make_folder(folder)
        with adoption(archive, folder, plan.record, {"digits": record}) as adopted:
            said += [*prepare_folder(plan, folder, {"digits": record}), *adopted.carry_out()]
        complete = Sweep(plan, folder, pool, on_message=on_message, on_note=said.append).run()
        return Outcome(complete, said, "", calls)
    except (OSError, UserError) as error:
        return Outcome(False, said, str(error), calls)


# ---- what must hold


class Unbroken(NamedTuple):
    """A sweep that nothing disturbed: its records, the calls by which it writes, the epochs it trains."""

    changes: tuple[str, ...]
    records: dict[str, Any]
    calls: list[str]
    epochs: int


def unbroken(warm: Warm, place: Path, changes: tuple[str, ...]) -> Unbroken:
    """Run the sweep without trouble in place/results."""
    ended = warm.run(attempt, place, changes)
    assert ended.code == 0 and ended.value.complete, ended
    assert leftovers(place / "results") == []
    calls = ended.value.calls
    return Unbroken(changes, records_of(place / "results"), calls, (place / "epochs").stat().st_size)


def problems(warm: Warm, place: Path, right: Unbroken, *troubles: Trouble) -> list[str]:
    """Run into one trouble after the other, then to the end; all that is not as it must be. Empties place."""
    found, folder = [], place / "results"
    done: dict[str, tuple[int, bytes]] = {}
    for trouble in troubles:
        code, outcome = warm.run(attempt, place, right.changes, trouble)
        if trouble.error and (code or not outcome.complete):
            found += _badly_told(folder, outcome if code == 0 else str(outcome))
        elif code not in (0, -9):
            found.append(str(outcome))
        found += [f"{path} is not whole" for path in half_files(folder)]
        found += [f"{run} was done twice" for run in done if finished(folder).get(run) != done[run]]
        done = finished(folder)
    code, outcome = warm.run(attempt, place, right.changes)
    if code or not outcome.complete or outcome.said:
        found.append(f"at last: {outcome}")
    else:
        found += [f"{run} was done twice" for run in done if finished(folder)[run] != done[run]]
        found += [] if records_of(folder) == right.records else ["other records"]
        found += [f"{name} was left" for name in leftovers(folder)]
    if (trained := (place / "epochs").stat().st_size) > right.epochs + len(troubles):
        found.append(f"trained {trained} epochs of {right.epochs}")
    shutil.rmtree(place)
    place.mkdir()
    return [f"{', '.join(map(str, troubles))}: {text}" for text in found]


def _badly_told(folder: Path, outcome: Outcome | str) -> list[str]:
    """A disk's trouble must stop the sweep with a message that names a file and what to do."""
    told = outcome if isinstance(outcome, str) else outcome.stopped
    named = f"cannot write {folder.resolve()}" in told or f"cannot write {folder}" in told
    return [] if named and "the same command resumes from here" in told else [f"told: {told!r}"]


def records_of(folder: Path) -> dict[str, Any]:
    """What must not depend on what happened on the way: all digests, kept networks, plan and ledgers."""
    runs = {path.name: RunFolder(path).whole() for path in sorted((folder / "runs").iterdir())}
    others = [folder / "plan.json", *folder.glob("data/*.json"), *folder.glob("cells/*.json")]
    return {
        **{name: result and (result.digest, result.files.get(WEIGHTS)) for name, result in runs.items()},
        **{str(path.relative_to(folder)): read_json(path) for path in sorted(others)},
    }


def finished(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Every result that is there: the file itself and its content. None may ever be written again."""
    paths = sorted((folder / "runs").glob("*/result.json"))
    return {path.parent.name: (path.stat().st_ino, path.read_bytes()) for path in paths}


def half_files(folder: Path) -> list[str]:
    """The files that are not what was to be written under their names."""
    readers: dict[str, Callable[[Path], Any]] = {
        "*.json": read_json,
        "checkpoint*.pt": _read_checkpoint,
        "*.npz": lambda path: np.load(path)["flips"],
        "*.npy": np.load,
        "*.safetensors": lambda path: read_kept(path.read_bytes(), path),
    }
    half = []
    for pattern, read in readers.items():
        for path in folder.rglob(pattern):
            try:
                read(path)
            except (ValueError, EOFError, OSError):
                half.append(str(path.relative_to(folder)))
    return half


def _read_checkpoint(path: Path) -> None:
    content = path.read_bytes()
    if hashlib.sha256(content[32:]).digest() != content[:32]:
        raise ValueError


KEPT = ("plan.json", "optuna.log", ".lock", "data/*.json", "cells/*.json", "runs/*/.lock")
KEPT_OF_RUNS = (*FILES, "result.json")


def leftovers(folder: Path) -> list[str]:
    """The files that are no part of a finished experiment."""
    patterns = [*KEPT, *(f"runs/*/{name}" for name in KEPT_OF_RUNS)]
    kept = {path for pattern in patterns for path in folder.glob(pattern)}
    there = {path for path in folder.rglob("*") if path.is_file()}
    return sorted(str(path.relative_to(folder)) for path in there - kept)

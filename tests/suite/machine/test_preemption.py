"""SIGTERM: the sweep saves its runs and says so, and the same command ends with the same records."""

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from optimizers import METHODS
from suite.data.held import splits_on
from suite.experiment.plan import Plan
from suite.machine import preemption
from suite.machine.preemption import StopRequested, heed_sigterm
from suite.plugins import PLUGINS
from suite.records.run import RunFolder
from suite.records.schema import Failure
from suite.records.trial import Trial
from suite.sweep.coordinator import ATTEMPTS, GRACE, POLL, Sweep, prepare_folder
from suite.sweep.messages import Done, EpochDone, Kept, Lost, Message, Preempted
from suite.sweep.pool import LocalPool, Machine
from tests.suite.sweep.test_coordinator import PretendPool
from tests.support.paths import ROOT
from tests.support.tiny import CPU, digests, tiny_plan

SPEC = """
version: 1
summary: Three runs of about a second.
tasks:
  - {data: {name: digits, train_limit: 200}, model: {name: mlp, hidden: [16]}}
methods: [bop]
train: {epochs: 40, batch_size: 50}
tuning: {trials: 2}
seeds: 1
"""
OnMessage = Callable[[Message, Trial, str], None]


@pytest.fixture
def stop(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """The event that SIGTERM to this process sets, for one test."""
    event, before = threading.Event(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(preemption, "_stop", event)
    heed_sigterm()
    yield event
    signal.signal(signal.SIGTERM, before)


def sweep(plan: Plan, folder: Path, on_message: OnMessage, pool: LocalPool | None = None) -> bool:
    prepare_folder(plan, folder, {})
    data = plan.cells[0].data
    with pool or LocalPool(Machine(("cpu", "cpu"))) as chosen:
        assert chosen.lend(data, splits_on(CPU, data, False)) == ""
        return Sweep(plan, folder, chosen, on_message=on_message).run()


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The digests of a sweep that nobody told to stop."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert sweep(tiny_plan(folder, text=SPEC), folder / "results", lambda message, trial, cell: None)
    return digests(folder / "results" / "runs")


def test_a_sweep_that_is_told_to_stop_saves_and_goes_on_with_the_same_bits(
    tmp_path: Path, unbroken: dict[str, str], stop: threading.Event
) -> None:
    plan, folder = tiny_plan(tmp_path, text=SPEC), tmp_path / "results"
    messages: list[Message] = []
    at: list[float] = []

    def stop_in_mid_run(message: Message, trial: Trial, cell: str) -> None:
        messages.append(message)
        if len(messages) == 10:
            at.append(time.monotonic())
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(StopRequested):
        sweep(plan, folder, stop_in_mid_run)
    assert time.monotonic() - at[0] < GRACE / 2  # it does not wait when all have saved
    assert {type(message) for message in messages} == {EpochDone, Preempted}
    trained = {message.run_id: message.epoch for message in messages if isinstance(message, EpochDone)}
    assert all(list((folder / "runs" / run).glob("checkpoint*.pt")) for run in trained)

    stop.clear()
    again: list[Message] = []
    assert sweep(plan, folder, lambda message, trial, cell: again.append(message))
    assert digests(folder / "runs") == unbroken
    for run, last in trained.items():  # no saved epoch is trained again
        epochs = [each.epoch for each in again if isinstance(each, EpochDone) and each.run_id == run]
        assert epochs[0] == last + 1


def test_a_worker_that_is_told_to_stop_hands_its_run_to_another(
    tmp_path: Path, unbroken: dict[str, str]
) -> None:
    plan, folder = tiny_plan(tmp_path, text=SPEC), tmp_path / "results"
    messages: list[Message] = []
    pool = LocalPool(Machine(("cpu", "cpu")))

    def stop_its_worker(message: Message, trial: Trial, cell: str) -> None:
        messages.append(message)
        if len(messages) == 5:
            for worker in pool.workers:
                if worker.trial == trial and worker.process.pid:
                    os.kill(worker.process.pid, signal.SIGTERM)

    assert sweep(plan, folder, stop_its_worker, pool)
    kinds = [type(message) for message in messages]
    assert kinds.count(Preempted) == 1 and kinds.count(Done) == 3
    assert set(kinds) - {Kept} == {EpochDone, Preempted, Done}  # the winner is the published default
    (preempted,) = (message for message in messages if isinstance(message, Preempted))
    assert re.fullmatch(r"stopped after step \d+ of 160, and saved; it resumes .*", preempted.text)
    assert digests(folder / "runs") == unbroken


class UnrestPool(PretendPool):
    """Every trial is asked to stop, many times."""

    stops = 4 * ATTEMPTS

    def listen(self, timeout: float) -> list[Message]:
        messages = super().listen(timeout)
        if self.stops <= 0:
            return messages
        self.stops -= len(messages)
        return [Preempted(message.run_id, "stopped") for message in messages]


def test_being_told_to_stop_is_not_one_of_the_attempts_that_a_run_has(tmp_path: Path) -> None:
    plan, folder = tiny_plan(tmp_path, text=SPEC), tmp_path / "results"
    prepare_folder(plan, folder, {})
    kinds: list[type] = []
    pool = UnrestPool(2)
    assert Sweep(
        plan, folder, pool, on_message=lambda message, trial, cell: kinds.append(type(message))
    ).run()
    assert kinds == [Preempted] * 4 * ATTEMPTS + [Done] * 3 + [Kept]  # the winner is the published default


class EndingPool(PretendPool):
    """Loses every trial. Asked to stop in the last attempt of both: then one ends, and one is lost."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(2)
        self.event, self.attempts, self.waits = stop, 0, []

    def submit(self, folder: Path, trial: Trial) -> None:
        super().submit(folder, trial)
        self.attempts += 1
        if self.attempts == 2 * ATTEMPTS:
            self.event.set()

    def listen(self, timeout: float) -> list[Message]:
        self.waits.append(timeout)
        if self.event.is_set():
            return []
        return [lost(message.run_id) for message in super().listen(timeout)]

    def stop(self, seconds: float) -> list[Message]:
        assert 10 <= seconds <= 25  # of the 30 that Kubernetes and Slurm give by default
        one, other = super().listen(seconds)
        return [lost(one.run_id), other]


class LeavingPool(PretendPool):
    """Its workers hear of the stop before the coordinator looks."""

    def __init__(self, stop: threading.Event) -> None:
        super().__init__(2)
        self.event, self.submitted = stop, 0

    def submit(self, folder: Path, trial: Trial) -> None:
        super().submit(folder, trial)
        self.submitted += 1

    def listen(self, timeout: float) -> list[Message]:
        self.event.set()
        return [Preempted(message.run_id, "stopped") for message in super().listen(timeout)]

    def stop(self, seconds: float) -> list[Message]:
        return []


def test_nothing_new_is_started_once_a_stop_is_asked_for(tmp_path: Path, stop: threading.Event) -> None:
    """What workers are forked from may have ended, too."""
    plan, folder, pool = tiny_plan(tmp_path, text=SPEC), tmp_path / "results", LeavingPool(stop)
    prepare_folder(plan, folder, {})
    with pytest.raises(StopRequested):
        Sweep(plan, folder, pool).run()
    assert pool.submitted == 2


@pytest.mark.parametrize("error", [EOFError, BrokenPipeError])
def test_a_worker_starts_although_what_it_is_forked_from_has_just_ended(
    monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    starts, start = itertools.count(), ForkServerProcess.start

    def fails_once(process: ForkServerProcess) -> None:
        if next(starts) == 0:
            raise error
        start(process)

    monkeypatch.setattr(ForkServerProcess, "start", fails_once)
    with LocalPool(Machine(("cpu",))) as pool:
        assert pool._start().process.is_alive()


def lost(run_id: str) -> Message:
    return Lost(run_id, Failure(kind="worker died", error="gone"))


def test_what_ends_in_the_moment_of_the_stop_is_kept_and_what_is_lost_then_does_not_count(
    tmp_path: Path, stop: threading.Event
) -> None:
    plan, folder, pool = tiny_plan(tmp_path, text=SPEC), tmp_path / "results", EndingPool(stop)
    kinds: list[type] = []
    prepare_folder(plan, folder, {})
    with pytest.raises(StopRequested):
        Sweep(plan, folder, pool, on_message=lambda message, trial, cell: kinds.append(type(message))).run()
    assert kinds == [Lost] * 4 + [Done]
    assert not list(folder.rglob("failure.json"))
    assert max(pool.waits) <= POLL  # it never waits for ever: it would not see a signal that comes then


def test_a_sweep_that_is_told_before_it_begins_gives_out_nothing(
    tmp_path: Path, stop: threading.Event
) -> None:
    plan, pool = tiny_plan(tmp_path, text=SPEC), PretendPool(2)
    prepare_folder(plan, tmp_path / "results", {})
    stop.set()
    with pytest.raises(StopRequested):
        Sweep(plan, tmp_path / "results", pool).run()
    assert pool.started == []


PLUGIN = '''
"""A method whose first step takes a minute."""
import time
from pathlib import Path
import torch
from optimizers.core import WeightRule, method, sign

class Slow(torch.optim.SGD):
    def step(self, closure=None):
        Path(__file__).with_name("steps").touch()
        end = time.monotonic() + 60
        while time.monotonic() < end:
            time.sleep(0.1)

@method(paper="https://example.org")
def slow() -> WeightRule:
    """Waits."""
    return WeightRule(sign, sign, lambda params: Slow(params, lr=0.1))
'''


def test_a_worker_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(PLUGIN)
    plan = tiny_plan(tmp_path, "plugins=[plugin.py]", "methods=[slow]")
    trial = plan.cells[0].trial(plan.cells[0].published, 0, "tune")
    METHODS.pop("slow")
    PLUGINS.pop(("method", "slow"))
    with LocalPool(Machine(("cpu",)), plan.plugins) as pool:
        pool.submit(tmp_path / "run", trial)
        (worker,) = pool.workers
        wait_for(lambda: (tmp_path / "steps").exists())
        started = time.monotonic()
        assert pool.stop(0.5) == []
        assert 0.5 <= time.monotonic() - started < 5
    assert worker.process.exitcode == -signal.SIGKILL
    assert RunFolder(tmp_path / "run").failure() is None


def test_sigterm_to_all_processes_of_the_command(tmp_path: Path, unbroken: dict[str, str]) -> None:
    """As Slurm does: the workers may hear it before the coordinator, and what they are forked from ends."""
    (tmp_path / "tiny.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "suite.cli", "sweep", str(tmp_path / "tiny.yaml"), "--workers", "2",
               "--results", str(tmp_path)]  # fmt: skip
    folder = tmp_path / "tiny"
    with subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        wait_for(lambda: process.poll() is not None or any(folder.glob("runs/*/epochs.jsonl")))
        os.killpg(process.pid, signal.SIGTERM)
        said = process.communicate(timeout=30)[1]
    assert process.returncode == 75, said
    assert "preempted" in said and "lost" not in said and "Traceback" not in said
    assert list(folder.glob("runs/*/checkpoint*.pt"))
    assert sweep(tiny_plan(tmp_path, text=SPEC), folder, lambda message, trial, cell: None)
    assert digests(folder / "runs") == unbroken


def wait_for(condition: Callable[[], bool]) -> None:
    """At most a minute."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)

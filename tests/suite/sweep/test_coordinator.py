"""The coordinator: any number of workers, any kill, the same records."""

import errno
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from optimizers import METHODS
from suite.checks.verify import Verification
from suite.cli import sweep as sweep_command
from suite.data import load_splits
from suite.experiment.cell import Cell
from suite.experiment.plan import Plan
from suite.machine.apart import apart
from suite.machine.errors import UserError
from suite.machine.preemption import StopRequested
from suite.plugins import PLUGINS
from suite.records.experiment import ExperimentFolder, OtherFormat
from suite.records.files import digest, read_json, write_json
from suite.records.run import RunFolder
from suite.records.schema import FORMAT, BytesPerWeight, Result, Scores
from suite.records.seeds import final_seed, tuning_seed
from suite.records.trial import Trial
from suite.sweep.cell import CellProgress
from suite.sweep.coordinator import GRACE, POLL, DiskFailed, Sweep, prepare_folder
from suite.sweep.messages import Busy, Done, EpochDone, Failed, Kept, Lost, Message
from suite.sweep.pool import LocalPool, Machine, default_devices
from suite.training.provenance import method_file
from tests.support.fake_records import damage
from tests.support.paths import ROOT
from tests.support.tiny import SPEC, Json, digests, tiny_plan


def sweep(plan: Plan, folder: Path, workers: int = 2, tuning_only: bool = False, on_message=None) -> bool:
    prepare_folder(plan, folder, {})
    watch = on_message or (lambda message, trial, cell: None)
    with LocalPool(Machine(("cpu",) * workers), plan.plugins) as pool:
        return Sweep(plan, folder, pool, tuning_only, watch).run()


def ledgers(folder: Path) -> dict[str, Json]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "cells").glob("*.json"))}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny experiment, run by one worker without a stop."""
    folder = tmp_path_factory.mktemp("unbroken")
    assert sweep(tiny_plan(folder), folder / "results", workers=1)
    return folder / "results"


def test_messages_name_the_cell_by_its_labels(tmp_path: Path) -> None:
    """Also of two cells that share their runs."""
    labelled = "methods=[{name: bop, label: one}, {name: bop, label: other}]"
    plan = tiny_plan(tmp_path, labelled, "tuning={trials: 0}", "seeds=1")
    named: list[tuple[str, str]] = []
    assert sweep(
        plan,
        tmp_path / "results",
        on_message=lambda message, trial, cell: named.append((type(message).__name__, cell)),
    )
    assert ("Done", "digits.mlp.one") in named and ("Kept", "digits.mlp.other") in named
    assert {cell for _, cell in named} == {"digits.mlp.one", "digits.mlp.other"}


def test_a_run_is_named_by_a_hash_of_its_trial(unbroken: Path) -> None:
    for path in (unbroken / "runs").glob("*/trial.json"):
        assert digest(read_json(path))[:16] == path.parent.name


def test_data_that_changed_are_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    record = load_splits(plan.cells[0].data).record
    prepare_folder(plan, tmp_path, {"digits": record})
    prepare_folder(plan, tmp_path, {"digits": record})
    with pytest.raises(UserError, match="have changed"):
        prepare_folder(plan, tmp_path, {"digits": replace(record, sha256="two")})


def test_data_that_changed_with_an_edit_of_their_plugin_are_taken(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    record = load_splits(plan.cells[0].data).record
    before, after = (
        replace(plan, cells=tuple(replace(cell, plugins={"data": source}) for cell in plan.cells))
        for source in ("1", "2")
    )
    prepare_folder(before, tmp_path, {"digits": record})
    (note,) = prepare_folder(after, tmp_path, {"digits": replace(record, sha256="0" * 64)})
    assert "the file of digits was edited: its runs are made again" in note
    assert ExperimentFolder(tmp_path).data("digits").sha256 == "0" * 64


def test_a_folder_of_an_older_protocol_is_refused_and_left_alone(tmp_path: Path, unbroken: Path) -> None:
    """Its runs have other ids: readers and the sweep say what to do, and nothing is written."""
    folder = tmp_path / "results"
    shutil.copytree(unbroken, folder)
    older = {"format": 3, "protocol": 3, "tuning": {"trials": 8, "sampler": "random"}, "seeds": [1001]}
    write_json(folder / "plan.json", older)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    words = (
        rf"format is 3; this flipbench reads format 4\. Runs of an older .* \(mv {folder} {folder}-before\)"
    )
    with pytest.raises(OtherFormat, match=words):
        ExperimentFolder(folder).plan()
    with pytest.raises(UserError, match=words):
        prepare_folder(tiny_plan(tmp_path), folder, {})
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_folder_of_a_newer_flipbench_is_left_alone(tmp_path: Path) -> None:
    plan, folder = tiny_plan(tmp_path), tmp_path / "results"
    prepare_folder(plan, folder, {})
    newer = {**read_json(folder / "plan.json"), "format": FORMAT + 1}
    write_json(folder / "plan.json", newer)
    for _ in range(2):
        with pytest.raises(UserError, match=rf"newer flipbench \(format {FORMAT + 1}\); this one reads"):
            prepare_folder(plan, folder, {})
    assert read_json(folder / "plan.json") == newer


def test_another_version_of_a_methods_file_is_noticed(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(unbroken, folder)
    monkeypatch.setattr(
        "suite.sweep.coordinator.method_file", lambda method: replace(method_file(method), sha256="another")
    )
    notes: list[str] = []
    assert sweep(
        tiny_plan(tmp_path), folder, on_message=lambda message, trial, cell: notes.append(message.notes)
    )
    again = "to run it again, move the results folder away and sweep with --no-adopt"
    assert sorted(filter(None, notes)) == [
        f"made with another version of bop.py; {again}",
        f"made with another version of latent.py; {again}",
    ]


def test_an_edited_plugin_is_run_anew(tmp_path: Path) -> None:
    source = PLUGIN
    for name in MISBEHAVED:
        source = source.replace(name, f"my_{name}")
    ids = []
    for edit in ("", "# edited"):
        (tmp_path / "plugin.py").write_text(source + edit)
        cell = tiny_plan(tmp_path, "plugins=[plugin.py]", "methods=[my-unlucky]").cells[0]
        ids.append(cell.trial(cell.published, 0, "tune").run_id)
    assert ids[0] != ids[1]
    for name in MISBEHAVED:
        METHODS.pop(f"my-{name}")
        PLUGINS.pop(("method", f"my-{name}"))


def trial_in(folder: Path, run: str) -> Json:
    return json.loads((folder / "runs" / run / "trial.json").read_text())


def test_every_planned_run_has_a_result(unbroken: Path) -> None:
    named: set[str] = set()
    for cell, ledger in ledgers(unbroken).items():
        assert [(study["track"], study["number"]) for study in ledger["studies"]] == [
            ("random", 0), ("random", 1)
        ]  # fmt: skip
        assert [(each["study"], each["number"]) for each in ledger["default"]] == [(0, 0), (1, 0)]
        for study, default in zip(ledger["studies"], ledger["default"], strict=True):
            assert [trial["number"] for trial in study["tuning"]] == [0, 1]
            assert [final["number"] for final in study["final"]] == [0]
            results = [RunFolder(unbroken / "runs" / trial["run"]).result() for trial in study["tuning"]]
            values = [result.scores.val_top1 for result in results if result]
            winner, final = study["winner"], study["final"][0]["run"]
            assert winner["value"] == max(values) == values[winner["number"]]
            assert (winner["number"] == 0) == (final == default["run"])  # the default is run once
            for trial in study["tuning"]:
                found = trial_in(unbroken, trial["run"])
                assert found["stage"] == "tune"
                assert found["seed"] == tuning_seed(0, cell, "random", study["number"])
            for run in (final, default["run"]):
                found = trial_in(unbroken, run)
                assert (found["stage"], found["seed"]) == ("final", final_seed(0, study["number"], 0))
            assert trial_in(unbroken, final)["real"]["lr"] == winner["hypers"]["real.lr"]
            assert trial_in(unbroken, default["run"])["real"]["lr"] == 0.01
            named |= {final, default["run"], *(trial["run"] for trial in study["tuning"])}
    assert set(digests(unbroken / "runs")) == named


def test_the_number_of_workers_changes_nothing(tmp_path: Path, unbroken: Path) -> None:
    assert sweep(tiny_plan(tmp_path), tmp_path / "results", workers=3)
    assert digests(tmp_path / "results" / "runs") == digests(unbroken / "runs")
    assert ledgers(tmp_path / "results") == ledgers(unbroken)


def test_what_is_finished_is_not_run_again(tmp_path: Path, unbroken: Path) -> None:
    kinds: list[type] = []
    assert sweep(
        tiny_plan(tmp_path), unbroken, on_message=lambda message, trial, cell: kinds.append(type(message))
    )
    assert kinds == [Kept] * tiny_plan(tmp_path).runs == [Kept] * 16


def test_a_run_that_two_cells_ask_for_is_made_once(tmp_path: Path, unbroken: Path) -> None:
    """The final runs of the published default, where one method has two labels; its studies differ."""
    changes = ("methods=[bop, {name: bop, label: twin}]", "tuning={trials: 1, studies: 2}")
    plan, folder = tiny_plan(tmp_path, *changes), tmp_path / "results"
    kinds: list[type] = []
    assert sweep(plan, folder, on_message=lambda message, trial, cell: kinds.append(type(message)))
    assert len(kinds) - kinds.count(EpochDone) == plan.runs == 12  # each planned run has its message
    assert kinds.count(Done) == 2 * 2 + 2  # tuning runs, and final runs that all four places share
    one, two = ledgers(folder).values()
    assert one["default"] == two["default"] and len(one["default"]) == 2
    tuned = [entry["run"] for each in (one, two) for study in each["studies"] for entry in study["tuning"]]
    assert len(set(tuned)) == 4
    assert digests(folder / "runs").keys() & set(tuned[:2]) <= digests(unbroken / "runs").keys()


def test_tuning_stops_before_the_final_runs_and_the_sweep_goes_on(tmp_path: Path, unbroken: Path) -> None:
    plan, folder = tiny_plan(tmp_path), tmp_path / "results"
    assert sweep(plan, folder, tuning_only=True)
    assert len(digests(folder / "runs")) == 8
    for ledger in ledgers(folder).values():
        assert all(study["winner"] and not study["final"] for study in ledger["studies"])
        assert len(ledger["studies"]) == 2 and not ledger["default"]
    assert sweep(plan, folder)
    assert digests(folder / "runs") == digests(unbroken / "runs")
    assert sweep(plan, folder, tuning_only=True)  # once more: nothing that exists is forgotten
    assert ledgers(folder) == ledgers(unbroken)
    damaged = folder / "runs" / ledgers(folder)["digits.mlp.bop"]["default"][0]["run"]
    damage(damaged / "flips.npz")
    told: list[tuple[type, str]] = []

    def watch(message: Message, trial: Trial, cell: str) -> None:
        told.append((type(message), trial.stage))

    assert sweep(plan, folder, tuning_only=True, on_message=watch)
    assert told == [(Kept, "tune")] * 8  # to make the final run again would take the test set
    assert ledgers(folder) == ledgers(unbroken)  # and it stays named, so that `verify` finds the damage
    assert "damaged" in {finding.kind for finding in Verification(folder).run().findings}


def test_without_tuning_the_published_setting_is_run(tmp_path: Path) -> None:
    plan, folder = tiny_plan(tmp_path, "tuning={trials: 0}"), tmp_path / "results"
    assert sweep(plan, folder)
    ledger = ledgers(folder)["digits.mlp.bop"]
    trial = trial_in(folder, ledger["default"][0]["run"])
    assert trial["hypers"] == METHODS["bop"].defaults and trial["seed"] == final_seed(0, 0, 0)
    assert ledger["studies"] == [] and len(ledger["default"]) == 1 == len(digests(folder / "runs")) / 2


def test_a_killed_worker_loses_only_its_trial(tmp_path: Path, unbroken: Path) -> None:
    plan, folder = tiny_plan(tmp_path), tmp_path / "results"
    prepare_folder(plan, folder, {})
    killed: list[str] = []
    messages: list[Message] = []

    def kill_until_one_is_lost(message: Message, trial: Trial, cell: str) -> None:
        """A run may end between its message and its kill: then the next one is killed."""
        messages.append(message)
        lost = any(isinstance(message, Lost) for message in messages)
        if isinstance(message, EpochDone) and not lost and trial.run_id not in killed:
            killed.append(trial.run_id)
            for victim in pool.workers:
                if victim.trial and victim.trial.run_id == trial.run_id and victim.process.pid:
                    os.kill(victim.process.pid, signal.SIGKILL)

    with LocalPool(Machine(("cpu", "cpu"))) as pool:
        assert Sweep(plan, folder, pool, on_message=kill_until_one_is_lost).run()
    assert any(isinstance(message, Lost) for message in messages)  # whichever trial the killed worker had
    assert digests(folder / "runs") == digests(unbroken / "runs")


PLUGIN = '''
"""Methods that misbehave."""
import os
import resource
from pathlib import Path
import torch
from optimizers.core import WeightRule, method, sign

def broken(params):
    if Path(__file__).with_name("mended").exists():
        return torch.optim.SGD(params, lr=0.0)
    raise RuntimeError("no such luck")

class Deadly(torch.optim.SGD):
    def step(self, closure=None):
        os._exit(9)

class Greedy(torch.optim.SGD):
    def step(self, closure=None):
        torch.empty(2**60)

class Telling(torch.optim.SGD):
    def step(self, closure=None):
        raise RuntimeError(os.environ.get("FLIPBENCH_DECODERS"))

class Hoarder(torch.optim.SGD):
    def step(self, closure=None):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))  # from here on no file takes more than that

def as_it_is(weight):
    return weight

@method(paper="https://example.org")
def unlucky() -> WeightRule:
    """Raises when it is used."""
    return WeightRule(sign, as_it_is, lambda params: broken(params) if len(list(params)) > 1 else
                      torch.optim.SGD([torch.zeros(1)], lr=0.0))

@method(paper="https://example.org")
def deadly() -> WeightRule:
    """Takes its worker along."""
    return WeightRule(sign, as_it_is, lambda params: Deadly(params, lr=0.1))

@method(paper="https://example.org")
def greedy() -> WeightRule:
    """Asks for more memory than there is."""
    return WeightRule(sign, as_it_is, lambda params: Greedy(params, lr=0.1))

@method(paper="https://example.org")
def telling() -> WeightRule:
    """Tells what its process sees."""
    return WeightRule(sign, as_it_is, lambda params: Telling(params, lr=0.1))

@method(paper="https://example.org")
def hoarder() -> WeightRule:
    """Leaves no room on the disk."""
    return WeightRule(sign, as_it_is, lambda params: Hoarder(params, lr=0.1))
'''
MISBEHAVED = ("unlucky", "deadly", "greedy", "telling", "hoarder")


@pytest.fixture
def plugin(tmp_path: Path):
    (tmp_path / "plugin.py").write_text(PLUGIN)
    yield
    for name in MISBEHAVED:
        METHODS.pop(name, None)
        PLUGINS.pop(("method", name), None)


def named_in(ledger: Json) -> set[str]:
    """The runs that a ledger names."""
    entries = [*ledger["default"]]
    for study in ledger["studies"]:
        entries += study["tuning"] + study["final"]
    return {entry["run"] for entry in entries}


@pytest.mark.usefixtures("plugin")
def test_one_bad_cell_never_stops_a_sweep(tmp_path: Path, unbroken: Path) -> None:
    plan = tiny_plan(tmp_path, "plugins=[plugin.py]", "methods=[unlucky, bop]")
    folder = tmp_path / "results"
    assert not sweep(plan, folder)
    done = digests(folder / "runs")
    bops = named_in(ledgers(folder)["digits.mlp.bop"])
    assert done.items() <= digests(unbroken / "runs").items() and done.keys() == bops  # and only bop's
    ledger = ledgers(folder)["digits.mlp.unlucky"]
    study = ledger["studies"][0]
    assert study["winner"] is None and study["final"] == [] and len(study["tuning"]) == 2
    failure = RunFolder(folder / "runs" / study["tuning"][0]["run"]).failure()
    assert failure and failure.error == "RuntimeError: no such luck" and "in broken" in failure.traceback

    (tmp_path / "mended").touch()  # a failure is never cached: the next sweep tries again
    assert sweep(plan, folder)
    ledger = ledgers(folder)["digits.mlp.unlucky"]
    assert all(study["winner"] for study in ledger["studies"])
    assert digests(folder / "runs").keys() == bops | named_in(ledger)
    assert not list((folder / "runs").glob("*/failure.json"))


@pytest.mark.parametrize("blocked", ["a file", "a link"])
def test_one_folder_that_cannot_be_written_never_stops_a_sweep(
    tmp_path: Path, unbroken: Path, blocked: str
) -> None:
    """Others are trained, and the run fails; nothing can be written where it should."""
    plan, folder = tiny_plan(tmp_path), tmp_path / "results"
    (lost,) = ledgers(unbroken)["digits.mlp.bop"]["studies"][0]["tuning"][1:2]
    (folder / "runs").mkdir(parents=True)
    place = folder / "runs" / lost["run"]
    place.write_text("mine") if blocked == "a file" else place.symlink_to(tmp_path)
    failures: list[Failed] = []
    keep = lambda message, *_: failures.append(message) if isinstance(message, Failed) else None  # noqa: E731
    assert not sweep(plan, folder, on_message=keep)
    (failure,) = {each.failure for each in failures if each.failure}
    assert failure.error.endswith(", 3 times") and failure.where == ""  # no step was taken
    assert set(ledgers(folder)) == set(ledgers(unbroken)) and len(digests(folder / "runs")) >= 8


def test_a_result_that_cannot_be_read_for_a_moment_is_the_workers_to_read(
    tmp_path: Path, unbroken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(unbroken, folder := tmp_path / "results")
    whole, failing = RunFolder.whole, [True]

    def stale(run: RunFolder) -> Result | None:
        if failing and failing.pop():
            raise OSError(errno.ESTALE, "Stale file handle")
        return whole(run)

    monkeypatch.setattr(RunFolder, "whole", stale)
    assert sweep(tiny_plan(tmp_path), folder) and not failing
    assert digests(folder / "runs") == digests(unbroken / "runs")


def test_a_stop_while_the_test_images_are_read_lets_the_workers_save(tmp_path: Path) -> None:
    plan, asked = tiny_plan(tmp_path, "methods=[bop]"), []

    class Reading(PretendPool):
        def submit(self, folder: Path, trial: Trial) -> None:
            if trial.stage == "final":
                raise StopRequested
            super().submit(folder, trial)

        def stop(self, seconds: float) -> list[Message]:
            asked.append(seconds)
            return super().stop(seconds)

    prepare_folder(plan, tmp_path / "results", {})
    with pytest.raises(StopRequested):
        Sweep(plan, tmp_path / "results", Reading(1)).run()
    assert asked == [GRACE]


@pytest.mark.usefixtures("plugin")
def test_a_worker_sees_the_variables_of_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also those that are set after the process that it is forked from has started."""
    assert apart([], os.getpid) != os.getpid()
    monkeypatch.setenv("FLIPBENCH_DECODERS", "17")
    changes = ("plugins=[plugin.py]", "methods=[telling]", "tuning={trials: 0}", "seeds=1")
    assert not sweep(tiny_plan(tmp_path, *changes), tmp_path / "results")
    (failed,) = tmp_path.glob("results/runs/*/failure.json")
    assert read_json(failed)["error"] == "RuntimeError: 17"


@pytest.mark.usefixtures("plugin")
def test_a_run_that_takes_its_worker_along_fails_at_last(tmp_path: Path) -> None:
    changes = ("plugins=[plugin.py]", "methods=[deadly]", "tuning={trials: 0}", "seeds=1")
    plan, folder = tiny_plan(tmp_path, *changes), tmp_path / "results"
    kinds: list[type] = []
    assert not sweep(plan, folder, on_message=lambda message, trial, cell: kinds.append(type(message)))
    assert kinds == [Lost, Lost, Failed]
    (failed,) = (folder / "runs").glob("*/failure.json")
    failure = read_json(failed)
    assert failure["kind"] == "worker died" and failure["error"] == "its worker died (exit code 9), 3 times"


@pytest.mark.usefixtures("plugin")
def test_a_run_for_which_memory_runs_out_fails_at_last(tmp_path: Path) -> None:
    changes = ("plugins=[plugin.py]", "methods=[greedy]", "tuning={trials: 0}", "seeds=1")
    plan, folder = tiny_plan(tmp_path, *changes), tmp_path / "results"
    kinds: list[type] = []
    assert not sweep(plan, folder, on_message=lambda message, trial, cell: kinds.append(type(message)))
    assert kinds == [Lost, Lost, Failed]
    (failed,) = (folder / "runs").glob("*/failure.json")
    failure = read_json(failed)
    assert failure["kind"] == "out of memory" and failure["where"] == "in step 1"
    assert "allocate memory" in failure["error"] and "in step" in failure["traceback"]


@pytest.mark.usefixtures("plugin")
def test_a_full_disk_stops_the_sweep_at_once(tmp_path: Path, unbroken: Path) -> None:
    plan = tiny_plan(tmp_path, "plugins=[plugin.py]", "methods=[hoarder, bop]")
    folder = tmp_path / "results"
    with pytest.raises(DiskFailed, match=rf"cannot write {folder}/runs/.*: File too large; raise the limit"):
        sweep(plan, folder, workers=1)
    assert not list((folder / "runs").glob("*/failure.json"))  # no run is to blame
    plan = tiny_plan(tmp_path, "methods=[bop]")
    assert sweep(plan, folder)
    assert digests(folder / "runs").items() <= digests(unbroken / "runs").items()


def test_a_damaged_result_is_set_aside_and_the_run_repeated(tmp_path: Path, unbroken: Path) -> None:
    plan, folder = tiny_plan(tmp_path), tmp_path / "results"
    assert sweep(plan, folder)
    victim = next((folder / "runs").glob("*/result.json"))
    victim.write_text(victim.read_text()[:50])
    messages: list[Message] = []
    assert sweep(plan, folder, on_message=lambda message, trial, cell: messages.append(message))
    notes = [message.notes for message in messages if isinstance(message, Done)]
    assert len(notes) == 1 and "damaged" in notes[0] and str(victim) in notes[0]
    assert victim.with_name("result.json.damaged").exists()
    assert digests(folder / "runs") == digests(unbroken / "runs")


def test_a_run_that_another_process_has_is_waited_for(tmp_path: Path) -> None:
    plan, folder = tiny_plan(tmp_path, "tuning={trials: 0}", "seeds=1", "methods=[bop]"), tmp_path / "results"
    progress = CellProgress(plan, plan.cells[0], ExperimentFolder(folder), tuning_only=False)
    taken = folder / "runs" / progress.ready()[0].run_id
    kinds: list[type] = []
    hold = [sys.executable, "-c", HOLD, str(taken)]
    pipe = subprocess.PIPE
    with subprocess.Popen(hold, stdin=pipe, stdout=pipe, text=True, cwd=ROOT) as holder:
        assert holder.stdin and holder.stdout and holder.stdout.readline() == "held\n"
        let_go = holder.stdin.close

        def on_message(message: Message, trial: Trial, cell: str) -> None:
            kinds.append(type(message))
            if isinstance(message, Busy):
                threading.Timer(4 * POLL, let_go).start()  # the sweep looks several times, and says it once

        assert sweep(plan, folder, on_message=on_message)
    assert kinds.count(Busy) == 1 and kinds[0] == Busy and kinds[-1] == Done


HOLD = """
import sys
from pathlib import Path
from suite.records.files import owned
with owned(Path(sys.argv[1])) as mine:
    assert mine
    print("held", flush=True)
    sys.stdin.read()
"""


def test_kill_9_of_the_command_at_a_random_instant_and_its_sweep_again(
    tmp_path: Path, unbroken: Path
) -> None:
    """The coordinator and, with it, its workers: what is left always leads to the same records."""
    (tmp_path / "tiny.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "suite.cli", "sweep", str(tmp_path / "tiny.yaml"), "--workers", "2",
               "--results", str(tmp_path / "results")]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    runs = tmp_path / "results" / "tiny" / "runs"
    deadline = time.monotonic() + 60
    while process.poll() is None and not any(runs.glob("*/trial.json")) and time.monotonic() < deadline:
        time.sleep(0.02)  # let it begin, then kill it at any instant
    time.sleep(random.uniform(0.0, 0.5))
    process.kill()
    process.wait()
    folder = runs.parent
    assert sweep(tiny_plan(tmp_path), folder)
    assert digests(folder / "runs") == digests(unbroken / "runs")
    assert ledgers(folder) == ledgers(unbroken)


def test_devices() -> None:
    assert default_devices("cpu", 3) == ("cpu",) * 3
    assert default_devices("cpu", None) == ("cpu",) * len(os.sched_getaffinity(0))
    assert default_devices("mps", None) == ("mps",)


def test_no_more_workers_are_made_than_there_are_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLIPBENCH_DECODERS", "0")
    planned = tiny_plan(tmp_path)
    pool, workers = sweep_command._pool(planned, tmp_path, sweep_command.Machines("local", "cpu", 500, 1))
    with pool:
        assert workers == pool.free == planned.runs < 500


RESULT = Result(
    status="done",
    epochs=1,
    steps=1,
    scores=Scores(val_loss=1.0, val_top1=0.5, val_top5=1.0),
    layers=[],
    binary_weights=1,
    real_parameters=1,
    bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=4.0),
)


class PretendPool:
    """Runs nothing: every trial is done as soon as one listens."""

    def __init__(self, slots: int) -> None:
        self.free, self.started = slots, []

    def submit(self, folder: Path, trial: Trial) -> None:
        self.free -= 1
        self.started.append(trial)

    def listen(self, timeout: float) -> list[Message]:
        ended, self.started = self.started, []
        self.free += len(ended)
        return [Done(trial.run_id, RESULT) for trial in ended]

    def stop(self, seconds: float) -> list[Message]:
        return self.listen(seconds)

    def lend(self, data: object, splits: object, read_test: object = None) -> str:
        return ""

    def close(self) -> None: ...


def test_the_next_trials_are_given_out_before_the_bookkeeping(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, "methods=[bop]", "tuning={trials: 7}", "seeds=3")
    pool, busy = PretendPool(2), []
    prepare_folder(plan, tmp_path / "results", {})
    assert Sweep(plan, tmp_path / "results", pool, on_message=lambda *_: busy.append(len(pool.started))).run()
    # 7 tuning trials and 3 final runs of the default in pairs: while one is booked the next one runs. The
    # default wins the tie of this pool, so its final runs are the winner's, who waits for none.
    assert busy == [2] * 9 + [0] * 4


def test_a_cell_ends_before_the_next_one_begins(tmp_path: Path) -> None:
    """So a sweep that is stopped leaves whole cells. The last draws win here."""
    plan = tiny_plan(tmp_path, "methods=[bop, frozen, latent-sgd]", "tuning={trials: 4}", "seeds=2")
    done: list[tuple[str, str]] = []

    class RisingPool(PretendPool):
        def listen(self, timeout: float) -> list[Message]:
            messages: list[Message] = []
            for message in super().listen(timeout):
                assert isinstance(message, Done)
                scores = replace(RESULT.scores, val_top1=0.5 + 0.001 * len(done))
                messages.append(Done(message.run_id, replace(RESULT, scores=scores)))
            return messages

    prepare_folder(plan, tmp_path / "results", {})
    watch = lambda message, trial, cell: done.append((trial.method.name, trial.stage))  # noqa: E731
    assert Sweep(plan, tmp_path / "results", RisingPool(1), on_message=watch).run()
    made = [name for name, _ in dict.fromkeys(done)]
    assert len(done) > len(plan.cells) * 6
    assert made == ["bop", "bop", "frozen", "frozen", "latent-sgd", "latent-sgd"]
    names = [name for name, _ in done]
    assert all(names[: names.count("bop")].count(name) == 0 for name in ("frozen", "latent-sgd"))


@pytest.mark.parametrize(
    ("track", "writes"),
    [("random: {trials: 10, studies: 3}", 4), ("tpe: {trials: 30, at_once: 10}", 4)],
    ids=["random", "tpe"],
)
def test_what_a_run_costs_the_coordinator_does_not_grow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, track: str, writes: int
) -> None:
    """Each trial is made once and each ledger is written when it changes, however many trials there are."""
    made, written = [], []
    make = Cell.trial
    monkeypatch.setattr(Cell, "trial", lambda *given: made.append(given) or make(*given))
    monkeypatch.setattr("suite.sweep.cell.write_json", lambda path, value: written.append(path))
    plan = tiny_plan(tmp_path, "methods=[bop]", f"tuning={{{track}}}")
    prepare_folder(plan, tmp_path / "results", {})
    made.clear()  # what plan.json shows
    assert Sweep(plan, tmp_path / "results", PretendPool(4)).run()
    assert len(made) <= 30 + 2 * 3 + 1  # trials, final runs of winners and default, and the first of these
    assert len(written) == writes  # per batch of draws, and each winner

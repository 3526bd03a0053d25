"""Files are written whole or not at all, damage is noticed, and a run has one owner."""

import errno
import fcntl
import json
import math
import os
import pickle
import resource
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from suite.records.codec import decode, encode
from suite.records.files import (
    DamagedRecord,
    WriteError,
    canonical,
    digest,
    owned,
    read_json,
    set_aside,
    unsealed,
    write_array,
    write_atomically,
    write_json,
)
from suite.records.run import RunFolder
from suite.records.schedules import Cosine
from suite.records.schema import (
    MEASURED,
    BytesPerWeight,
    Environment,
    EpochLine,
    Failure,
    FlipCounts,
    GitState,
    HyperCard,
    Layer,
    Ledger,
    MethodFile,
    Result,
    Scores,
)
from suite.records.trial import Choice, TrainSettings, Trial
from tests.support.paths import ROOT

TRIAL = Trial(
    stage="tune",
    data=Choice("digits", {"validation": 0.2}),
    model=Choice("mlp", {"hidden": [16]}),
    method=Choice("bop", {"gamma": Cosine(1e-3, 0.0), "threshold": 1e-8}),
    real_lr=0.01,
    train=TrainSettings(
        epochs=3,
        batch_size=50,
        batch_parts=1,
        augment="none",
        reestimate_batch_norm=False,
        precision="float32",
    ),
    seed=0,
)
ENVIRONMENT = Environment(
    git=GitState(commit=None, dirty=None),
    versions={"python": "3.11.7"},
    method_file=MethodFile(name="bop.py", sha256="0" * 64),
    device="cpu",
    device_name="a processor",
    threads=1,
    host="here",
    platform="Linux",
)
RESULT = Result(
    status="done",
    epochs=2,
    steps=4,
    scores=Scores(val_loss=0.4375, val_top1=0.9321, val_top5=1.0),
    layers=[Layer(name="layers.0", weights=16384)],
    binary_weights=16384,
    real_parameters=32,
    bytes_per_binary_weight=BytesPerWeight(stored=4.0, optimizer=4.0),
    digest="5f0c",
)
FLIPS = np.arange(12, dtype=np.int32).reshape(4, 3)
COUNTS = FlipCounts(
    flips=[812, 40],
    undone_1=[3, 0],
    undone_2=[5, 0],
    undone_5=[9, 1],
    undone_10=[11, 1],
    never=[15000, 2400],
    distance=[790, 39],
)
LINES = [
    EpochLine(
        epoch=n,
        step=18 * n,
        train_loss=1.9 / n,
        train_top1=0.4,
        val_loss=1.5,
        val_top1=0.6,
        val_top5=0.9,
        flips=COUNTS,
        train_seconds=0.2,
        seconds=0.25,
    )
    for n in (1, 2, 3)
]

# ---- writing


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, error: BaseException
):
    path = tmp_path / "result.json"
    write_json(path, {"old": 1})

    def fail(*arguments: Any) -> None:
        raise error

    monkeypatch.setattr(os, function, fail)
    with pytest.raises(type(error)) as raised:
        write_json(path, {"new": list(range(1000))})
    if isinstance(error, OSError):
        told = f"cannot write {path}: No space left on device; free some space, then the same command resumes"
        assert str(raised.value).startswith(told)
        assert isinstance(raised.value, OSError) and raised.value.errno == errno.ENOSPC
    assert read_json(path) == {"old": 1} and os.listdir(tmp_path) == ["result.json"]


def test_a_file_that_grows_too_large_leaves_the_old_one(tmp_path: Path):
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))  # the disk is full after 50 kB
    try:
        with pytest.raises(OSError, match=f"cannot write {path}: File too large"):
            write_atomically(path, b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["checkpoint.pt"]


@pytest.mark.parametrize("name", ["absent/x.json", "file/x.json"])
def test_a_folder_that_is_none_is_named(tmp_path: Path, name: str):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=f"cannot write {tmp_path / name}: "):
        write_json(tmp_path / name, {})


def test_a_file_is_new_to_whoever_reads_it_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path, seen = tmp_path / "x.json", []
    write_json(path, {"it": "old"})
    replace = os.replace

    def look_then_replace(source: Any, target: Any) -> None:
        seen.append(read_json(path)["it"])
        replace(source, target)

    monkeypatch.setattr(os, "replace", look_then_replace)
    write_json(path, {"it": "new"})
    assert seen == ["old"] and read_json(path) == {"it": "new"}


def test_arrays_come_back_as_they_were(tmp_path: Path):
    array = np.arange(12, dtype=np.int32).reshape(4, 3)
    write_array(tmp_path / "flips.npz", array)
    write_array(tmp_path / "bits.npy", array)
    for found in (np.load(tmp_path / "flips.npz")["flips"], np.load(tmp_path / "bits.npy")):
        assert found.dtype == array.dtype and np.array_equal(found, array)


# ---- canonical JSON


def test_the_canonical_text_of_a_value():
    assert canonical({"b": [1, 1.0, None, True], "a": {"ü": "x\n"}}) == (
        '{"a":{"ü":"x\\n"},"b":[1,1.0,null,true]}'
    )
    # echo -n '{"a":1}' | sha256sum
    assert digest({"a": 1}) == "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"


@pytest.mark.parametrize("value", [math.nan, math.inf, [-math.inf]])
def test_what_is_no_number_is_not_written(tmp_path: Path, value: Any):
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical(value)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"it": value})
    assert os.listdir(tmp_path) == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
encodable = json_values.filter(lambda value: not any("\ud800" <= c <= "\udfff" for c in canonical(value)))


@settings(
    deadline=None, database=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(value=encodable)
def test_what_is_written_is_read_back(tmp_path: Path, value: Any):
    write_json(tmp_path / "x.json", {"it": value})
    found = read_json(tmp_path / "x.json")["it"]
    assert canonical(found) == canonical(value) and digest(found) == digest(value)


def test_the_seal_is_a_hash_of_the_rest(tmp_path: Path):
    write_json(tmp_path / "x.json", {"a": 1})
    # echo -n '{"a":1}' | sha256sum
    seal = "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862"
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": 1, "checksum": seal}
    (tmp_path / "x.json").write_text('{"a": 1}')
    with pytest.raises(DamagedRecord, match="it has no checksum"):
        read_json(tmp_path / "x.json")


# ---- damage


def finished_run(folder: Path) -> RunFolder:
    run = RunFolder(folder / "run")
    run.begin(TRIAL, ENVIRONMENT)
    run.finish(RESULT, LINES, FLIPS)
    return run


def result_of(run: RunFolder) -> Result:
    result = run.result()
    assert result is not None
    return result


def damaged_or(read: Any, right: Any) -> str:
    """'damaged', 'right', or the wrong value that was read."""
    try:
        found = read()
    except DamagedRecord:
        return "damaged"
    return "right" if found == right else f"wrong: {found}"


def test_a_result_that_is_cut_anywhere_is_damaged(tmp_path: Path):
    path = finished_run(tmp_path).path / "result.json"
    whole, right = path.read_bytes(), read_json(path)
    for length in range(len(whole)):
        expected = "right" if whole[:length] == whole.rstrip() else "damaged"
        assert damaged_or(lambda length=length: unsealed(whole[:length], path), right) == expected


@pytest.mark.parametrize("kept", [[], [0, 1], [1, 2], [0, 2], [0, 0, 1], [1, 0, 2], [0, 1, 2, 2]])
def test_epochs_that_are_lost_repeated_or_swapped_are_damage(tmp_path: Path, kept: list[int]):
    run = finished_run(tmp_path)
    path = run.path / "epochs.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[n] for n in kept))
    with pytest.raises(DamagedRecord, match=f"{path} is damaged"):
        run.epochs(result_of(run))


@pytest.mark.parametrize("name", ["epochs.jsonl", "flips.npz"])
def test_a_file_that_the_result_vouches_for_is_right_or_damaged(tmp_path: Path, name: str):
    run = finished_run(tmp_path)
    path, result = run.path / name, result_of(run)
    whole = path.read_bytes()
    assert run.content(name, result) == whole
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(DamagedRecord, match=f"{path} is damaged: its content does not match"):
            run.content(name, result)
    path.unlink()
    with pytest.raises(DamagedRecord, match=f"{path} is damaged: it does not exist"):
        run.content(name, result)


@pytest.mark.parametrize("name", ["result.json", "environment.json", "trial.json"])
def test_a_flipped_bit_is_noticed_or_changes_nothing(tmp_path: Path, name: str):
    path = finished_run(tmp_path).path / name
    whole, right = path.read_bytes(), read_json(path)
    noticed = 0
    for position in range(len(whole)):
        for bit in range(8):
            content = bytearray(whole)
            content[position] ^= 1 << bit
            outcome = damaged_or(lambda content=bytes(content): unsealed(content, path), right)
            assert outcome in ("damaged", "right"), content  # right: the flip made a space a tab, say
            noticed += outcome == "damaged"
    assert noticed > 0.9 * 8 * len(whole)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b"{}", b'{"status": "failed"}', b'{"status": "done", "x": NaN}',
                b'{"status": "done", "status": "done"}', b"\xff\xfe{\x00}\x00", b"[" * 100_000]
)  # fmt: skip
def test_what_is_no_result_is_damaged(tmp_path: Path, content: bytes):
    run = finished_run(tmp_path)
    (run.path / "result.json").write_bytes(content)
    with pytest.raises(DamagedRecord, match=r"result\.json is damaged"):
        run.result()
    set_aside(run.path / "result.json")
    assert run.result() is None and (run.path / "result.json.damaged").read_bytes() == content


def test_damage_crosses_process_borders(tmp_path: Path):
    error = pickle.loads(pickle.dumps(DamagedRecord(tmp_path / "x.json", "it is torn")))
    assert (str(error), error.problem) == (f"{tmp_path / 'x.json'} is damaged: it is torn", "it is torn")


def test_what_is_absent_is_not_damaged(tmp_path: Path):
    run = RunFolder(tmp_path)
    assert run.result() is None and run.failure() is None


# ---- the life of a run


def test_the_life_of_a_run(tmp_path: Path):
    run = RunFolder(tmp_path / "runs" / "id")
    failure = Failure(kind="error", error="out of luck", where="in step 3", traceback="Traceback …")
    run.fail(failure)
    assert run.failure() == failure and failure.reason == "error in step 3: out of luck"
    run.begin(TRIAL, ENVIRONMENT)
    assert run.failure() is None and run.trial() == TRIAL and run.environment() == ENVIRONMENT
    for line in LINES:
        run.append_epoch(line)
    assert run.epochs_so_far() == LINES
    run.begin(TRIAL, ENVIRONMENT, LINES[:1])  # resumed from a checkpoint after the first epoch
    assert run.epochs_so_far() == LINES[:1]
    for name in ("checkpoint.pt", "checkpoint.previous.pt", ".checkpoint.pt.123.tmp"):
        (run.path / name).write_bytes(b"state")
    written = run.finish(RESULT, LINES[:2], FLIPS, np.packbits([True, False]))
    result = result_of(run)
    assert result == written == replace(RESULT, files=result.files)
    assert run.epochs(result) == LINES[:2] and np.array_equal(run.flips(result), FLIPS)
    files = ["environment.json", "epochs.jsonl", "flips.npz", "test_correct.npy", "trial.json"]
    assert sorted(result.files) == files
    assert sorted(os.listdir(run.path)) == sorted([*files, "result.json"])


# ---- from JSON to types and back


def test_a_trial_is_written_as_before(tmp_path: Path):
    """The exact text that trials had before they became types: all run ids depend on it."""
    text = (
        '{"protocol": 4, "stage": "tune", "data": {"name": "digits", "validation": 0.2}, '
        '"model": {"name": "mlp", "hidden": [16]}, "method": "bop", '
        '"hypers": {"gamma": {"cosine": [0.001, 0.0]}, "threshold": 1e-08}, "real": {"lr": 0.01}, '
        '"train": {"epochs": 3, "batch_size": 50, "batch_parts": 1, "augment": "none", '
        '"reestimate_batch_norm": false, "precision": "float32"}, "seed": 0}'
    )
    assert json.dumps(TRIAL.as_json()) == text
    assert TRIAL.run_id == digest(json.loads(text))[:16]
    assert decode(Trial, json.loads(text), tmp_path) == TRIAL
    plugged = replace(TRIAL, plugin="abc")
    assert decode(Trial, plugged.as_json(), tmp_path) == plugged and plugged.run_id != TRIAL.run_id


def test_a_trial_names_the_files_of_its_model_and_data_set_only_if_they_are_plugins(tmp_path: Path):
    own = replace(TRIAL, plugin="ab", plugins={"model": "cd", "data": "ab"})
    assert own.as_json() == {
        **TRIAL.as_json(),
        "plugin": "ab",
        "plugins": {"model": "cd", "data": "ab"},
    }
    assert decode(Trial, own.as_json(), tmp_path) == own
    assert (TRIAL.sources, own.sources) == ((), ("ab", "cd"))
    others = [replace(own, plugins=plugins) for plugins in ({}, {"model": "cd"}, {"data": "cd"})]
    assert len({trial.run_id for trial in (TRIAL, own, *others)}) == 5
    with pytest.raises(DamagedRecord, match="plugins"):
        decode(Trial, {**TRIAL.as_json(), "plugins": {"method": "ab"}}, tmp_path)


@pytest.mark.parametrize("value", [ENVIRONMENT, RESULT, LINES[0], replace(RESULT, diverged_at_step=7)])
def test_a_record_comes_back_as_it_was(tmp_path: Path, value: Any):
    written = json.loads(json.dumps(encode(value)))
    assert decode(type(value), written, tmp_path) == value


def test_a_key_is_absent_while_it_says_nothing():
    written = encode(RESULT)
    assert not {"diverged_at_step", "damaged_images"} & written.keys()
    assert "test_loss" not in written["scores"] and written["step_milliseconds"] is None
    scores = replace(RESULT.scores, test_loss=0.0, test_top1=0.0, test_top5=0.0)
    assert encode(scores)["test_loss"] == 0.0
    assert encode(replace(RESULT, damaged_images=["a.jpg"]))["damaged_images"] == ["a.jpg"]


def test_only_measurements_are_left_out_of_what_repeats():
    assert encode(RESULT).keys() - RESULT.deterministic().keys() == set(MEASURED)
    assert encode(LINES[0]).keys() - LINES[0].without_times().keys() == {"train_seconds", "seconds"}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("epochs", "2", "epochs: input should be a valid integer"),
        ("epochs", True, "epochs: input should be a valid integer"),
        ("status", "finished", "status: input should be 'done' or 'diverged'"),
        ("scores", {"val_top1": 0.5}, "scores.val_loss: field required"),
        ("surprise", 1, "surprise: unexpected keyword argument"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_damage(tmp_path: Path, key: str, value: Any, problem: str):
    path = tmp_path / "result.json"
    with pytest.raises(DamagedRecord) as error:
        decode(Result, {**encode(RESULT), key: value}, path)
    assert error.value.path == path and error.value.problem == problem


@pytest.mark.parametrize("key", ["studies", "default"])
def test_a_ledger_without_its_runs_is_damaged_not_empty(tmp_path: Path, key: str):
    written = encode(Ledger.empty("a.b.c"))
    assert decode(Ledger, written, tmp_path) == Ledger.empty("a.b.c")
    del written[key]
    with pytest.raises(DamagedRecord, match=f"{key}: field required"):
        decode(Ledger, written, tmp_path)


@pytest.mark.parametrize(
    ("part", "value", "problem"),
    [
        ("train", {"epochs": 1}, "train.batch_size: field required"),
        ("real", {"lr": "fast"}, "real.lr: a number or a schedule belongs here"),
        ("hypers", {"gamma": {"sine": [1, 0]}}, "hypers.gamma: there is no schedule 'sine'"),
        ("data", "digits", "data: a name with its options belongs here"),
    ],
)
def test_a_trial_that_is_none_is_damage(tmp_path: Path, part: str, value: Any, problem: str):
    with pytest.raises(DamagedRecord) as error:
        decode(Trial, {**TRIAL.as_json(), part: value}, tmp_path / "trial.json")
    assert error.value.problem.startswith(problem)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ({"log": [1e-6, 0.1]}, "log 1e-06 … 0.1"),
        ({"uniform": [0.0, 0.99]}, "uniform 0 … 0.99"),
        ({"choice": ["clipped", None, 1.0]}, "choice clipped | none | 1.0"),
    ],
)
def test_ranges_are_numbers(tmp_path: Path, written: dict[str, Any], text: str):
    card = decode(HyperCard, {"default": 1e-4, "range": written}, tmp_path)
    assert str(card.range) == text and encode(card) == {"default": 1e-4, "range": written}


@pytest.mark.parametrize("written", ["log 1e-06 … 0.1", {"log": [1]}, {"exp": [1, 2]}, {"log": ["a", "b"]}])
def test_a_range_that_is_none_is_damage(tmp_path: Path, written: Any):
    with pytest.raises(DamagedRecord, match="range"):
        decode(HyperCard, {"default": 1e-4, "range": written}, tmp_path)


def test_a_failure_to_write_names_the_file_also_across_processes(tmp_path: Path):
    error = WriteError(tmp_path / "x.json", OSError(errno.ENOSPC, "No space left on device"))
    again = pickle.loads(pickle.dumps(error))
    assert isinstance(again, WriteError) and str(again) == str(error) and "free some space" in str(error)
    assert (again.path, again.errno) == (tmp_path / "x.json", errno.ENOSPC)


# ---- owners

OWNER = """
import sys, time
from pathlib import Path
from suite.records.files import owned
with owned(Path(sys.argv[1])) as mine:
    print(mine, flush=True)
    time.sleep(60)
"""


def test_a_run_has_one_owner_and_a_dead_one_leaves_nothing(tmp_path: Path):
    folder = tmp_path / "runs" / "id"
    command = [sys.executable, "-c", OWNER, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as owner:
        try:
            assert owner.stdout is not None and owner.stdout.readline() == "True\n"
            with owned(folder) as mine:
                assert mine is False
        finally:
            owner.send_signal(signal.SIGKILL)
    with owned(folder) as mine:
        assert mine is True
        with owned(folder) as also_mine:
            assert also_mine is False
    with owned(folder) as again:
        assert again is True


def test_an_owner_that_fails_lets_go(tmp_path: Path):
    with pytest.raises(RuntimeError, match="inside"), owned(tmp_path):
        raise RuntimeError("inside")
    with owned(tmp_path) as mine:
        assert mine


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def no_locks(*arguments: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(OSError, match=f"cannot lock {tmp_path}: No locks available"), owned(tmp_path):
        pass


def test_a_folder_that_cannot_be_owned_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError) as error, owned(tmp_path / "file" / "runs"):
        pass
    place = tmp_path / "file" / "runs"
    assert (
        str(error.value)
        == f"cannot write {place}: File exists; a file is in the place of a folder: move it away"
    )


def test_json_files_can_be_read_by_people(tmp_path: Path):
    write_json(tmp_path / "x.json", {"a": [1], "ü": 2})
    text = (tmp_path / "x.json").read_text(encoding="utf-8")
    assert text.endswith("\n") and len(text.splitlines()) > 3 and "ü" in text
    assert read_json(tmp_path / "x.json") == {"a": [1], "ü": 2}

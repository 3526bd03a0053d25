"""A full, failing or forbidden disk at any call that writes: the sweep stops, says where and what to do,
and what is there is whole; when the trouble is gone, the same command ends with the same records.

`make torture` tries every error at every call.
"""

import errno
import random
import resource
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.support.attempts import (
    RANDOM,
    TPE,
    Outcome,
    Trouble,
    Unbroken,
    attempt,
    half_files,
    problems,
    records_of,
)
from tests.support.warm import Warm

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# Of the function that writes a file as a whole.
STEPS = ("open", "write", "flush", "fsync", "close", "rename")


def one_step_of_each_file(calls: Iterable[str]) -> set[str]:
    """The calls, without all but one step of each file that is written under a temporary name, in turn."""
    steps: dict[str, str] = {}
    for call in calls:
        if call.endswith(".tmp"):
            folder, _, name = call.split()[1].rpartition("/")
            steps[call] = f"{folder}/{name[1:].removesuffix('.*.tmp')}".strip("/")
    files = sorted(set(steps.values()))
    steps |= {f"rename {file}": file for file in files}
    return {
        call
        for call in calls
        if call not in steps or call.split()[0] == STEPS[files.index(steps[call]) % len(STEPS)]
    }


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("part", ["optuna", "cells", "data", "runs", "plan"])
def test_an_error_at_any_call(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken], part: str, sampler: str
) -> None:
    """On every kind of file, once, with one of the errors and with one sampler or the other."""
    right, chosen = rights[sampler], random.Random(part)
    like: dict[str, list[int]] = {}
    for number, call in enumerate(right.calls, 1):
        if part in call or (part == "plan" and "/" not in call and "optuna" not in call):
            like.setdefault(call, []).append(number)
    for call in sorted(one_step_of_each_file(like))[sampler == "tpe" :: 2]:
        trouble = Trouble(chosen.choice(like[call]), chosen.choice(ERRORS))
        assert problems(warm, tmp_path, right, trouble) == []


NO_SPACE = "No space left on device; free some space, then the same command resumes from here"


@pytest.mark.parametrize(
    ("file", "number", "remedy"),
    [
        ("plan.json", errno.ENOSPC, NO_SPACE),
        ("optuna.log", errno.EDQUOT, "Disk quota exceeded; free some of your quota, then"),
        ("cells/digits.mlp.bop.json", errno.EROFS, "Read-only file system; make it writable, then"),
        (
            "runs/*/checkpoint.pt",
            errno.EIO,
            "Input/output error; the disk or its connection is failing: mend it, then",
        ),
    ],
)
def test_the_message_names_the_file_and_what_to_do(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken], file: str, number: int, remedy: str
) -> None:
    last = max(
        n for n, call in enumerate(rights["tpe"].calls, 1) if call in (f"rename {file}", f"write {file}")
    )
    ended = warm.run(attempt, tmp_path, TPE, Trouble(last, number))
    told = ended.value.stopped
    assert told.startswith(f"cannot write {tmp_path / 'results' / file.split('*')[0]}")
    assert f"{file.split('*')[-1]}: {remedy}" in told


def limited(place: Path, size: int) -> Outcome:
    """No file may grow beyond so many bytes: the system itself refuses."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
    return attempt(place, RANDOM)


@pytest.mark.parametrize(("size", "file"), [(500, "data/digits.json"), (10_000, "checkpoint.pt")])
def test_files_that_may_not_grow(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken], size: int, file: str
) -> None:
    ended = warm.run(limited, tmp_path, size)
    assert ended.code == 0, ended
    told = ended.value.stopped
    assert told.startswith("cannot write ") and f"{file}: File too large; raise the limit" in told
    assert half_files(tmp_path / "results") == []
    assert warm.run(attempt, tmp_path, RANDOM).value.complete
    assert records_of(tmp_path / "results") == rights["random"].records

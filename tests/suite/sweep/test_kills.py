"""kill -9 at any instant, then the same command: the records are those of an unbroken sweep.

`make torture` does the same at every instant.
"""

import random
from pathlib import Path

import pytest

from tests.support.attempts import (
    TPE,
    Trouble,
    Unbroken,
    attempt_with_workers,
    finished,
    leftovers,
    problems,
    records_of,
)
from tests.support.warm import Warm


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize(
    "kinds",
    [("write",), ("rename",), ("open", "remove", "mkdir")],
    ids=["in the middle of a write", "before a file has its name", "between two files"],
)
def test_a_kill_at_an_exact_instant(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken], sampler: str, kinds: tuple[str, ...]
) -> None:
    """For every kind of file, with one sampler or the other; between two files, once more when it goes on.

    Before a temporary file is opened, everything is as it was after the call before. One function writes all
    temporary files: it is killed in the middle of every third of them.
    """
    right, chosen = rights[sampler], random.Random(sampler)
    like: dict[str, list[int]] = {}
    for number, call in enumerate(right.calls, 1):
        if call.split()[0] in kinds and not (call.startswith("open") and call.endswith(".tmp")):
            like.setdefault(call, []).append(number)
    temporary = sorted(call for call in like if call.endswith(".tmp"))
    mine = sorted(like.keys() - set(temporary) | set(temporary[::3]))[sampler == "tpe" :: 2]
    assert len(mine) >= 3
    for call in mine:
        troubles = [Trouble(chosen.choice(like[call]))]
        if "mkdir" in kinds:
            troubles.append(Trouble(chosen.randrange(1, len(right.calls))))
        assert problems(warm, tmp_path, right, *troubles) == []


def test_the_coordinator_is_killed_while_its_workers_train(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken]
) -> None:
    """They end with it, wherever they are, and leave their runs to the next."""
    codes = [warm.run(attempt_with_workers, tmp_path, TPE, None, at).code for at in (2, 3, 2, 4, 3, 5, 4, 6)]
    assert codes[:3] == [-9, -9, -9]
    ended = warm.run(attempt_with_workers, tmp_path, TPE)
    assert ended.code == 0 and ended.value.complete, ended
    folder = tmp_path / "results"
    assert records_of(folder) == rights["tpe"].records and leftovers(folder) == []


WORKERS_END = '''
"""Executed by every worker when it starts: the first of them die at these calls."""
import os
from pathlib import Path
from optimizers.core import WeightRule, method, sign
from tests.support.instants import Instants, kill

HERE = Path(__file__).parent

def once(name):
    """Whether no worker has asked this before."""
    try:
        os.close(os.open(HERE / name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def die(path):
    """A run may be lost but twice."""
    run = path.relative_to(HERE / "results").parts[1]
    if once(f"{run} is lost") or once(f"{run} is lost again"):
        kill(path)

for number in (17, 26, 126, 151, 176, 202):  # a run takes some 105 calls
    if once(f"dies at {number}"):
        Instants(HERE / "results", number, die).watch()
        break

@method(paper="https://example.org")
def unused() -> WeightRule:
    """A plugin has to have a method."""
    return WeightRule(sign, sign, lambda params: None)
'''


def test_workers_are_killed_at_exact_instants(
    tmp_path: Path, warm: Warm, rights: dict[str, Unbroken]
) -> None:
    """The coordinator lives, and gives their runs to others."""
    (tmp_path / "plugin.py").write_text(WORKERS_END)
    ended = warm.run(attempt_with_workers, tmp_path, TPE, str(tmp_path / "plugin.py"))
    assert ended.code == 0 and ended.value.complete, ended
    lost = [text for text in ended.value.said if "its worker died (exit code -9" in text]
    assert len(lost) >= 3 and len(lost) == len(ended.value.said)
    folder = tmp_path / "results"
    assert records_of(folder) == rights["tpe"].records and leftovers(folder) == []
    assert len(finished(folder)) == 6

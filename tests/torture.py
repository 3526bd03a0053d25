"""Hundreds of kills and disk errors, each at one exact call of a tiny sweep, and what was wrong after them.

`make torture` takes a random sample; `make torture ARGS="--count 0"` tries every trouble at every call.
"""

import argparse
import errno
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.support.attempts import (
    MOVED,
    RANDOM,
    TPE,
    Trouble,
    Unbroken,
    attempt_with_workers,
    problems,
    records_of,
    unbroken,
)
from tests.support.warm import Warm

ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
console = Console(stderr=True)


def main() -> None:
    """Exit code 1 if anything was not as it has to be."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="how many troubles at exact calls; 0: all")
    parser.add_argument(
        "--kills", type=int, default=50, help="how many kills at random instants, with workers"
    )
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        found = torture(Path(place), wanted.count, wanted.kills, random.Random(wanted.seed))
    for text in found:
        print(text)
    print(f"{len(found)} problems" if found else "nothing was lost, repeated or wrong")
    sys.exit(bool(found))


def torture(place: Path, count: int, kills: int, chosen: random.Random) -> list[str]:
    """All problems that were found."""
    places = {name: place / name for name in ("warm", "random", "tpe", "moved", "exact", "workers")}
    for folder in places.values():
        folder.mkdir()
    warm = Warm(places["warm"])
    try:
        plans = {"random": RANDOM, "tpe": TPE, "moved": MOVED}
        rights = [unbroken(warm, places[name], changes) for name, changes in plans.items()]
        return [
            *_at_exact_calls(warm, places["exact"], rights, count, chosen),
            *_at_random_instants(warm, places["workers"], rights[2], kills, chosen),
        ]
    finally:
        warm.close()


def _at_exact_calls(
    warm: Warm, place: Path, rights: list[Unbroken], count: int, chosen: random.Random
) -> list[str]:
    """One trouble each, and a kill of the attempt that goes on."""
    cases = [
        (right, Trouble(at, error))
        for right in rights
        for at in range(1, len(right.calls) + 1)
        for error in (0, 0, *ERRORS)  # kills count double
    ]
    chosen.shuffle(cases)
    found: list[str] = []
    kinds: Counter[str] = Counter()
    with Progress(*COLUMNS, console=console, disable=not console.is_terminal) as bar:
        for right, trouble in bar.track(cases[: count or None], description="troubles"):
            again = Trouble(chosen.randrange(1, len(right.calls)))
            for text in problems(warm, place, right, trouble, again):
                found.append(f"{right.calls[trouble.at - 1]}: {text}")
                console.print(found[-1], markup=False)
            kinds[str(trouble).split(" at ")[0]] += 1
    for kind, number in sorted(kinds.items()):
        print(f"{number:5} times {kind}, each followed by one more kill")
    return found


def _at_random_instants(
    warm: Warm, place: Path, right: Unbroken, kills: int, chosen: random.Random
) -> list[str]:
    """The coordinator with two workers is killed until it has come to its end, again and again."""
    found, killed, sweeps = [], 0, 0
    while killed < kills:
        sweeps += 1
        folder = place / str(sweeps)
        folder.mkdir()
        for _ in range(8):
            code, _ = warm.run(attempt_with_workers, folder, right.changes, seconds=chosen.uniform(0.02, 0.3))
            killed += code == -9
        code, outcome = warm.run(attempt_with_workers, folder, right.changes)
        if code or not outcome.complete or records_of(folder / "results") != right.records:
            found.append(f"sweep {sweeps} after random kills: {outcome}")
    print(f"{killed:5} kills of a coordinator and its workers, in {sweeps} sweeps")
    return found


if __name__ == "__main__":
    main()

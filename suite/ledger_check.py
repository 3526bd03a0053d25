"""Does the ledger of a cell agree with the plan and with its runs? Each function names what does not."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from suite.records import read_json

Json = Mapping[str, Any]


def read_ledger(path: Path, plan: Json) -> dict[str, Any]:
    """A cell's ledger, empty if there is none yet.

    DamagedRecord as in `read_json`; ValueError, LookupError or TypeError unless it names each planned trial
    and seed at most once, and no other.
    """
    try:
        ledger = read_json(path)
    except FileNotFoundError:
        return {"tuning": [], "winner": None, "final": []}
    if f"{ledger['cell']}.json" != path.name:
        raise ValueError(f"it is that of {ledger['cell']}")
    names = [(entry["number"], entry["run"], entry["hypers"].keys()) for entry in ledger["tuning"]]
    numbers = [number for number, _, _ in names]
    seeds = [entry["seed"] for entry in ledger["final"]]
    runs = [entry["run"] for entry in ledger["final"]]
    if not set(numbers) <= set(range(plan["tuning"]["trials"])) or not set(seeds) <= set(plan["seeds"]):
        raise ValueError("it names a trial or a seed that was not planned")
    # Two trials may draw the same setting and so share a run; the runs of two seeds are never the same.
    if any(len(set(each)) < len(each) for each in (numbers, seeds, runs)):
        raise ValueError("it names the same trial, seed or final run twice")
    if (winner := ledger["winner"]) is not None and winner["number"] not in numbers:
        raise ValueError(f"its winner is trial {winner['number']}, which it does not name")
    return ledger


def wrong_winner(ledger: Json, scores: Mapping[int, Json], trials: int) -> Iterator[str]:
    """What is wrong with the winner, given the recorded scores of the tuning trials.

    It must be the best of them: highest top-1 on validation, then lowest loss, then first.
    """
    winner = ledger["winner"]
    if winner is None:
        if ledger["final"] and trials:
            yield "it names final runs, but no winner of the tuning"
        return
    number, entries = winner["number"], {entry["number"]: entry for entry in ledger["tuning"]}
    if winner["hypers"] != entries[number]["hypers"]:
        yield "the winner's hyperparameters are not those of its trial"
    if number not in scores:  # that its run is not there is said elsewhere
        return
    best = min(scores, key=lambda n: (-scores[n]["val_top1"], scores[n]["val_loss"], n))
    if best != number:
        yield f"the winner is trial {number}, but trial {best} is better on validation"
    if scores[number]["val_top1"] != winner["value"]:
        yield "the winner's value is not the validation score of its run"


def differing(expected: Json, found: Json, but: tuple[str, ...] = ()) -> list[str]:
    """The keys of two trials that do not hold the same."""
    keys = sorted(expected.keys() | found.keys())
    return [key for key in keys if key not in but and expected.get(key) != found.get(key)]


def not_drawn(drawn: Json, trial: Json) -> list[str]:
    """The hyperparameters of a trial that are not as its ledger says; a decay starts from what was drawn."""
    used = {**trial["hypers"], "real.lr": trial["real"]["lr"]}
    names = sorted(drawn.keys() | used.keys())
    return [n for n in names if drawn.get(n) not in (used.get(n), _start(used.get(n)))]


def _start(value: Any) -> Any:
    """Where a schedule starts."""
    if not isinstance(value, dict):
        return value
    (setting,) = value.values()
    return setting["start"] if isinstance(setting, dict) else setting[0]

"""Does the ledger of a cell agree with the plan and with its runs? Each function names what does not."""

from collections.abc import Iterator, Mapping
from typing import Any

Json = Mapping[str, Any]


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
    ((shape, setting),) = value.items()
    if shape == "restart":
        return _start(setting["of"])
    return setting["start"] if shape == "step" else setting[0]

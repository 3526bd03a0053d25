"""Does the ledger of a cell agree with the plan and with its runs? Each function names every disagreement."""

from collections.abc import Iterator, Mapping

from suite.records.schedules import start_of
from suite.records.schema import Ledger, Scores
from suite.records.trial import HyperSetting, Trial
from suite.records.winner import winner


def wrong_winner(ledger: Ledger, scores: Mapping[int, Scores], trials: int) -> Iterator[str]:
    """What is wrong with the winner that the ledger names.

    scores: of the tuning trials whose runs are intact, by number. trials: as many are planned.
    """
    named = ledger.winner
    if named is None:
        if ledger.final and trials:
            yield "it names final runs, but no winner of the tuning"
        return
    (entry,) = (entry for entry in ledger.tuning if entry.number == named.number)
    if named.hypers != entry.hypers:
        yield "the winner's hyperparameters are not those of its trial"
    if named.number not in scores:  # its run is missing or damaged, which is a finding of its own
        return
    if (best := winner(scores)) != named.number:
        yield f"the winner is trial {named.number}, but trial {best} is better on validation"
    if scores[named.number].val_top1 != named.value:
        yield "the winner's value is not the validation score of its run"


def differing(expected: Trial, found: Trial) -> list[str]:
    """The keys of trial.json in which two trials differ."""
    one, other = expected.as_json(), found.as_json()
    return sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))


def not_drawn(drawn: Mapping[str, HyperSetting], trial: Trial) -> list[str]:
    """The hyperparameters of a trial that are not the drawn ones; a decay starts from the drawn value."""
    used = {**trial.method.options, "real.lr": trial.real_lr}
    names = sorted(drawn.keys() | used.keys())
    return [name for name in names if drawn.get(name) not in (used.get(name), start_of(used.get(name)))]

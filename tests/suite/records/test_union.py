"""Two ledgers of one cell: the one that has come further, or a contradiction."""

from dataclasses import replace
from pathlib import Path

import pytest

from suite.records.agreement import Contradiction
from suite.records.schema import (
    DefaultEntry,
    FinalEntry,
    Ledger,
    Place,
    PlanRecord,
    Scores,
    StudyEntry,
    Track,
    TrackName,
    Tuning,
    TuningEntry,
    Winner,
)
from suite.records.trial import PROTOCOL
from suite.records.union import union, without_wrong_winners

PATH = Path("cells/x.json")
PLAN = PlanRecord(
    format=4,
    protocol=PROTOCOL,
    experiment="x",
    summary="",
    yaml="",
    tuning=Tuning(tracks=[Track(name="tpe", trials=3, studies=2), Track(name="random", trials=3)]),
    seeds=2,
    methods={},
    data={},
    cells=[],
)


def run(number: int) -> str:
    return f"{number:016x}"


def study(
    track: TrackName = "tpe", number: int = 0, *, trials: int = 3, won: int | None = None, finals: str = ""
) -> StudyEntry:
    """So many trials, perhaps a winner, and those of its final runs."""
    tuning = [TuningEntry(number=n, run=run(n), hypers={"gamma": 0.1 * n}) for n in range(trials)]
    winner = None if won is None else Winner(number=won, value=0.9, hypers=tuning[won].hypers)
    final = [FinalEntry(number=int(n), run=run(100 + int(n))) for n in finals]
    return StudyEntry(track=track, number=number, key="k", tuning=tuning, winner=winner, final=final)


def ledger(*studies: StudyEntry, default: str = "") -> Ledger:
    entries = [DefaultEntry(study=int(n), number=0, run=run(200 + int(n))) for n in default]
    return Ledger(cell="x", studies=list(studies), default=entries)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (ledger(study(trials=1)), ledger(study(trials=3)), ledger(study(trials=3))),
        (ledger(study()), ledger(study(won=1, finals="0")), ledger(study(won=1, finals="0"))),
        (*(ledger(study(won=1, finals=each)) for each in ("1", "0", "01")),),
        # A larger budget: the winner of fewer trials is none any more.
        (ledger(study(trials=2, won=1, finals="0")), ledger(study(trials=3)), ledger(study(trials=3))),
        (
            ledger(study("random"), study(number=1)),
            ledger(study()),
            ledger(study(), study(number=1), study("random")),
        ),
        (ledger(default="1"), ledger(default="0"), ledger(default="01")),
        (Ledger.empty("x"), ledger(study(won=0), default="0"), ledger(study(won=0), default="0")),
    ],
)
def test_the_union_names_what_both_name(one: Ledger, other: Ledger, both: Ledger):
    assert union(one, other, PLAN, PATH) == both == union(other, one, PLAN, PATH)


def other_draw() -> StudyEntry:
    made = study()
    drawn = replace(made.tuning[1], run=run(9), hypers={"gamma": 5.0})
    return replace(made, tuning=[made.tuning[0], drawn, made.tuning[2]])


@pytest.mark.parametrize(
    ("other", "problem"),
    [
        (ledger(other_draw()), "tpe study 0: its draws are not those"),
        (ledger(replace(study(trials=1), key="another")), "tpe study 0: its draws are not those"),
        (ledger(study(won=2)), "tpe study 0: its winner is not that"),
        (
            Ledger(cell="x", studies=[], default=[DefaultEntry(study=0, number=0, run=run(7))]),
            "default study 0 seed 0 is another run",
        ),
    ],
)
def test_ledgers_that_do_not_agree(other: Ledger, problem: str):
    for pair in ((mine := ledger(study(won=1), default="0"), other), (other, mine)):
        with pytest.raises(Contradiction, match=problem) as raised:
            union(*pair, PLAN, PATH)
        assert raised.value.path == PATH


def test_a_winner_that_the_scores_contradict_is_chosen_again():
    whole = ledger(study(won=1, finals="01"), study(number=1, won=0, finals="0"), default="0")

    def places(*values: float) -> dict[Place, Scores]:
        """The scores of the first two trials of both studies."""
        at = [(0, 0), (0, 1), (1, 0), (1, 1)]
        return {
            Place("tuning", "tpe", *where): Scores(val_loss=0.1, val_top1=value, val_top5=1.0)
            for where, value in zip(at, values, strict=True)
        }

    assert without_wrong_winners(whole, places(0.1, 0.9, 0.9, 0.8)) == (whole, [])
    found, problems = without_wrong_winners(whole, places(0.1, 0.9, 0.7, 0.8))
    assert found == replace(
        whole, studies=[whole.studies[0], replace(whole.studies[1], winner=None, final=[])]
    )
    (problem,) = problems
    assert problem == "tpe study 1: the winner is trial 0, but trial 1 is better on validation"

"""Draws of random search are made again from the plan: a setting that was picked by hand is found."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from optimizers import METHODS
from suite.checks.draws import redraw
from suite.checks.run import Finding
from suite.experiment.ranges import distribution_of, range_of
from suite.records.codec import encode
from suite.records.experiment import ExperimentFolder
from suite.records.files import write_json
from suite.records.schema import Ledger
from tests.support.attempts import swept

CHANGES = ("methods=[bop]", "train.epochs=1", "seeds=1")
CELL = "digits.mlp.bop"


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """Two studies of random search and one of TPE."""
    place = tmp_path_factory.mktemp("draws")
    swept(place, *CHANGES, "tuning={random: {trials: 3, studies: 2}, tpe: {trials: 2}}")
    return ExperimentFolder(place / "results")


def found(records: ExperimentFolder) -> list[Finding | None]:
    return list(redraw(records, records.plan()))


def test_what_a_sweep_has_drawn_is_drawn_again(records: ExperimentFolder):
    assert found(records) == [None] * 6  # those of TPE are left out


@pytest.mark.parametrize(
    ("study", "trial", "name", "change", "words"),
    [
        (1, 2, "gamma", lambda value: value * (1 + 1e-9), "gamma of trial 2 is "),
        (0, 1, "real.lr", lambda value: 0.01, "real.lr of trial 1 is 0.01, the plan's seed draws "),
        (
            0,
            0,
            "threshold",
            lambda value: 2e-8,
            "threshold of trial 0 is 2e-08, the published default is 1e-08",
        ),
    ],
)
def test_another_setting_is_named(
    records: ExperimentFolder,
    study: int,
    trial: int,
    name: str,
    change: Callable[[Any], float],
    words: str,
):
    path, plan = records.ledger_path(CELL), records.plan()
    ledger, before = records.ledger(plan.cells[0], plan), path.read_bytes()
    try:
        write_json(path, encode(edited(ledger, study, trial, name, change)))
        problems = [each for each in found(records) if each]
    finally:
        path.write_bytes(before)
    (problem,) = problems
    assert (problem.kind, problem.file) == ("contradictory", f"cells/{CELL}.json")
    assert words in problem.text and f"{study}" in problem.text


def edited(ledger: Ledger, study: int, trial: int, name: str, change: Callable[[Any], float]) -> Ledger:
    """A ledger with one number of one trial changed; the winner may be that trial, so there is none yet."""
    entries = [each for each in ledger.studies if (each.track, each.number) == ("random", study)]
    tuning = list(entries[0].tuning)
    hypers = dict(tuning[trial].hypers)
    tuning[trial] = replace(tuning[trial], hypers={**hypers, name: change(hypers[name])})
    changed = replace(entries[0], tuning=tuning, winner=None, final=[])
    return replace(ledger, studies=[changed if each is entries[0] else each for each in ledger.studies])


def test_another_seed_gives_other_draws(records: ExperimentFolder):
    plan = records.plan()
    other = replace(plan, tuning=replace(plan.tuning, seed=1))
    text = [each and each.text for each in redraw(records, other)]
    # The default, then two draws, in both studies; each draw differs in every number.
    assert [each is None for each in text] == [True, False, False] * 2
    assert all(each.count("the plan's seed draws") == 3 for each in text if each)


@pytest.mark.parametrize("name", METHODS)
def test_a_range_of_a_record_is_the_distribution_that_was_drawn_from(name: str):
    for hyper in METHODS[name].hypers.values():
        if hyper.range is not None:
            assert distribution_of(range_of(hyper)) == hyper.range

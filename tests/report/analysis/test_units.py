"""The units of a comparison are those that the plan says, whatever is missing."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from report.analysis.comparison import compare
from report.analysis.evidence import TaskEvidence
from report.analysis.readings import Kind
from report.analysis.units import task_evidence
from report.page.verdict import basis
from report.read.experiment import read_records
from suite.records.experiment import ExperimentFolder
from suite.records.schema import PlanRecord, Track, TrackName
from tests.support.fake_records import (
    TASKS,
    diverge,
    final_run,
    remove,
    score,
    write_experiment,
    write_plan,
)

CELL = "digits.mlp.bop"


def write(
    folder: Path,
    *tracks: tuple[TrackName, int, int],
    seeds: int = 2,
    studies: Mapping[str, int] | None = None,
) -> Path:
    """An experiment of two methods with these tracks: name, trials, studies."""
    of = [Track(name=name, trials=trials, studies=studies) for name, trials, studies in tracks]
    return write_experiment(
        folder, tasks=TASKS[:1], methods=("bop", "latent_sgd"), seeds=seeds, tracks=of, studies=studies
    )


def evidence(folder: Path) -> TaskEvidence:
    records = read_records(folder)
    return task_evidence(records, records.tasks[0])


@pytest.mark.parametrize(
    ("tracks", "studies", "unit", "units"),
    [
        ([], 0, "run", [2, 2]),
        ([("random", 1, 3)], 0, "run", [6, 6]),  # a study of one trial tunes nothing
        ([("random", 2, 1)], 1, "run", [2, 2]),
        ([("random", 2, 2)], 2, "study", [2, 2]),
        ([("random", 2, 3)], 3, "study", [3, 3]),
        ([("random", 2, 3), ("tpe", 2, 2)], 3, "study", [3, 2, 3, 2]),
    ],
)
def test_the_unit_is_the_study_or_the_run(
    tmp_path: Path,
    tracks: list[tuple[TrackName, int, int]],
    studies: int,
    unit: str,
    units: list[int],
) -> None:
    found = evidence(write(tmp_path, *tracks))
    assert (found.studies, found.unit, found.images, found.chance) == (studies, unit, 360, 0.1)
    assert [len(each.units) for each in found.methods] == units
    assert [each.planned_units for each in found.methods] == units
    names = ["bop", "latent_sgd"]
    if len(tracks) == 2:
        names = [f"{name} ({track})" for name in names for track, *_ in tracks]
    assert [each.method for each in found.methods] == names


def test_a_method_with_more_studies_has_more_units(tmp_path: Path) -> None:
    """Its row has a shorter interval; each row's number of units is its own, and a lost one is missing."""
    folder = write(tmp_path, ("random", 2, 3), studies={"bop": 5})
    found = evidence(folder)
    assert [(each.planned_units, each.planned_runs, each.missing) for each in found.methods] == [
        (5, 10, 0), (3, 6, 0)
    ]  # fmt: skip
    records = read_records(folder)
    bop, sgd = compare(records, records.tasks[0]).standings
    assert (bop.judged.units, sgd.judged.units) == (5, 3)
    assert (
        "2 seeds of each of 3 to 5 studies' winners (random) per method; 3 to 5 studies of 2 tuning trials "
        "(the published default and 1 random draw) for each"
    ) in basis(records, compare(records, records.tasks[0]))
    remove(final_run(folder, CELL, 1, 4))
    assert [each.missing for each in evidence(folder).methods] == [1, 0]


def test_methods_that_search_nothing_are_not_tuned(tmp_path: Path) -> None:
    folder = write(tmp_path, ("random", 2, 3))
    plan = ExperimentFolder(folder).plan()
    fixed = {
        name: replace(card, hypers={key: replace(hyper, range=None) for key, hyper in card.hypers.items()})
        for name, card in plan.methods.items()
    }
    write_plan(folder, replace(plan, methods=fixed))
    assert (evidence(folder).studies, len(evidence(folder).methods[0].units)) == (0, 6)
    write_plan(folder, replace(plan, methods={**plan.methods, "bop": fixed["bop"]}))
    assert evidence(folder).studies == 3


def test_the_scores_and_images_of_a_study_are_those_of_its_runs(tmp_path: Path) -> None:
    folder = write(tmp_path, ("random", 2, 3))
    bop = evidence(folder).methods[0]
    for study, unit in enumerate(bop.units):
        assert unit.scores == tuple(score("digits", "bop", study, number) for number in range(2))
        runs = [final_run(folder, CELL, number, study) for number in range(2)]
        bits = [np.unpackbits(np.load(run / "test_correct.npy"))[:360].astype(int) for run in runs]
        assert unit.correct.tolist() == (bits[0] + bits[1]).tolist()


def lose_a_run(folder: Path) -> None:
    remove(final_run(folder, CELL, 0, 1))


def lose_a_study(folder: Path) -> None:
    for number in range(2):
        remove(final_run(folder, CELL, number, 1))


def spoil_the_images(folder: Path) -> None:
    (final_run(folder, CELL, 0, 1) / "test_correct.npy").unlink()


def diverge_a_run(folder: Path) -> None:
    diverge(final_run(folder, CELL, 0, 1))


@pytest.mark.parametrize(
    ("harm", "runs", "diverged", "words"),
    [
        (lose_a_run, [2, 1, 2], 0, "provisional: 5 of 6 runs in"),
        (lose_a_study, [2, 2], 0, "provisional: 4 of 6 runs in"),
        (spoil_the_images, [2, 1, 2], 0, "provisional: 5 of 6 runs in"),
        (diverge_a_run, [2, 2, 2], 1, "diverges in 1 of 6"),
    ],
)
def test_what_is_lost_stays_in_the_denominator(
    tmp_path: Path, harm: Callable[[Path], None], runs: list[int], diverged: int, words: str
) -> None:
    folder = write(tmp_path, ("random", 2, 3))
    harm(folder)
    bop = evidence(folder).methods[0]
    assert ([unit.runs for unit in bop.units], bop.diverged) == (runs, diverged)
    assert (bop.planned_units, bop.planned_runs) == (3, 6)
    records = read_records(folder)
    standing = compare(records, records.tasks[0]).standings[0]
    assert standing.judged.reading.words == words
    assert (standing.judged.may_be_best, standing.judged.behind) == (False, None)


def test_the_margin_of_the_plan_is_in_points(tmp_path: Path) -> None:
    folder = write(tmp_path, ("random", 2, 3))
    plan: PlanRecord = ExperimentFolder(folder).plan()
    assert evidence(folder).margin is None
    write_plan(folder, replace(plan, margin=99.0))
    assert evidence(folder).margin == 0.99
    records = read_records(folder)
    kinds = [each.reading.kind for each in compare(records, records.tasks[0]).judgement.methods]
    assert kinds == [Kind.HIGHEST, Kind.WORSE]  # to be worse comes before to be equal


def test_the_runs_of_all_rows_are_the_planned_ones_once(tmp_path: Path) -> None:
    records = read_records(write(tmp_path, ("random", 8, 2), ("tpe", 8, 3), seeds=2))
    rows = [{run.run_id for run in records.runs_of(cell)} for cell in records.cells]
    default = [{run.run_id for run in records.defaults(cell)} for cell in records.cells]
    won = [{run.run_id for run in records.finals(cell)} for cell in records.cells]
    assert set().union(*rows) == {run.run_id for run in records.runs}
    for row, of_row, of_winner in zip(rows, default, won, strict=True):
        first = row is rows[0] or row is rows[2]
        assert row & of_row == (of_row if first else of_row & of_winner)
    assert any(row - of_winner for row, of_winner in zip(default, won, strict=True))

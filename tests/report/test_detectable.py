"""What a plan says that it can show: the units of its verdict, in the words of `flipbench plan`."""

import math
from dataclasses import replace

import pytest

from report.detectable import Units, detectable, planned_tests
from suite.records.claim import Contrast, Ease, Exact
from suite.records.experiment import ExperimentFolder
from suite.records.schema import PlanRecord, Track, Tuning
from tests.support.claim_records import claim_of
from tests.support.fake_records import TASKS, write_experiment


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> PlanRecord:
    folder = write_experiment(tmp_path_factory.mktemp("x"), seeds=1, trials=0, methods=("bop", "latent_adam"))
    return ExperimentFolder(folder).plan()


RANDOM, TPE = Track(name="random", trials=8), Track(name="tpe", trials=8, at_once=4)


@pytest.mark.parametrize(
    ("tracks", "seeds", "words"),
    [
        (  # the two-sample t-test would show 3.07 and 2.02 sds
            [replace(RANDOM, studies=3)],
            2,
            ["2 tasks, 2 methods, 3 studies of random each: shows a difference of 3.8 sds of a study in "
             "80 % of the cases: 1.15 points if the sd is 0.3, without the noise of the test images"],
        ),
        (
            [RANDOM],
            5,
            ["2 tasks, 2 methods, 5 runs each: shows a difference of 2.2 sds of a run in 80 % of the "
             "cases: 0.67 points if the sd is 0.3, without the noise of the test images, given one draw of "
             "the tuning"],
        ),
        (
            [],
            5,
            ["2 tasks, 2 methods, 5 runs each: shows a difference of 2.2 sds of a run in 80 % of the "
             "cases: 0.67 points if the sd is 0.3, without the noise of the test images"],
        ),
        ([replace(RANDOM, studies=2)], 9,
         ["2 tasks, 2 methods, 2 studies of random each: no verdict, which takes 3 studies"]),
        ([RANDOM], 1, ["2 tasks, 2 methods, 1 run each: no verdict, which takes 3 runs"]),
    ],
)  # fmt: skip
def test_the_difference_that_a_plan_shows(
    plan: PlanRecord, tracks: list[Track], seeds: int, words: list[str]
) -> None:
    assert list(map(str, detectable(replace(plan, tuning=Tuning(tracks=tracks), seeds=seeds)))) == words


def test_two_tracks_are_two_methods_each(plan: PlanRecord) -> None:
    of = replace(plan, tuning=Tuning(tracks=[replace(RANDOM, studies=3), replace(TPE, studies=10)]))
    found = detectable(of)
    assert [(each.track, each.methods, each.units.fewest) for each in found] == [
        ("random", 4, 3),
        ("tpe", 4, 10),
    ]
    assert found[0].sds > found[1].sds


def test_where_methods_have_more_studies_the_smaller_number_counts(plan: PlanRecord) -> None:
    cells = [replace(cell, studies=5 if cell.method == "bop" else None) for cell in plan.cells]
    of = replace(plan, tuning=Tuning(tracks=[replace(RANDOM, studies=3)]), cells=cells)
    found = detectable(of)
    assert str(found[0]).startswith("2 tasks, 2 methods, 3 or more studies of random each: shows a diff")
    (equal,) = detectable(replace(plan, tuning=of.tuning))
    assert found == [replace(equal, units=Units(3, "study", or_more=True), studies=5)]
    assert found[0].sds == equal.sds
    above = Contrast(kind="contrast", says="x", of={"bop": 1, "latent_adam": -1}, expect="above")
    (planned,) = planned_tests(replace(of, claim=claim_of(above)))
    assert "; 3 or more studies of each arm: " in str(planned)


def test_controls_do_not_count_and_one_method_compares_with_nothing(plan: PlanRecord) -> None:
    control = {**plan.methods, "bop": replace(plan.methods["bop"], control=True)}
    cells = [cell for cell in plan.cells if (cell.data, cell.model) == TASKS[0]]
    (alone,) = detectable(replace(plan, methods=control, cells=cells, seeds=5))
    assert str(alone) == "1 task, 1 method, 5 runs each: nothing to compare"
    assert math.isnan(alone.sds)


def test_what_random_draws_can_show_of_ease(plan: PlanRecord) -> None:
    ease = Ease(kind="ease", says="as easy", of="bop", against="latent_adam", expect="above", margin=-10.0)
    tuning = Tuning(tracks=[Track(name="random", trials=25, studies=5), Track(name="tpe", trials=25)])
    (found,) = planned_tests(replace(plan, tuning=tuning, claim=claim_of(ease)))
    assert str(found.units) == "120 draws"
    assert found.shows == (
        "+7.00 points or more in 80 % of the cases, no difference with a chance of 40 %, "
        "if 30 % of the settings of latent_adam are good"
    )
    (none,) = planned_tests(
        replace(plan, tuning=Tuning(tracks=[Track(name="tpe", trials=25)]), claim=claim_of(ease))
    )
    assert none.units.fewest == 0 and none.shows.startswith("no difference in 80 %")


def test_what_the_tests_of_a_claim_can_show(plan: PlanRecord) -> None:
    """By hand: 0.3 √(2/5) = 0.18974 points; 8 degrees of freedom, t 2.306 and 0.889."""
    of = {"bop": 1.0, "latent_adam": -1.0}
    above = Contrast(kind="contrast", says="better", of=of, expect="above", margin=0.5)
    two = Exact(kind="exact", says="two", measure="reals", values={"bop": 2.0})
    tests = (above, replace(above, expect="within"), replace(above, measure="test_loss"), two)
    untuned = replace(plan, tuning=Tuning(tracks=[]), seeds=5, claim=claim_of(*tests))
    better, equal, loss, exact = planned_tests(untuned)
    assert str(better) == (
        "  better: supported if above 0.5 points; 5 runs of each arm: 1.11 or more in 80 % of the cases, "
        "if the sd is 0.3"
    )
    # 0.5 + 3.195 * 0.18974; below P(|t| < 0.5 / 0.18974 - 1.8595)
    assert equal.shows == "equality with a chance of 54 %, if there is no difference, if the sd is 0.3"
    assert loss.shows.startswith("what they show depends") and exact.shows == "exact"
    assert planned_tests(replace(untuned, seeds=2))[0].shows == "no verdict, which takes 3"
    assert planned_tests(plan) == []

"""A new plan for a folder that holds one: what only adds continues, what would replace results is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from suite.machine.errors import UserError
from suite.records.agreement import named_runs
from suite.records.experiment import ExperimentFolder
from suite.records.replan import (
    changes,
    edited_data,
    edited_plugins,
    require_no_older_place,
    require_same_work,
)
from suite.records.schema import Place, PlannedCell, PlanRecord, Track, Tuning
from suite.records.trial import Choice
from tests.support.fake_records import planned_cell, remove, searched, write_experiment

TASK, METHODS = (("digits", "mlp"),), ("bop", "latent_sgd")


def tuned(*tracks: Track, seed: int = 0) -> Callable[[PlanRecord], PlanRecord]:
    return lambda plan: replace(plan, tuning=Tuning(tracks=list(tracks), seed=seed))


def random(trials: int = 2, studies: int = 3) -> Track:
    return Track(name="random", trials=trials, studies=studies)


def tpe(trials: int = 2, studies: int = 2, at_once: int = 2) -> Track:
    return Track(name="tpe", trials=trials, studies=studies, at_once=at_once)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> ExperimentFolder:
    """A finished experiment: two cells with three random studies and two of TPE, bop with four, two seeds."""
    path = tmp_path_factory.mktemp("replan") / "results" / "x"
    return ExperimentFolder(
        write_experiment(
            path, tasks=TASK, methods=METHODS, seeds=2, tracks=[random(), tpe()], studies={"bop": 4}
        )
    )


def cells(change: Callable[[PlannedCell], PlannedCell]) -> Callable[[PlanRecord], PlanRecord]:
    return lambda plan: replace(plan, cells=[change(cell) for cell in plan.cells])


def trained(**changes: Any) -> Callable[[PlannedCell], PlannedCell]:
    return lambda cell: replace(cell, trial=replace(cell.trial, train=replace(cell.trial.train, **changes)))


def other_range(plan: PlanRecord) -> PlanRecord:
    card = plan.methods["bop"]
    hypers = {**card.hypers, "gamma": searched(1e-4, "log", 1e-5, 0.01)}
    return replace(plan, methods={**plan.methods, "bop": replace(card, hypers=hypers)})


Dropped = Callable[[str, Place], bool]  # of a cell and a place


def everything(cell: str, place: Place) -> bool:
    return True


def of_tpe(cell: str, place: Place) -> bool:
    return place.track == "tpe"


DROPS: list[tuple[str, Callable[[PlanRecord], PlanRecord], Dropped]] = [
    ("train.epochs is 20, in the new plan it is 3 (2 cells)", cells(trained(epochs=3)), everything),
    (
        "the cell digits.mlp.latent_sgd is not in the new plan",
        lambda plan: replace(plan, cells=plan.cells[:1]),
        lambda cell, place: cell.endswith("latent_sgd"),
    ),
    (
        "tuning.random.trials is 2, in the new plan it is 1",
        tuned(random(trials=1), tpe()),
        lambda cell, place: place.phase == "tuning" and place.track == "random" and place.number == 1,
    ),
    (
        "tuning.random.studies is 3, in the new plan it is 2",
        tuned(random(studies=2), tpe()),
        lambda cell, place: place.study == 2 and cell.endswith("latent_sgd"),
    ),
    (
        "bop.studies is 4, in the new plan it is 2",
        cells(lambda cell: replace(cell, studies=None)),
        lambda cell, place: cell.endswith("bop") and place.study >= (2 if place.track == "tpe" else 3),
    ),
    ("tuning.tpe.at_once is 2, in the new plan it is 3", tuned(random(), tpe(at_once=3)), of_tpe),
    ("the track tpe is not in the new plan", tuned(random()), of_tpe),
    ("tuning.seed is 0, in the new plan it is 7", tuned(random(), tpe(), seed=7), everything),
    (
        "seeds is 2, in the new plan it is 1",
        lambda plan: replace(plan, seeds=1),
        lambda cell, place: place.phase != "tuning" and place.number == 1,
    ),
    (
        "the range of bop.gamma is log 1e-06 … 0.01, in the new plan it is log 1e-05",
        other_range,
        lambda cell, place: cell.endswith("bop"),
    ),
    (
        "data.limit is 'absent', in the new plan it is 9",
        cells(lambda cell: replace(cell, trial=replace(cell.trial, data=Choice("digits", {"limit": 9})))),
        everything,
    ),
    (
        "probes is 'absent', in the new plan it is [{'name': 'signs'}] (2 cells)",
        cells(lambda cell: replace(cell, trial=replace(cell.trial, probes=(Choice("signs", {}),)))),
        lambda cell, place: place.phase != "tuning",
    ),
    (
        "protocol is 4, in the new plan it is 5",
        cells(lambda c: replace(c, trial=replace(c.trial, protocol=5))),
        everything,
    ),
]


@pytest.mark.parametrize(("words", "change", "dropped"), DROPS, ids=[words for words, *_ in DROPS])
def test_a_plan_that_drops_finished_runs_is_refused(
    folder: ExperimentFolder, words: str, change: Callable[[PlanRecord], PlanRecord], dropped: Dropped
) -> None:
    """A run that two places share is counted once, and only if both are dropped."""
    plan = folder.plan()
    runs, kept = set[str](), set[str]()
    for cell in plan.cells:
        for named in named_runs(folder.ledger(cell, plan), cell, plan):
            (runs if dropped(cell.cell, named.place) else kept).add(named.run)
    runs -= kept
    assert runs
    with pytest.raises(UserError) as error:
        require_same_work(folder, folder.plan(), change(folder.plan()))
    text = str(error.value)
    assert words in text and f"{len(runs)} finished runs that are not in the new one" in text
    assert all(way in text for way in ("mv ", "--results", "plan-before.json"))


@pytest.mark.parametrize(
    ("words", "change"),
    [
        ("", lambda plan: plan),
        ("", lambda plan: replace(plan, summary="Better.", yaml="# another", experiment="paper/x")),
        ("4 trials of random instead of 2", tuned(random(trials=4), tpe())),
        ("5 studies of tpe instead of 2", tuned(random(), tpe(studies=5))),
        (
            "6 studies of digits.mlp.bop",
            cells(lambda cell: replace(cell, studies=cell.studies and 6)),
        ),
        (
            "4 studies of random instead of 3, 4 studies of tpe instead of 2",
            lambda plan: tuned(random(studies=4), tpe(studies=4))(
                cells(lambda cell: replace(cell, studies=None))(plan)
            ),
        ),
        (  # each cell keeps what it had, also where fewer are for all
            "3 studies of digits.mlp.latent_sgd",
            lambda plan: tuned(random(studies=2), tpe())(
                cells(lambda cell: replace(cell, studies=cell.studies or 3))(plan)
            ),
        ),
        ("3 seeds instead of 2", lambda plan: replace(plan, seeds=3)),
        ("1 cell", lambda plan: replace(plan, cells=[*plan.cells, planned_cell("fashion", "mlp", "bop")])),
    ],
)  # fmt: skip
def test_a_plan_that_only_adds_continues(
    folder: ExperimentFolder, words: str, change: Callable[[PlanRecord], PlanRecord]
) -> None:
    note = require_same_work(folder, folder.plan(), change(folder.plan()))
    assert note == (f"{folder.plan_path}: the plan that was here is extended: {words}" if words else "")


def test_a_new_track_has_as_many_studies_as_it_has(folder: ExperimentFolder) -> None:
    """It takes none of the studies that a method had of another track."""
    plan = folder.plan()
    before = replace(plan, tuning=Tuning(tracks=[random()]))
    after = replace(
        tuned(random(studies=4), tpe(studies=1))(plan),
        cells=[replace(cell, studies=None) for cell in plan.cells],
    )
    assert changes(before, after) == ""


def test_a_plan_without_finished_runs_is_replaced_with_a_note(tmp_path: Path) -> None:
    folder = ExperimentFolder(
        write_experiment(tmp_path / "x", tasks=TASK, methods=METHODS, seeds=1, trials=1)
    )
    for run in folder.run_names():
        remove(folder.run(run).path)
    after = cells(trained(epochs=3))(folder.plan())
    assert "another plan without finished runs was here" in require_same_work(folder, folder.plan(), after)


def test_results_in_the_place_of_an_older_flipbench_are_named(
    folder: ExperimentFolder, tmp_path: Path
) -> None:
    results = folder.path.parent
    plan = replace(folder.plan(), experiment="paper/x")
    with pytest.raises(UserError, match=f"mv {folder.path} {results / 'paper' / 'x'}"):
        require_no_older_place(results, plan)
    other = cells(trained(epochs=3))(plan)
    note = require_no_older_place(results, other)
    assert note == f"{folder.path}: another experiment of the same file name; it is left alone"
    with pytest.raises(UserError, match="older flipbench"):  # the run of `train`
        require_no_older_place(results, other, folder.run_names()[0])
    assert require_no_older_place(results, folder.plan()) == require_no_older_place(tmp_path, plan) == ""
    (results / "paper" / "x").mkdir(parents=True)
    assert require_no_older_place(results, plan) == ""


@pytest.mark.parametrize(
    ("before", "after", "names", "images"),
    [
        ({"plugin": "1"}, {"plugin": "2"}, ["bop"], set()),
        ({"plugins": {"model": "1"}}, {"plugins": {"model": "2"}}, ["mlp"], set()),
        ({"plugins": {"model": "1"}}, {}, ["mlp"], set()),  # it is in the catalogue now
        ({"plugins": {"data": "1"}}, {"plugins": {"data": "2"}}, ["digits"], {"digits"}),
        (
            {"plugin": "1", "plugins": {"model": "1", "data": "1"}},
            {"plugin": "2", "plugins": {"model": "2", "data": "2"}},
            ["bop", "mlp", "digits"],
            {"digits"},
        ),
        ({"plugins": {"data": "1"}}, {"plugins": {"data": "1"}}, None, set()),
        ({"plugins": {"data": "1"}}, {"plugins": {"data": "2"}, "real_lr": 0.5}, None, {"digits"}),
    ],
)
def test_an_edit_of_plugins_is_found_by_what_is_edited(
    folder: ExperimentFolder, before: dict[str, Any], after: dict[str, Any], names: Any, images: set[str]
) -> None:
    plan = folder.plan()

    def with_first(parts: dict[str, Any]) -> PlanRecord:
        first = plan.cells[0]
        return replace(plan, cells=[replace(first, trial=replace(first.trial, **parts))])

    old, new = with_first(before), with_first(after)
    assert edited_plugins(old, new) == ({} if names is None else {old.cells[0].cell: names})
    assert edited_data(old, new) == images
    if names is not None:
        assert changes(old, new) == "" and require_same_work(folder, old, new) == ""

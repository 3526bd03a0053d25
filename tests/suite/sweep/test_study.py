"""The study of a cell: draws that repeat nothing, equal budgets, the same draws after any stop."""

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.samplers import TPESampler

from suite.experiment.cell import Cell
from suite.machine.random_keys import random_key
from suite.records.schema import Scores, Tuning
from suite.records.winner import winner
from suite.sweep.study import CellStudy, Draw, study_key
from tests.support.tiny import tiny_plan

Score = Callable[[Draw], float]


@pytest.fixture
def cells(tmp_path: Path) -> dict[str, Cell]:
    return {cell.method: cell for cell in tiny_plan(tmp_path).cells}


def rate(drawn: Draw) -> float:
    """A score that depends on the draw."""
    value = drawn["real.lr"]
    assert isinstance(value, float)
    return value


def draw_all(
    cell: Cell, tuning: Tuning, remembered: tuple[Draw, ...] = (), score: Score = rate
) -> list[Draw]:
    """Every draw of a study, each with its score as soon as it is drawn."""
    study = CellStudy(cell, tuning, remembered)
    for number, drawn in enumerate(study.drawn()):
        study.tell(number, score(drawn))
    scored = len(study.drawn())
    while scored < tuning.trials:
        study.draw()
        for number, drawn in enumerate(study.drawn(scored), scored):
            study.tell(number, score(drawn))
            scored += 1
    return study.drawn()


def test_the_first_trial_is_the_published_default(cells: dict[str, Cell]) -> None:
    for tuning in (Tuning(trials=2), Tuning(trials=2, sampler="tpe")):
        drawn = draw_all(cells["bop"], tuning)
        assert drawn[0] == {"gamma": 1e-4, "threshold": 1e-8, "real.lr": 0.01}
        assert drawn[1] != drawn[0]


@pytest.mark.parametrize("tuning", [Tuning(trials=10), Tuning(trials=10, sampler="tpe", at_once=3)])
def test_a_resumed_study_draws_what_an_unbroken_one_draws(cells: dict[str, Cell], tuning: Tuning) -> None:
    """From every prefix of its draws, in the middle of a batch too, and with every score already known."""
    straight = draw_all(cells["latent-adam"], tuning)
    for remembered in range(11):
        assert draw_all(cells["latent-adam"], tuning, tuple(straight[:remembered])) == straight
    assert len({str(drawn) for drawn in straight}) == 10


@pytest.mark.parametrize("tuning", [Tuning(trials=10), Tuning(trials=10, sampler="tpe", at_once=4)])
def test_a_larger_budget_continues_the_study(cells: dict[str, Cell], tuning: Tuning) -> None:
    straight = draw_all(cells["bop"], tuning)
    drawn: list[Draw] = []
    for trials in (3, 7, 10):
        budget = Tuning(trials=trials, sampler=tuning.sampler, at_once=tuning.at_once)
        drawn = draw_all(cells["bop"], budget, tuple(drawn))
        assert drawn == straight[:trials]


def test_a_rebuilt_tpe_study_draws_what_one_optuna_study_draws(cells: dict[str, Cell]) -> None:
    """One live study, asked and told as Optuna means it, against those that are rebuilt for each batch."""
    cell, tuning = cells["latent-adam"], Tuning(trials=24, sampler="tpe", at_once=4)
    live = optuna.create_study(direction="maximize")
    live.add_trial(
        optuna.trial.create_trial(
            state=optuna.trial.TrialState.RUNNING,
            params=dict(cell.published),
            distributions=dict(cell.space),
        )
    )
    drawn: list[Draw] = [dict(cell.published)]
    for number in range(1, 24):
        if number % 4 == 0:
            for told in range(number - 4, number):
                live.tell(told, rate(drawn[told]))
        live.sampler = TPESampler(seed=random_key(0, number) % 2**32, n_startup_trials=4)
        drawn.append(dict(live.ask(dict(cell.space)).params))
    assert draw_all(cell, tuning) == drawn


def test_trial_n_tries_the_same_real_learning_rate_in_every_cell(cells: dict[str, Cell]) -> None:
    rates = [[drawn["real.lr"] for drawn in draw_all(cell, Tuning(trials=5))] for cell in cells.values()]
    assert rates[0] == rates[1] and len(set(rates[0])) == 5


def test_draws_follow_the_seed_and_stay_in_the_space(cells: dict[str, Cell]) -> None:
    cell = cells["latent-adam"]
    one, two = (draw_all(cell, Tuning(trials=20, seed=seed)) for seed in (1, 2))
    assert one[0] == two[0] and all(a != b for a, b in zip(one[1:], two[1:], strict=True))
    for drawn in one:
        for name, distribution in cell.space.items():
            assert distribution._contains(distribution.to_internal_repr(drawn[name]))
    assert {drawn["pseudo_gradient"] for drawn in one} >= {"clipped", "identity", "approx_sign"}


def test_tpe_draws_do_not_depend_on_the_order_of_scores(cells: dict[str, Cell]) -> None:
    tuning = Tuning(trials=16, sampler="tpe", at_once=4)
    drawn = {}
    for order in (1, -1):
        study = CellStudy(cells["bop"], tuning)
        for start in range(0, 16, 4):
            study.draw()
            assert len(study.drawn()) == start + 4  # it waits for the four before it draws more
            for number in range(start, start + 4)[::order]:
                study.tell(number, -abs(float(study.drawn()[number]["gamma"]) - 1e-3))  # type: ignore[arg-type]
        drawn[order] = study.drawn()
    assert drawn[1] == drawn[-1]


def test_tpe_learns_from_the_scores(cells: dict[str, Cell]) -> None:
    tuning = Tuning(trials=12, sampler="tpe", at_once=4)
    high, low = (
        draw_all(cells["bop"], tuning, (), lambda drawn, s=sign: s * rate(drawn)) for sign in (1, -1)
    )
    assert high[:4] == low[:4] and high[4:] != low[4:]


def test_another_definition_of_a_cell_is_another_study(tmp_path: Path, cells: dict[str, Cell]) -> None:
    changed = tiny_plan(tmp_path, "train.epochs=4").cells[0]
    assert study_key(cells["bop"], Tuning()) != study_key(changed, Tuning())
    assert study_key(cells["bop"], Tuning()) != study_key(cells["bop"], Tuning(seed=1))
    assert study_key(cells["bop"], Tuning(trials=99)) == study_key(cells["bop"], Tuning(trials=3))


def test_a_failed_trial_has_no_score_and_is_not_waited_for(cells: dict[str, Cell]) -> None:
    tuning = Tuning(trials=4, sampler="tpe", at_once=2)
    study = CellStudy(cells["bop"], tuning)
    study.draw()
    study.tell(0, None)
    study.draw()
    assert len(study.drawn()) == 2  # the other one is still running
    study.tell(1, 0.5)
    study.draw()
    assert len(study.drawn()) == 4


def test_the_winner() -> None:
    def score(top1: float, loss: float) -> Scores:
        return Scores(val_loss=loss, val_top1=top1, val_top5=1.0)

    assert winner({0: score(0.5, 1.0), 1: score(0.9, 1.0), 2: score(0.8, 0.1)}) == 1
    assert winner({0: score(0.9, 1.0), 1: score(0.9, 0.5), 2: score(0.9, 0.5)}) == 1  # ties: loss, then order
    assert winner({}) is None

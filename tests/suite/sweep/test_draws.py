"""The draws of a study: they repeat nothing, have equal budgets, and are the same after any stop."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import optuna
import pytest
from optuna.distributions import FloatDistribution
from optuna.samplers import TPESampler
from scipy import stats

from suite.experiment.cell import Cell
from suite.machine.random_keys import random_key
from suite.records.schedules import parse_decay
from suite.records.schema import Scores, Track
from suite.records.trial import Choice
from suite.records.winner import winner
from suite.sweep.draws import Draw, Draws, study_key
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


def random(trials: int) -> Track:
    return Track(name="random", trials=trials)


def tpe(trials: int, at_once: int = 4) -> Track:
    return Track(name="tpe", trials=trials, at_once=at_once)


def draw_all(
    cell: Cell, track: Track, remembered: tuple[Draw, ...] = (), score: Score = rate, number: int = 0
) -> list[Draw]:
    """Every draw of a study, each with its score as soon as it is drawn."""
    study = Draws(cell, track, number, remembered)
    for number, drawn in enumerate(study.drawn()):
        study.tell(number, score(drawn))
    scored = len(study.drawn())
    while scored < track.trials:
        study.draw()
        for number, drawn in enumerate(study.drawn(scored), scored):
            study.tell(number, score(drawn))
            scored += 1
    return study.drawn()


OTHERS = {
    "data": lambda cell: Choice("digits", {**cell.data.options, "train_limit": 100}),
    "model": lambda cell: Choice("mlp", {**cell.model.options, "hidden": (8,)}),
    "method": lambda cell: "bop-layer",
    "fixed": lambda cell: {**cell.fixed, "threshold": 1e-7},
    "decay": lambda cell: {"gamma": parse_decay({"cosine": 0.0})},
    "space": lambda cell: {**cell.space, "gamma": FloatDistribution(1e-6, 1e-2, log=True)},
    "published": lambda cell: {**cell.published, "gamma": 2e-4},
    "train": lambda cell: replace(cell.train, epochs=cell.train.epochs + 1),
    "sizes": lambda cell: replace(cell.sizes, val=cell.sizes.val + 1),
    "seed": lambda cell: cell.seed + 1,
}


@pytest.mark.parametrize("part", OTHERS)
def test_another_definition_is_another_study(cells: dict[str, Cell], part: str) -> None:
    """Draws of an old range, or at another setting, are none of the study that is planned now."""
    cell = cells["bop"]
    other = replace(cell, **{part: OTHERS[part](cell)})
    assert getattr(other, part) != getattr(cell, part)
    assert study_key(other, random(2), 0) != study_key(cell, random(2), 0)
    assert study_key(cell, random(2), 0) == study_key(cell, random(9), 0)  # a larger budget goes on with it


def test_the_first_trial_is_the_published_default(cells: dict[str, Cell]) -> None:
    for track in (random(2), tpe(2)):
        drawn = draw_all(cells["bop"], track, number=3)
        assert drawn[0] == {"gamma": 1e-4, "threshold": 1e-8, "real.lr": 0.01}
        assert drawn[1] != drawn[0]


@pytest.mark.parametrize("track", [random(10), tpe(10, 3)])
def test_a_resumed_study_draws_what_an_unbroken_one_draws(cells: dict[str, Cell], track: Track) -> None:
    """From every prefix of its draws, in the middle of a batch too, and with every score already known."""
    straight = draw_all(cells["latent-adam"], track)
    for remembered in range(11):
        assert draw_all(cells["latent-adam"], track, tuple(straight[:remembered])) == straight
    assert len({str(drawn) for drawn in straight}) == 10


@pytest.mark.parametrize("track", [random(10), tpe(10)])
def test_a_larger_budget_continues_the_study(cells: dict[str, Cell], track: Track) -> None:
    straight = draw_all(cells["bop"], track)
    drawn: list[Draw] = []
    for trials in (3, 7, 10):
        drawn = draw_all(cells["bop"], replace(track, trials=trials), tuple(drawn))
        assert drawn == straight[:trials]


def test_a_larger_budget_waits_for_a_lost_score_of_an_earlier_batch(cells: dict[str, Cell]) -> None:
    straight = draw_all(cells["bop"], tpe(12))
    study = Draws(cells["bop"], tpe(12), 0, tuple(straight[:6]))
    for number in (0, 1, 3, 4, 5):  # the run of trial 2 is damaged, and made again
        study.tell(number, rate(straight[number]))
    study.draw()
    assert study.drawn() == straight[:6]
    study.tell(2, rate(straight[2]))
    study.draw()
    assert study.drawn() == straight[:8]


def test_a_rebuilt_tpe_study_draws_what_one_optuna_study_draws(cells: dict[str, Cell]) -> None:
    """One live study, asked and told as Optuna means it, against those that are rebuilt for each batch."""
    cell, track = cells["latent-adam"], tpe(24)
    place = (cell.seed, cell.name, "tpe", 1)
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
        live.sampler = TPESampler(seed=random_key(*place, number) % 2**32, n_startup_trials=4)
        drawn.append(dict(live.ask(dict(cell.space)).params))
    assert draw_all(cell, track, number=1) == drawn


def test_no_two_cells_tracks_or_studies_share_a_draw(cells: dict[str, Cell]) -> None:
    rates = [
        drawn["real.lr"]
        for cell in cells.values()
        for track in (random(5), tpe(4))
        for number in range(3)
        for drawn in draw_all(cell, track, number=number)[1:]
    ]
    assert len(set(rates)) == len(rates) == 2 * 3 * (4 + 3)


def test_the_draws_of_all_studies_are_one_independent_sample(cells: dict[str, Cell]) -> None:
    """Uniform over the range, on its scale, and without correlation between trials and studies."""
    draws = np.array(
        [[drawn["real.lr"] for drawn in draw_all(cells["bop"], random(21), number=n)[1:]] for n in range(20)],
        float,
    )
    places = (np.log(draws) - np.log(1e-4)) / (np.log(0.1) - np.log(1e-4))
    assert stats.kstest(places.ravel(), "uniform").pvalue > 0.01
    for table in (places, places.T):
        others = np.corrcoef(table)[np.triu_indices(20, 1)]
        assert abs(others.mean()) < 0.05 and abs(others).max() < 0.75


def test_draws_follow_the_seed_and_stay_in_the_space(cells: dict[str, Cell]) -> None:
    cell = cells["latent-adam"]
    one, two = (draw_all(replace(cell, seed=seed), random(20)) for seed in (1, 2))
    assert one[0] == two[0] and all(a != b for a, b in zip(one[1:], two[1:], strict=True))
    for drawn in one:
        for name, distribution in cell.space.items():
            assert distribution._contains(distribution.to_internal_repr(drawn[name]))
    assert {drawn["pseudo_gradient"] for drawn in one} >= {"clipped", "identity", "approx_sign"}


def test_tpe_draws_do_not_depend_on_the_order_of_scores(cells: dict[str, Cell]) -> None:
    drawn = {}
    for order in (1, -1):
        study = Draws(cells["bop"], tpe(16), 0)
        for start in range(0, 16, 4):
            study.draw()
            assert len(study.drawn()) == start + 4  # it waits for the four before it draws more
            for number in range(start, start + 4)[::order]:
                study.tell(number, -abs(float(study.drawn()[number]["gamma"]) - 1e-3))  # type: ignore[arg-type]
        drawn[order] = study.drawn()
    assert drawn[1] == drawn[-1]


def test_tpe_learns_from_the_scores(cells: dict[str, Cell]) -> None:
    high, low = (
        draw_all(cells["bop"], tpe(12), (), lambda drawn, s=sign: s * rate(drawn)) for sign in (1, -1)
    )
    assert high[:4] == low[:4] and high[4:] != low[4:]


def test_another_definition_of_a_cell_is_another_study(tmp_path: Path, cells: dict[str, Cell]) -> None:
    changed = tiny_plan(tmp_path, "train.epochs=4").cells[0]
    cell = cells["bop"]
    key = study_key(cell, random(3), 0)
    assert key.startswith("digits.mlp.bop.random.0-") and study_key(cell, random(99), 0) == key
    others = [study_key(changed, random(3), 0), study_key(replace(cell, seed=1), random(3), 0)]
    others += [study_key(cell, random(3), 1), study_key(cell, tpe(3), 0), study_key(cell, tpe(3, 2), 0)]
    assert len({key, *others}) == 6


def test_a_failed_trial_has_no_score_and_is_not_waited_for(cells: dict[str, Cell]) -> None:
    study = Draws(cells["bop"], tpe(4, 2), 0)
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

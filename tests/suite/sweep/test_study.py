"""The study of a cell: draws that repeat nothing, equal budgets, a journal that survives a torn tail."""

from pathlib import Path

import pytest

from suite.experiment.plan import Cell
from suite.experiment.spec import Tuning
from suite.sweep.study import CellStudy, winner
from tests.support.tiny import tiny_plan


@pytest.fixture
def cells(tmp_path: Path) -> dict[str, Cell]:
    return {cell.method: cell for cell in tiny_plan(tmp_path).cells}


def draw_all(cell: Cell, tuning: Tuning, folder: Path, score=lambda drawn: drawn["real.lr"]) -> list[dict]:
    """Every draw of a study, each told its score as soon as it is drawn."""
    study = CellStudy(cell, tuning, folder)
    told = 0
    while told < tuning.trials:
        study.draw()
        for number, drawn in enumerate(study.drawn()[told:], told):
            study.tell(number, score(drawn))
            told += 1
    return study.drawn()


def test_the_first_trial_is_the_published_default(tmp_path: Path, cells: dict[str, Cell]) -> None:
    for sampler in ("random", "tpe"):
        drawn = draw_all(
            cells["bop"], Tuning.model_validate(dict(trials=2, sampler=sampler)), tmp_path / sampler
        )
        assert drawn[0] == {"gamma": 1e-4, "threshold": 1e-8, "real.lr": 0.01}
        assert drawn[1] != drawn[0]


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_going_on_repeats_nothing(tmp_path: Path, cells: dict[str, Cell], sampler: str) -> None:
    straight = draw_all(
        cells["latent-adam"], Tuning.model_validate(dict(trials=10, sampler=sampler)), tmp_path / "straight"
    )
    for trials in (3, 7, 10):
        resumed = draw_all(
            cells["latent-adam"],
            Tuning.model_validate(dict(trials=trials, sampler=sampler)),
            tmp_path / "resumed",
        )
        assert resumed == straight[:trials]
    assert len({str(drawn) for drawn in straight}) == 10


def test_a_trial_that_was_running_is_still_to_be_told(tmp_path: Path, cells: dict[str, Cell]) -> None:
    """A coordinator killed between drawing and telling: the next one finds the same draws, untold."""
    tuning = Tuning(trials=4)
    killed = CellStudy(cells["bop"], tuning, tmp_path)
    killed.draw()
    killed.tell(1, 0.5)
    successor = CellStudy(cells["bop"], tuning, tmp_path)
    assert successor.drawn() == killed.drawn()
    assert [successor.tell(number, 0.5) for number in range(4)] == [True, False, True, True]


def test_trial_n_tries_the_same_real_learning_rate_in_every_cell(
    tmp_path: Path, cells: dict[str, Cell]
) -> None:
    rates = [
        [drawn["real.lr"] for drawn in draw_all(cell, Tuning(trials=5), tmp_path)] for cell in cells.values()
    ]
    assert rates[0] == rates[1] and len(set(rates[0])) == 5


def test_draws_follow_the_seed_and_stay_in_the_space(tmp_path: Path, cells: dict[str, Cell]) -> None:
    cell = cells["latent-adam"]
    one, two = (draw_all(cell, Tuning(trials=20, seed=seed), tmp_path) for seed in (1, 2))
    assert one[0] == two[0] and all(a != b for a, b in zip(one[1:], two[1:], strict=True))
    for drawn in one:
        for name, distribution in cell.space.items():
            assert distribution._contains(distribution.to_internal_repr(drawn[name]))
    assert {drawn["pseudo_gradient"] for drawn in one} >= {"clipped", "identity", "approx_sign"}


def test_tpe_draws_do_not_depend_on_the_order_of_results(tmp_path: Path, cells: dict[str, Cell]) -> None:
    tuning = Tuning(trials=16, sampler="tpe", at_once=4)
    drawn = {}
    for order in (1, -1):
        study = CellStudy(cells["bop"], tuning, tmp_path / str(order))
        for start in range(0, 16, 4):
            study.draw()
            assert len(study.drawn()) == start + 4  # it waits for the four before it draws on
            for number in range(start, start + 4)[::order]:
                study.tell(number, -abs(study.drawn()[number]["gamma"] - 1e-3))
        drawn[order] = study.drawn()
    assert drawn[1] == drawn[-1]


def test_another_definition_of_a_cell_is_another_study(tmp_path: Path, cells: dict[str, Cell]) -> None:
    changed = tiny_plan(tmp_path, "train.epochs=4").cells[0]
    assert CellStudy(cells["bop"], Tuning(), tmp_path).path != CellStudy(changed, Tuning(), tmp_path).path
    more = CellStudy(cells["bop"], Tuning(trials=99), tmp_path)
    assert more.path == CellStudy(cells["bop"], Tuning(trials=3), tmp_path).path  # a larger budget goes on


def test_a_torn_tail_is_cut(tmp_path: Path, cells: dict[str, Cell]) -> None:
    tuning = Tuning(trials=6)
    whole = draw_all(cells["bop"], tuning, tmp_path)
    journal = CellStudy(cells["bop"], tuning, tmp_path).path
    content = journal.read_bytes()
    for lost in (1, 7, 300):
        journal.write_bytes(content[:-lost])
        assert draw_all(cells["bop"], tuning, tmp_path) == whole


@pytest.mark.parametrize("sampler", ["random", "tpe"])
@pytest.mark.parametrize("real", ["{}", "{lr: 0.01}"])
def test_a_kill_between_two_values_of_a_draw(tmp_path: Path, sampler: str, real: str) -> None:
    """The journal cut after any of its lines, or in the middle of one: the trials are the same."""
    cell = tiny_plan(tmp_path, f"real={real}").cells[0]
    tuning = Tuning.model_validate(dict(trials=3, sampler=sampler, at_once=1))
    whole = draw_all(cell, tuning, tmp_path, lambda drawn: drawn["gamma"])
    journal = CellStudy(cell, tuning, tmp_path).path
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept in range(len(lines)):
        for tail in (b"", lines[kept][:5]):
            journal.write_bytes(b"".join(lines[:kept]) + tail)
            assert draw_all(cell, tuning, tmp_path, lambda drawn: drawn["gamma"]) == whole


def test_a_damaged_journal_is_set_aside(tmp_path: Path, cells: dict[str, Cell]) -> None:
    tuning = Tuning(trials=3)
    whole = draw_all(cells["bop"], tuning, tmp_path)
    journal = CellStudy(cells["bop"], tuning, tmp_path).path
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"{nonsense\n", *lines[3:]]))
    assert draw_all(cells["bop"], tuning, tmp_path) == whole
    assert journal.with_name(journal.name + ".damaged").exists()


def test_a_failed_trial_is_no_value(tmp_path: Path, cells: dict[str, Cell]) -> None:
    study = CellStudy(cells["bop"], Tuning(trials=2), tmp_path)
    study.draw()
    study.tell(0, None)
    study.tell(1, 0.5)
    assert study.study.best_value == 0.5
    again = CellStudy(cells["bop"], Tuning(trials=2), tmp_path)
    assert [again.tell(0, 0.7), again.tell(1, 0.5)] == [True, False]  # it was tried once more
    assert again.study.best_value == 0.7


def test_the_winner() -> None:
    def score(top1: float, loss: float) -> dict[str, float]:
        return {"val_top1": top1, "val_loss": loss}

    assert winner({0: score(0.5, 1.0), 1: score(0.9, 1.0), 2: score(0.8, 0.1)}) == 1
    assert winner({0: score(0.9, 1.0), 1: score(0.9, 0.5), 2: score(0.9, 0.5)}) == 1  # ties: loss, then order
    assert winner({}) is None

"""The answer on ease of tuning in words: no stronger than the intervals, and short with many methods."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from report.analysis import inclusion
from report.analysis.differences import Difference
from report.analysis.ease import good_share, share_differences
from report.analysis.gain import SAME_RUNS, Gain, welch
from report.analysis.inclusion import INCLUSIONS, Inclusion, InclusionCheck
from report.analysis.intervals import Interval
from report.analysis.robustness import Robustness
from report.analysis.search import crowded_edges, near_edge, share_near_edge
from report.analysis.study import TaskStudy, TrackComparison
from report.page.answer import answer, gain, n_of, needed, notes, share
from report.page.tuning import (
    best_of,
    decided_by_loss,
    ease_table,
    hypers_table,
    importance_table,
    regret,
    winners,
)
from report.read.experiment import read_records
from report.read.records import Records
from suite.records.schema import Range, Track
from tests.support.fake_records import TASKS, write_experiment
from tests.support.studies import study_of

METHODS = ("bop", "latent_adam", "latent_sgd")
RANDOM, TPE = Track(name="random", trials=8, studies=5), Track(name="tpe", trials=8, studies=10)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder, tracks = tmp_path_factory.mktemp("study"), [Track(name="random", trials=8, studies=3)]
    return read_records(write_experiment(folder, tasks=TASKS[:1], methods=METHODS, seeds=1, tracks=tracks))


@pytest.fixture(scope="module")
def found(records: Records) -> TaskStudy:
    return study_of(records)


def with_good(study: TaskStudy, *good: int, draws: int = 100) -> TaskStudy:
    """The same with so many good draws of each method in turn."""
    near = [good_share([0.9] * each + [0.1] * (draws - each), 0.9, 0.01) for each in good]
    rows = tuple(
        replace(row, near=each, gain=Gain(0.042, Interval(0.01, 0.074)))
        for row, each in zip(study.methods, near, strict=True)
    )
    differences = share_differences({row.method: row.near for row in rows if row.near})
    return replace(study, methods=rows, differences=tuple(differences))


@pytest.mark.parametrize("trials", [1, 8])
def test_studies_of_one_trial_tuned_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trials: int
) -> None:
    """Nor can a general method be tuned too little."""
    monkeypatch.setattr(inclusion, "INCLUSIONS", [Inclusion("bop_second_order", "bop", "sigma", 0.0)])
    tracks = [Track(name="random", trials=trials, studies=3)]
    methods = ("bop", "bop_second_order")
    study = study_of(
        read_records(write_experiment(tmp_path, tasks=TASKS[:1], methods=methods, seeds=2, tracks=tracks))
    )
    assert (answer(study) == ["Nothing was tuned."]) == (trials == 1)
    assert len(study.inclusions) == (trials > 1)


def test_one_draw_of_the_tuning_is_said_of_the_rows_that_rest_on_it(tmp_path: Path) -> None:
    tracks = [replace(RANDOM, studies=1), replace(TPE, studies=3)]
    study = study_of(
        read_records(write_experiment(tmp_path, tasks=TASKS[:1], methods=METHODS, seeds=2, tracks=tracks))
    )
    sentences = [each for each in answer(study) if "over the published default" in each]
    assert sentences
    for sentence in sentences:
        of_one = sentence.startswith("Given one draw of the tuning: ")
        assert ("(tpe)" not in sentence) if of_one else ("(random)" not in sentence)
    assert any("(random)" in each for each in sentences) and any("(tpe)" in each for each in sentences)


def test_one_method_is_harder_to_tune_and_one_is_not_separated(found: TaskStudy) -> None:
    first, harder, open_, gains = answer(with_good(found, 12, 43, 38))
    assert first.startswith("Of latent_adam 43 of 100 random settings come within 1 point of the best known")
    assert "43 % [34, 53]. So 6 [4, 8] draws contain such a setting with 95 % chance." in first
    assert (
        harder == "Harder to tune than latent_adam: bop (12 %, 24 draws; 31 fewer [16, 44] good ones of 100)."
    )
    assert open_ == (
        "Not shown to be harder to tune than latent_adam, nor to be as easy: latent_sgd (38 %, 7 draws; "
        "not excluded: from 21 fewer to 11 more of 100)."
    )
    assert "in points on test, each for itself: bop +4.20 [+1.00, +7.40], latent_adam" in gains


def test_no_good_setting_at_all_says_what_it_excludes(found: TaskStudy) -> None:
    first, *rest = answer(with_good(found, 0, 0, 0))
    assert first.startswith("No random setting of any method comes within 1 point")
    assert first.endswith("With 100 draws of each, shares up to 3.7 % are not excluded.")
    assert len(rest) == 1 and "gained" in rest[0]


def test_few_draws_are_said_to_be_few(found: TaskStudy) -> None:
    assert "A method has 7 draws: too few" in " ".join(answer(with_good(found, 1, 2, 3, draws=7)))
    enough = with_good(found, 1, 2, 3, draws=20)
    assert "too few" not in " ".join(answer(enough))
    first, *rest = enough.methods
    some = replace(enough, methods=(replace(first, near=good_share([0.9] + [0.1] * 34, 0.9, 0.01)), *rest))
    assert "too few" not in " ".join(answer(some))
    fewer = [replace(row, near=good_share([0.9] + [0.1] * 13, 0.9, 0.01)) for row in rest]
    assert "A method has 14 to 35 draws: too few" in " ".join(
        answer(replace(some, methods=(some.methods[0], *fewer)))
    )


def test_one_study_is_one_draw_of_the_tuning(found: TaskStudy) -> None:
    study = with_good(found, 12, 43, 38)
    alone = tuple(replace(row, planned_studies=1) for row in study.methods)
    assert answer(replace(study, methods=alone))[-1].startswith(
        "Given one draw of the tuning: tuning gained over"
    )
    assert answer(study)[-1].startswith("Tuning gained over")


def test_a_gain_is_shown_or_it_is_not(found: TaskStudy) -> None:
    study = with_good(found, 12, 43, 38)
    gains = [
        SAME_RUNS,
        Gain(0.01, Interval(-0.002, 0.022), provisional=True),
        Gain(-0.01, Interval(-0.02, -0.0)),
    ]
    rows = tuple(replace(row, gain=gain) for row, gain in zip(study.methods, gains, strict=True))
    assert answer(replace(study, methods=rows))[-1] == (
        "No gain of tuning over the published default is shown for bop 0 (the default won), latent_adam "
        "+1.00 [−0.20, +2.20] (provisional) and latent_sgd −1.00 [−2.00, 0.00]."  # noqa: RUF001
    )


def test_a_gain_is_not_shown_by_two_units_or_without_a_lost_run(found: TaskStudy) -> None:
    wide = Interval(0.01, 0.03)
    gains = [Gain(0.02, wide, few=True), Gain(0.02, wide, provisional=True), Gain(0.02, wide)]
    rows = tuple(replace(row, gain=gain) for row, gain in zip(found.methods, gains, strict=True))
    study = replace(with_good(found, 0, 0, 0), methods=rows, reference=found.reference)
    shown, rest, few_units = answer(study)[-3:]
    assert shown.endswith("each for itself: latent_sgd +2.00 [+1.00, +3.00].")
    assert rest == (
        "No gain over the published default is shown for latent_adam +2.00 [+1.00, +3.00] (provisional)."
    )
    assert few_units == (
        "Too few units for a verdict on what tuning gained over the published default: bop +2.00 [+1.00, "
        "+3.00]."
    )
    few = [welch([0.9, 0.91, 0.92][:units], [0.8, 0.81, 0.82, 0.83]) for units in (2, 3)]
    assert [each.few for each in few] == [True, False]
    assert [n_of(some) for some in ([], [SAME_RUNS], few[1:], few)] == [
        "",
        "",
        " (n = 3 and 4)",
        " (n = 2 to 3 and 4)",
    ]


def test_every_sentence_on_a_gain_has_its_n(found: TaskStudy) -> None:
    wide = Interval(0.01, 0.03)
    gains = [
        Gain(0.02, wide, few=True, units=(2, 6)),
        Gain(0.0, Interval(-0.01, 0.01), units=(3, 6)),
        Gain(0.02, wide, units=(5, 10)),
    ]
    rows = tuple(replace(row, gain=gain) for row, gain in zip(found.methods, gains, strict=True))
    study = replace(with_good(found, 0, 0, 0), methods=rows, reference=found.reference)
    shown, rest, few_units = answer(study)[-3:]
    assert "each for itself (n = 5 and 10): " in shown and rest.endswith(" (n = 3 and 6).")
    assert "published default (n = 2 and 6): bop" in few_units


def test_an_equal_score_of_another_setting_is_not_the_default(found: TaskStudy) -> None:
    assert gain(Gain(0.0, None)) == "0.00 (no interval)"
    row = replace(found.methods[0], regret=Gain(0.0, None))
    assert (regret(row), regret(replace(row, regret=SAME_RUNS))) == (
        "0.00 (no interval)",
        "is the best known",
    )


def test_many_methods_fill_no_more_lines(found: TaskStudy) -> None:
    rows = tuple(
        replace(row, cell=replace(row.cell, method=f"{row.method}-{n}"))
        for n in range(14)
        for row in with_good(found, 5, 30, 32).methods
    )
    differences = share_differences({row.method: row.near for row in rows if row.near})
    sentences = answer(replace(found, methods=rows, differences=tuple(differences)))
    assert len(sentences) == 4 and max(map(len, sentences)) < 420
    assert "and 10 others" in sentences[1] and "27 other methods (not excluded: from" in sentences[2]


def test_what_else_the_records_say(found: TaskStudy) -> None:
    def check(low: float, high: float, in_range: bool = True) -> InclusionCheck:
        gain = Gain((low + high) / 2, Interval(low, high))
        return InclusionCheck(INCLUSIONS[0], "latent-momentum", "latent-sgd", in_range, gain)

    lost = notes(replace(found, leader=None, inclusions=(check(-0.02, -0.01, in_range=False),)))
    assert lost == [
        "latent-momentum is tuned too little: it is 1.50 points [1.00, 2.00] below latent-sgd, its special "
        "case at momentum = 0, which its search does not reach."
    ]
    kept = notes(replace(found, leader=None, inclusions=(check(-0.02, 0.01),)))
    assert kept == ["No general method is shown to lose to its special case: latent-momentum to latent-sgd."]
    counted = replace(check(-0.02, 0.01), gain=Gain(-0.005, Interval(-0.02, 0.01), units=(3, 5)))
    (with_n,) = notes(replace(found, leader=None, inclusions=(counted,)))
    assert "special case (n = 3 and 5): " in with_n
    unknown = replace(check(0.0, 0.0), general="latent-nesterov", gain=Gain(math.nan, None))  # no run is in
    assert notes(replace(found, leader=None, inclusions=(check(-0.02, 0.01), unknown))) == kept
    assert notes(replace(found, leader=None, inclusions=(unknown,))) == []
    pair = Difference("bop (tpe)", "bop (random)", 0.02, 0.004, 8.0, 2)
    tracks = (
        TrackComparison("bop", RANDOM, TPE, pair),
        TrackComparison("bop", RANDOM, TPE, None),
        TrackComparison("bop", replace(RANDOM, trials=9), TPE, None),
    )
    better, too_few, uneven = notes(replace(found, leader=None, tracks=tracks))
    assert better.endswith(
        "bop: +2.00 points on test [+1.08, +2.92] with 8 trials each, n = 10 and 5 studies: better."
    )
    assert "it takes 3 studies of each" in too_few and "not compared, with 8 and 9 trials" in uneven
    fragile = replace(found.methods[0], order=Robustness(4, (), 200, 40))
    order, ranges = notes(replace(found, leader="latent_adam", methods=(fragile,)))
    assert order.endswith("these may have a better one: bop (20 % of the choices).")
    assert ranges == (
        "No method has a better draw than latent_adam where only a half of one of its ranges counts."
    )
    turned = replace(found.methods[0], order=Robustness(8, ("lr, upper half", "x"), 200, 0))
    (ranges,) = notes(replace(found, leader="latent_adam", methods=(turned, fragile, found.methods[1])))[1:]
    assert ranges.endswith("another method has a better draw: bop in 2 of 8 cases (such as lr, upper half).")
    many = [replace(turned, cell=replace(turned.cell, method=f"m{n}")) for n in range(6)]
    (ranges,) = notes(replace(found, leader="latent_adam", methods=tuple(many)))
    assert ranges.endswith("m0 in 2 of 8 cases (such as lr, upper half) and 5 others.")


def test_numbers_are_rounded_to_what_they_mean() -> None:
    assert [needed(each) for each in (1.0, 5.0, 5.01, float("inf"), float("nan"))] == [
        "1",
        "5",
        "6",
        "∞",
        "—",
    ]
    assert [share(each) for each in (0.0, 0.004, 0.095, 0.1, 1.0)] == [
        "0 %",
        "0.4 %",
        "9.5 %",
        "10 %",
        "100 %",
    ]


def test_equal_draws_are_one_setting_and_no_tie(records: Records) -> None:
    cell = records.cells[0]
    number = cell.winners[0].number
    (won,) = (run for run in records.trials(cell) if run.place[2:4] == (0, number))
    other = next(run for run in records.trials(cell) if run.place.study == 0 and run != won)

    def tied(run_id: str) -> int:
        same = replace(other, run_id=run_id, result=won.result)
        return decided_by_loss(
            replace(records, runs=[same if run is other else run for run in records.runs]), cell
        )

    before = decided_by_loss(records, cell)
    assert (tied(other.run_id), tied(won.run_id)) == (before + 1, before)


def test_the_table_of_ease_has_an_interval_for_every_number(found: TaskStudy) -> None:
    table = ease_table(with_good(found, 12, 43, 38).methods)
    row = dict(zip(table.columns, table.rows[0], strict=True))
    assert row["random draws"] == "21" and row["within 1 point, % of draws"] == "12 [7, 20]"
    assert row["draws for 95 % chance"] == "24 [14, 42]"
    assert row["best of 8 draws, % on validation"].endswith("(no band)")  # 21 draws carry one up to 3
    (first, *_) = with_good(found, 12, 43, 38).methods
    lost = best_of(replace(first, search=replace(first.search, missing=2)))
    assert lost == row["best of 8 draws, % on validation"].replace(" (", " or more (")


def test_the_settings_of_all_studies_stand_side_by_side(records: Records) -> None:
    table = hypers_table(records, records.tasks[0])
    cells = {cell.method: cell for cell in records.cells}
    assert {row[1] for row in table.rows if row[0] == "latent_adam"} == {
        "lr",
        "estimator",
    }  # what was searched
    words = next(row for row in table.rows if row[:2] == ["latent_adam", "estimator"])
    assert words[2:] == [
        ", ".join(str(each.hypers["estimator"]) for each in cells["latent_adam"].winners.values()),
        "ste",
        "choice ste | approx | swish",
        "",
    ]


def test_many_winners_are_summed_up() -> None:
    assert winners([1.0, 2.0, 3.0]) == "1, 2, 3"
    assert winners([5.0, 1.0, 4.0, 2.0, 3.0, 6.0]) == "1 … 6, median 3"
    assert winners(["a", "b", "a", "a", "a", None]) == "a (4\u00d7), b (1\u00d7), none (1\u00d7)"


def test_edges_are_noted_where_more_winners_lie_there_than_by_chance(tmp_path: Path) -> None:
    tracks = [Track(name="random", trials=9, studies=3)]
    folder = write_experiment(tmp_path, tasks=TASKS[:1], methods=("latent_sgd",), seeds=1, tracks=tracks)
    records = read_records(folder)
    (cell,) = records.cells

    def noted(*momenta: float, numbers: tuple[int, ...] = (1, 2, 3)) -> str:
        studies = [
            replace(study, winner=replace(study.winner, number=number, hypers={**study.winner.hypers, **won}))
            for study, number, won in zip(
                cell.ledger.studies, numbers, ({"momentum": each} for each in momenta), strict=True
            )
            if study.winner
        ]
        changed = replace(cell, ledger=replace(cell.ledger, studies=studies))
        table = hypers_table(replace(records, cells=[changed]), records.tasks[0])
        (row,) = (row for row in table.rows if row[1] == "momentum")
        assert bool(table.warn) == bool(row[-1])
        return row[-1]

    assert noted(0.98, 0.97, 0.5) == "2 of 3 at the upper edge"
    assert noted(0.98, 0.5, 0.4) == noted(0.98, 0.01, 0.5) == ""
    # The published default was not drawn, wherever it lies.
    assert noted(0.98, 0.98, 0.98, numbers=(0, 0, 3)) == noted(0.98, 0.98, 0.98, numbers=(0, 0, 0)) == ""
    assert noted(0.98, 0.98, 0.5, numbers=(1, 2, 0)) == "2 of 2 at the upper edge"


@pytest.mark.parametrize("studies", [1, 2, 3, 7])
@pytest.mark.parametrize("searched", [Range("uniform", (0.0, 1.0)), Range("integer", (1, 3))])
def test_chance_alone_notes_an_edge_in_one_of_twenty_ranges(searched: Range, studies: int) -> None:
    rng, cases, noted = np.random.default_rng(0), 2000, 0
    for _ in range(cases):
        places = rng.random(studies)
        drawn = [1 + int(3 * place) for place in places] if searched.kind == "integer" else places.tolist()
        noted += bool(crowded_edges(drawn, searched))
    assert noted / cases <= 0.05 + 0.01


def test_the_share_of_whole_numbers_near_an_end() -> None:
    for low, high in ((1, 3), (0, 99), (0, 100), (5, 6), (2, 2)):
        searched = Range("integer", (low, high))
        near = [near_edge(value, searched) == "lower" for value in range(low, high + 1)]
        assert low == high or share_near_edge(searched) == np.mean(near)
    assert share_near_edge(Range("integer", (0, 10**9))) == pytest.approx(0.05)  # at once


def test_the_slices_of_a_hyperparameter_are_in_the_table(found: TaskStudy) -> None:
    table = importance_table(found)
    row = next(row for row in table.rows if row[:2] == ["latent_adam", "estimator"])
    effect = next(each for each in found.methods[1].effects if each.name == "estimator")
    assert row[2:4] == ["21", f"{100 * effect.explained:.0f}"]
    assert all(f"{part.name} {100 * part.median:.1f} ({part.draws})" in row[-1] for part in effect.slices)

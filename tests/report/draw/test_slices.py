"""Every random draw is in the slices of its method, at its own place, and none squeezes the others."""

import math
from dataclasses import replace

import numpy as np
import pytest

from report.analysis.study import TaskStudy
from report.draw.slices import ROOM, SPREAD, horizontal, labels, limits, slice_drawings
from report.draw.styles import looks_of
from report.read.experiment import read_records
from suite.records.schema import Range, Track
from tests.support.fake_records import TASKS, write_experiment
from tests.support.studies import study_of

METHODS = ("bop", "latent_adam")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> TaskStudy:
    tracks = [Track(name="random", trials=8, studies=3)]
    folder = tmp_path_factory.mktemp("slices")
    write_experiment(folder, tasks=TASKS[:1], methods=METHODS, seeds=1, tracks=tracks)
    return study_of(read_records(folder))


def test_a_figure_for_each_method_with_the_numbers_of_its_draws(study: TaskStudy) -> None:
    drawings = slice_drawings(study, looks_of(dict.fromkeys(METHODS, "")))
    assert len(drawings) == len({each.name for each in drawings}) == 2
    for drawing, row in zip(drawings, study.competing, strict=True):
        assert drawing.numbers is not None and drawing.caption.startswith(f"{row.method}:")
        assert list(drawing.numbers["validation"]) == list(row.search.scores) and len(row.search.scores) == 21
        for name in row.search.ranges:
            assert list(drawing.numbers[name]) == [values[name] for values in row.search.values]
            assert f">{name}</text>" in drawing.svg
        assert "bop" not in drawing.svg.replace('data-m="bop"', "") and 'data-m="' in drawing.svg


def test_few_draws_and_many_methods_have_no_slices(study: TaskStudy) -> None:
    looks = looks_of(dict.fromkeys(METHODS, ""))
    few = [replace(row, effects=()) for row in study.methods]
    assert slice_drawings(replace(study, methods=tuple(few)), looks) == []
    many = [replace(study.methods[0], cell=replace(study.methods[0].cell, method=f"m{n}")) for n in range(9)]
    assert slice_drawings(replace(study, methods=tuple(many)), looks) == []


def test_draws_of_a_word_lie_around_it_and_numbers_at_their_own_place() -> None:
    choice = Range("choice", ("a", None, 0.5))
    places = horizontal(choice, ["a", "a", None, "a", "gone"])
    np.testing.assert_allclose(places, [-2 * SPREAD / 3, 0.0, 1.0, 2 * SPREAD / 3, math.nan], atol=1e-12)
    log = Range("log", (1e-3, 1.0))
    np.testing.assert_array_equal(horizontal(log, [0.1, 0, True, None]), [0.1, math.nan, math.nan, math.nan])
    np.testing.assert_array_equal(horizontal(Range("integer", (0, 9)), [0, 9]), [0.0, 9.0])


def test_a_collapsed_draw_does_not_squeeze_the_axis() -> None:
    low, high = limits([0.10, 0.88, 0.89, 0.90])
    assert low == pytest.approx(0.90 - 4 * 0.015 - 0.06 * 0.06) and 0.90 < high < 0.91
    assert limits([0.5] * 4) == (0.49, 0.51)


def test_long_words_stand_on_two_lines_and_very_long_ones_are_cut() -> None:
    assert labels(["a", "b"]) == ["a", "b"]
    assert labels(["clipped", "identity", "sign"]) == ["clipped", "\nidentity", "sign"]
    (first, second) = labels(["x" * 30, "y"])
    assert first == "x" * (ROOM - 1) + "…" and second == "\ny"

"""Statements over many tasks, by hand."""

import math

import numpy as np
import pytest

from report.analysis.across_tasks import TaskScores, across_tasks, critical_difference, ranks_of, scores_of
from report.analysis.judgement import judge
from tests.support.final_runs import method, task

METHODS = ["a", "b", "c"]
TASK = TaskScores(0.1, {"a": 0.9, "b": 0.8, "c": 0.5})


def test_the_critical_difference_of_demsar() -> None:
    """Demsar (2006), section 3.2.2: four classifiers on 14 data sets, 2.569·√(4·5/(6·14)) = 1.25."""
    assert critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)


def test_ranks_share_ties() -> None:
    scores = np.array([[0.9, 0.1 + 0.2, 0.3, 0.1], [0.5, 0.5, 0.5, 0.5]])
    assert ranks_of(scores).tolist() == [[1, 2.5, 2.5, 4], [2.5, 2.5, 2.5, 2.5]]


def test_six_tasks_by_hand() -> None:
    tied = TaskScores(0.1, {"a": 0.8, "b": 0.8, "c": 0.6})
    found = across_tasks([TASK] * 5 + [tied], METHODS)
    assert found is not None
    assert found.mean_ranks == {"a": pytest.approx(6.5 / 6), "b": pytest.approx(11.5 / 6), "c": 3.0}
    assert found.critical_difference == pytest.approx(2.344 * math.sqrt(3 * 4 / 36), abs=1e-3)
    assert found.normalised["b"] == pytest.approx((5 * 0.7 / 0.8 + 1.0) / 6)
    assert found.normalised["c"] == pytest.approx((5 * 0.4 / 0.8 + 0.5 / 0.7) / 6)
    assert found.error_ratios["b"] == pytest.approx((1.0, 2.0, 2.0, 2.0, 2.0, 2.0))
    assert found.profile("b", 1.5) == pytest.approx(1 / 6)
    assert found.profile("a", 1.0) == 1.0
    assert found.left_out == ()


def test_below_six_tasks_there_is_nothing() -> None:
    assert across_tasks([TASK] * 5, METHODS) is None
    assert across_tasks([TASK] * 6, ["a"]) is None


def test_a_method_without_a_score_is_left_out_and_never_gains() -> None:
    lacking = TaskScores(0.1, {"a": 0.9, "b": 0.8})
    found = across_tasks([TASK] * 5 + [lacking], METHODS)
    assert found is not None
    assert found.left_out == ("c",)
    assert set(found.mean_ranks) == {"a", "b"}
    assert found.profile("c", 5.1) == pytest.approx(5 / 6)
    assert found.error_ratios["c"][-1] == math.inf


def test_a_perfect_best_has_no_ratio() -> None:
    found = across_tasks([TaskScores(0.1, {"a": 1.0, "b": 0.9})] * 6, ["a", "b"])
    assert found is not None
    assert found.error_ratios == {"a": (1.0,) * 6, "b": (math.inf,) * 6}


def test_only_complete_and_diverged_cells_of_competitors_have_scores() -> None:
    of = task(
        method("a", [0.9, 0.8]),
        method("b", [0.9], diverged=1),
        method("c", [0.9], missing=1),
        method("float", [0.95, 0.95], control=True),
    )
    assert scores_of(judge(of), 0.1).means == {"a": pytest.approx(0.85), "b": pytest.approx(0.5)}


def test_one_task_of_noise_reverses_nothing() -> None:
    """A method first on six tasks of six stays apart from the last one, whatever a seventh says."""
    reverse = TaskScores(0.1, {"a": 0.50, "b": 0.52, "c": 0.53})
    before, after = across_tasks([TASK] * 6, METHODS), across_tasks([TASK] * 6 + [reverse], METHODS)
    assert before is not None and after is not None
    for found in (before, after):
        assert list(found.mean_ranks) == METHODS
    assert before.mean_ranks["c"] - before.mean_ranks["a"] > before.critical_difference

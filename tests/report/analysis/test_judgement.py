"""Whole tasks, their readings computed by hand, and rules that hold for every task."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from report.analysis.critical import student
from report.analysis.differences import Difference
from report.analysis.evidence import MethodEvidence, TaskEvidence
from report.analysis.judgement import judge
from report.analysis.numbers import spread
from report.analysis.readings import Kind, against_best
from report.calibration.simulate import Population, simulate
from tests.support.final_runs import method, task


def words(of: TaskEvidence) -> dict[str, str]:
    return {each.method: each.reading.words for each in judge(of).methods}


def kinds(of: TaskEvidence) -> list[Kind]:
    return [each.reading.kind for each in judge(of).methods]


def test_two_methods_by_hand() -> None:
    """Both have the variance 1e-4, so the prior is e^gamma times that, with infinite degrees of freedom.

    Of 100 images the rates of a are 1 (90 times), 2/3, 1/3, 0 (8 times), those of b 1 (80 times), 2/3, 1/3,
    0 (18 times).
    """
    of = task(
        method("a", [0.90, 0.91, 0.92], images=100), method("b", [0.80, 0.81, 0.82], images=100), images=100
    )
    differences = [0.0] * 88 + [1 / 3, 2 / 3] + [1.0] * 8 + [2 / 3, 1 / 3]
    residual = (4 / 3 - 0.02) / (2 * 99)  # image effects 6/9 twice, less the units' own means
    images = (np.var(differences, ddof=1) - 2 * residual / 3) / 100
    units = 1e-4 * math.exp(np.euler_gamma) / 3
    square = 2 * units + images
    df = square**2 / (2 * units**2 / 2)
    half = student(df, 0.975) * math.sqrt(square)
    judgement = judge(of)
    best, other = judgement.methods
    assert judgement.best == "a"
    assert best.reading.words == "highest mean"
    assert other.reading.interval is not None
    assert (other.reading.interval.low, other.reading.interval.high) == pytest.approx(
        (0.1 - half, 0.1 + half)
    )
    assert other.reading.words == "worse by 10.00 [4.11, 15.89]"
    assert (best.may_be_best, other.may_be_best) == (True, False)
    assert other.setting is not None
    assert (other.setting.low, other.setting.high) == pytest.approx(
        (0.81 - 0.02484, 0.81 + 0.02484), abs=1e-5
    )
    assert best.procedure is None
    assert (best.mean, best.sd, best.units) == (pytest.approx(0.91), pytest.approx(0.01), 3)


def test_studies_have_two_intervals() -> None:
    """Over studies: means .90, .91, .92; over seeds: variance 2e-4 in each study, 3 degrees of freedom."""
    of = task(
        method("a", [[0.89, 0.91], [0.90, 0.92], [0.91, 0.93]]), method("b", [[0.8, 0.8]] * 3), studies=3
    )
    a, b = judge(of).methods
    assert a.procedure is not None and a.setting is not None
    assert (a.procedure.low, a.procedure.high) == pytest.approx((0.91 - 0.02484, 0.91 + 0.02484), abs=1e-5)
    half = 3.18245 * math.sqrt(2e-4 / 6)
    assert (a.setting.low, a.setting.high) == pytest.approx((0.91 - half, 0.91 + half))
    assert (b.sd, b.reading.kind) == (0.0, Kind.WORSE)
    assert not judge(of).conditional


def test_one_of_several_studies_has_no_interval_of_tuning_again() -> None:
    (alone,) = judge(task(method("a", [[0.89, 0.91]], missing=2), studies=3)).methods
    assert alone.procedure is None and alone.setting is not None
    assert alone.interval is None and spread(alone) == "90.00 (n\u00a0=\u00a01)"


def test_ties() -> None:
    """Equal means are both the highest; the first name stands for the best, in any order of the plan."""
    a, b = method("a", [0.90, 0.92, 0.94]), method("b", [0.91, 0.92, 0.93])
    c = method("c", [0.80, 0.81, 0.83])
    for order in itertools.permutations([a, b, c]):
        judgement = judge(task(*order))
        found = {each.method: each.reading for each in judgement.methods}
        assert judgement.best == "a"
        assert (found["a"].words, found["b"].words) == ("highest mean", "highest mean")
        assert found["c"].kind == Kind.WORSE


def test_the_order_of_the_methods_changes_nothing() -> None:
    random = np.random.default_rng(0)
    methods = [method(str(i), list(np.round(random.normal(0.9, 0.01, 4), 3))) for i in range(6)]
    forth, back = judge(task(*methods)), judge(task(*reversed(methods)))
    assert forth.methods == back.methods[::-1]


A, B, C = (
    method("a", [0.90, 0.91, 0.92]),
    method("b", [0.89, 0.91, 0.93]),
    method("c", [0.80, 0.81, 0.83]),
)


def test_damaged_cells_have_readings_of_their_own() -> None:
    missing = method("missing", [0.95, 0.96], missing=1)
    diverged = method("diverged", [0.97, 0.98], diverged=1)
    both = method("both", [0.95], diverged=1, missing=1)
    nothing = method("nothing", [], missing=3)
    of = task(A, B, C, missing, diverged, both, nothing, margin=0.5)
    assert words(of) | {"b": "", "c": ""} == {
        "a": "highest mean",
        "b": "",
        "c": "",
        "missing": "provisional: 2 of 3 runs in",
        "diverged": "diverges in 1 of 3",
        "both": "provisional: 2 of 3 runs in, 1 diverged",
        "nothing": "provisional: 0 of 3 runs in",
    }
    found = {each.method: each for each in judge(of).methods}
    assert not any(found[name].may_be_best for name in ("missing", "diverged", "both", "nothing"))
    assert found["diverged"].mean == pytest.approx((0.97 + 0.98 + 0.1) / 3)
    assert found["diverged"].mean_without_diverged == pytest.approx(0.975)
    assert math.isnan(found["nothing"].mean)


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("name", ["a", "b", "c", "diverged"])
def test_a_lost_run_leaves_no_reading_but_provisional(name: str, place: int) -> None:
    methods = {each.method: each for each in (A, B, C, method("diverged", [0.97, 0.98], diverged=1))}
    assert {each.method: each.reading.kind for each in judge(task(*methods.values())).methods}[
        name
    ] != Kind.PROVISIONAL
    units = methods[name].units
    methods[name] = replace(methods[name], units=units[:place] + units[place + 1 :])
    (found,) = (each for each in judge(task(*methods.values())).methods if each.method == name)
    assert found.reading.kind == Kind.PROVISIONAL
    assert not found.may_be_best


def test_two_studies_carry_no_verdict() -> None:
    of = task(method("a", [[0.9, 0.91]] * 2), method("b", [[0.5, 0.51]] * 2), studies=2)
    assert words(of) == {"a": "too few studies", "b": "too few studies"}
    assert judge(of).pairs == ()
    assert all(each.procedure and each.setting and not each.may_be_best for each in judge(of).methods)


@pytest.mark.parametrize("scores", [[0.9], [0.9, 0.91]])
def test_one_run_or_two_carry_no_verdict(scores: list[float]) -> None:
    of = task(method("a", scores), method("b", [score - 0.4 for score in scores]))
    assert words(of) == {"a": "too few runs", "b": "too few runs"}
    assert judge(of).methods[0].mean == pytest.approx(np.mean(scores))
    assert [each.setting is None for each in judge(of).methods] == [len(scores) == 1] * 2


def test_one_study_makes_every_statement_conditional() -> None:
    assert judge(task(A, C, studies=1)).conditional
    assert not judge(task(A, C)).conditional
    assert kinds(task(A, C, studies=1)) == kinds(task(A, C))


def test_a_method_alone_and_a_control() -> None:
    """A control has numbers but does not compete, and does not count in the correction."""
    frozen = method("frozen", [0.99, 0.98, 0.97], control=True)
    assert words(task(A, frozen)) == {"a": "only method", "frozen": "control"}
    with_control, without = judge(task(A, C, frozen)), judge(task(A, C))
    assert with_control.best == "a"
    assert with_control.pairs == without.pairs
    assert with_control.methods[2].reading.gap == pytest.approx(0.91 - 0.98)


def test_constant_methods_are_decided_by_their_images() -> None:
    """Today two methods of constant runs, 5 points apart, can't be told apart."""
    of = task(method("a", [0.95] * 3), method("b", [0.90] * 3))
    assert words(of)["b"] == "worse by 5.00 [3.65, 6.35]"
    assert [each.sd for each in judge(of).methods] == [0.0, 0.0]


def test_a_task_of_noise_has_no_verdict() -> None:
    random = np.random.default_rng(11)
    methods = [method(str(i), list(np.round(random.normal(0.9, 0.01, 5), 3))) for i in range(5)]
    assert Kind.WORSE not in kinds(task(*methods))
    assert all(each.may_be_best for each in judge(task(*methods)).methods)


def test_no_run_at_all() -> None:
    judgement = judge(task(method("a", [], missing=2), method("b", [], missing=2)))
    assert judgement.best is None
    assert [each.reading.kind for each in judgement.methods] == [Kind.PROVISIONAL] * 2


def behind(gap: float, error: float, methods: int = 10) -> Difference:
    return Difference("best", "other", gap, error, 20.0, methods)


@pytest.mark.parametrize(
    ("gap", "margin", "words"),
    [  # 10 methods, 20 degrees of freedom, error 1 point: all pairs beyond 3.54, the best set to 2.60
        (0.036, None, "worse by 3.60 [0.06, 7.14]"),
        (0.036, 0.5, "worse by 3.60 [0.06, 7.14]"),
        (0.030, 0.048, "equal within 4.80, d in [1.28, 4.72]"),
        (0.030, 0.047, "not separated, d in [−0.54, 6.54]"),  # noqa: RUF001 (a true minus sign)
        (0.030, None, "not separated, d in [−0.54, 6.54]"),  # noqa: RUF001
        (0.0262, None, "not separated, d in [−0.92, 6.16]"),  # noqa: RUF001
        (0.0260, None, "may be best, d in [−0.94, 6.14]"),  # noqa: RUF001
        (0.005, 0.023, "equal within 2.30, d in [−1.22, 2.22]"),  # noqa: RUF001
        (0.005, 0.022, "may be best, d in [−3.04, 4.04]"),  # noqa: RUF001
    ],
)
def test_the_order_of_readings(gap: float, margin: float | None, words: str) -> None:
    assert against_best(behind(gap, 0.01), margin, erratic=False).words == words


def test_the_best_of_incomplete_methods_is_none_of_them() -> None:
    damaged: list[MethodEvidence] = [
        method("a", [0.90, 0.91, 0.92], missing=1),
        method("b", [0.8, 0.81], diverged=1),
    ]
    assert judge(task(*damaged)).best is None
    assert len(judge(task(*damaged)).pairs) == 1


def test_an_erratic_method_is_placed_nowhere_and_disturbs_no_other() -> None:
    """20 points behind and no two studies alike: its interval would make it a rival of the best."""
    random = np.random.default_rng(2)
    usual = [Population(0.97, sd=0.003)] * 11
    alone = judge(simulate(random, usual, 3).task)
    random = np.random.default_rng(2)
    beside = judge(simulate(random, [*usual, Population(0.93, sd=0.03)], 3).task)
    (odd,) = beside.of_kind(Kind.ERRATIC)
    assert odd.method == "method-11" and not odd.may_be_best
    assert odd.reading.words.startswith("erratic, d in [") and odd.reading.short == "erratic"
    assert not alone.of_kind(Kind.ERRATIC)
    for one, other in zip(alone.methods, beside.methods[:11], strict=True):
        assert one.reading.kind == other.reading.kind
        if one.behind and other.behind:
            assert (one.behind.error, one.behind.df) == pytest.approx((other.behind.error, other.behind.df))


def test_an_erratic_method_can_be_worse() -> None:
    interval = against_best(behind(0.5, 0.01), None, erratic=True)
    assert interval.kind == Kind.WORSE

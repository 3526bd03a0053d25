"""The critical values against scipy and published tables."""

import math

import numpy as np
import pytest
from scipy import stats

from report.analysis.critical import against_the_best, all_pairs, all_pairs_p, student


@pytest.mark.parametrize(("methods", "df"), [(2, 1.5), (3, 2.0), (4, 16.0), (40, 4.3), (40, 500.0)])
def test_all_pairs_is_the_studentized_range(methods: int, df: float) -> None:
    value = all_pairs(methods, df)
    assert stats.studentized_range.cdf(math.sqrt(2) * value, methods, df) == pytest.approx(0.95, abs=1e-7)
    assert all_pairs_p(-value, methods, df) == pytest.approx(0.05, abs=1e-9)


@pytest.mark.parametrize(("methods", "value"), [(2, 1.960), (3, 2.344), (5, 2.728), (10, 3.164)])
def test_all_pairs_without_a_limit_of_units(methods: int, value: float) -> None:
    """The table of Demsar (2006)."""
    assert all_pairs(methods, math.inf) == pytest.approx(value, abs=5e-4)


@pytest.mark.parametrize(
    ("others", "df", "value"),
    [(1, 10, 1.81), (2, 10, 2.15), (5, 10, 2.56), (9, 10, 2.81), (2, 5, 2.44), (9, math.inf, 2.42)],
)
def test_the_table_of_dunnett(others: int, df: float, value: float) -> None:
    """Dunnett (1955), table 1a: one-sided, 95 %."""
    assert against_the_best(others, df) == pytest.approx(value, abs=0.0051)


def test_one_comparison_with_the_best_is_a_t_test() -> None:
    assert against_the_best(1, 4.5) == pytest.approx(float(stats.t.ppf(0.95, 4.5)))


def test_against_the_best_is_scipys_dunnett() -> None:
    """scipy integrates with random points: to three digits."""
    random = np.random.default_rng(3)
    control, *others = random.normal(0, 1, (4, 6))
    others[0] -= 1.4
    p = stats.dunnett(*others, control=control, alternative="less", rng=random).pvalue
    pooled = np.mean([np.var(each, ddof=1) for each in (control, *others)])
    t = (control.mean() - others[0].mean()) / math.sqrt(2 * pooled / 6)
    assert against_the_best(3, 20.0, 1 - float(p[0])) == pytest.approx(t, abs=0.01)


def test_student_and_the_normal_distribution() -> None:
    assert student(4, 0.975) == pytest.approx(2.776, abs=5e-4)
    assert student(math.inf, 0.975) == pytest.approx(1.960, abs=5e-4)


def test_no_degrees_of_freedom_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.0 degrees of freedom"):
        all_pairs(3, 0.0)

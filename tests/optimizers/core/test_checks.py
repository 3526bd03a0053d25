"""The checks of hyperparameters: accepted values, refused values, and the error that names the wrong one."""

import math
import pickle
from collections.abc import Callable

import pytest

from optimizers.core import BadHyper
from optimizers.core.checks import (
    check_below_one,
    check_not_negative,
    check_one_of,
    check_positive,
    check_rates,
    check_shares,
)

ABOVE_ZERO, BELOW_ZERO = 5e-324, -5e-324  # the floats next to zero
ABOVE_ONE, BELOW_ONE = math.nextafter(1.0, 2.0), math.nextafter(1.0, 0.0)

# The check, its condition, values just within its range, and values just outside.
RANGES = [
    (check_positive, "must be > 0", (ABOVE_ZERO, 1, math.inf), (0, 0.0, -0.0, BELOW_ZERO, -math.inf)),
    (check_not_negative, "must be >= 0", (0, 0.0, -0.0, math.inf), (BELOW_ZERO, -1, -math.inf)),
    (
        check_rates,
        "must lie in (0, 1]",
        (ABOVE_ZERO, BELOW_ONE, 1.0, 1),
        (0.0, 0, BELOW_ZERO, ABOVE_ONE, 3.0, math.inf, -math.inf),
    ),
    (
        check_shares,
        "must lie in [0, 1]",
        (0.0, -0.0, 0, ABOVE_ZERO, BELOW_ONE, 1.0, 1),
        (BELOW_ZERO, ABOVE_ONE, math.inf, -math.inf),
    ),
    (
        check_below_one,
        "must lie in [0, 1)",
        (0.0, -0.0, 0, ABOVE_ZERO, BELOW_ONE),
        (BELOW_ZERO, 1.0, 1, ABOVE_ONE, math.inf, -math.inf),
    ),
]
CHECKS = [(check, words) for check, words, _, _ in RANGES]


@pytest.mark.parametrize(
    ("check", "value"), [(check, value) for check, _, within, _ in RANGES for value in within]
)
def test_accepts_the_edges_that_belong_to_the_range(check: Callable[..., None], value: float) -> None:
    check(lr=value)


@pytest.mark.parametrize(
    ("check", "words", "value"),
    [(check, words, value) for check, words, _, outside in RANGES for value in (*outside, math.nan)],
)
def test_refuses_values_outside_the_range_and_nan(
    check: Callable[..., None], words: str, value: float
) -> None:
    with pytest.raises(BadHyper) as error:
        check(lr=value)
    assert (error.value.name, str(error.value)) == ("lr", f"lr {words}, not {value}")


@pytest.mark.parametrize(("check", "words"), CHECKS)
def test_names_the_first_refused_value(check: Callable[..., None], words: str) -> None:
    with pytest.raises(BadHyper) as error:
        check(good=0.5, bad=-1.0, worse=-2.0)
    assert (error.value.name, str(error.value)) == ("bad", f"bad {words}, not -1.0")


def test_the_error_is_a_value_error_that_can_cross_between_processes() -> None:
    error = BadHyper("gamma", "gamma must lie in (0, 1], not 2.0")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, ValueError) and type(copy) is BadHyper
    assert (copy.name, copy.message, str(copy)) == ("gamma", error.message, error.message)


@pytest.mark.parametrize(("check", "words"), CHECKS)
def test_accepts_no_values_at_all(check: Callable[..., None], words: str) -> None:
    check()


def test_accepts_each_of_the_choices() -> None:
    for value in ("run", "epoch"):
        check_one_of(("run", "epoch"), counted=value)
    for value in (0, 11, 14):
        check_one_of((0, 11, 14), formula=value)
    check_one_of({"xnor": 1, "recu": 2}, transform="recu")  # a table: the keys are the choices
    check_one_of(iter(("run", "epoch")), counted="epoch", once_more="run")
    check_one_of(())


@pytest.mark.parametrize(
    ("choices", "value", "words"),
    [
        (("run", "epoch"), "day", "hyper must be one of ['run', 'epoch'], not 'day'"),
        (("run", "epoch"), "", "hyper must be one of ['run', 'epoch'], not ''"),
        (("run", "epoch"), None, "hyper must be one of ['run', 'epoch'], not None"),
        ((0, 11, 14), 12, "hyper must be one of [0, 11, 14], not 12"),
        ((0, 11, 14), "0", "hyper must be one of [0, 11, 14], not '0'"),
        ((0, 11, 14), math.nan, "hyper must be one of [0, 11, 14], not nan"),
        ({"xnor": 1}, "recu", "hyper must be one of ['xnor'], not 'recu'"),
        ((), 1, "hyper must be one of [], not 1"),
    ],
)
def test_refuses_a_value_that_is_no_choice(choices: tuple[int | str], value: object, words: str) -> None:
    with pytest.raises(BadHyper) as error:
        check_one_of(choices, hyper=value)  # type: ignore[arg-type]
    assert (error.value.name, str(error.value)) == ("hyper", words)


def test_a_hyperparameter_may_have_the_name_of_the_argument() -> None:
    with pytest.raises(BadHyper, match=r"choices must be one of \[1\], not 2"):
        check_one_of((1,), choices=2)

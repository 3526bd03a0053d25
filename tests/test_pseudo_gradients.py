"""The sign that is never zero and its four slopes, against the functions whose derivatives they are."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from optimizers.core import ALWAYS_SIGNS, PSEUDO_GRADIENTS, sign

BELOW_ONE, ABOVE_ONE = (math.nextafter(1.0, to) for to in (0.0, 2.0))
GRID = [
    0.0,
    1e-30,
    1e-4,
    0.1,
    0.25,
    0.5,
    0.75,
    BELOW_ONE,
    1.0,
    ABOVE_ONE,
    1.5,
    2.0,
    7.9,
    8.1,
    30.0,
    1e4,
    1e30,
]
GRID += [-x for x in GRID]  # with -0.0
DTYPES = [torch.float32, torch.float64, torch.bfloat16, torch.float16]
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def swish_slope(x: float) -> float:
    """d/dx of 2 s(bx) (1 + bx (1 - s(bx))) - 1 with the logistic s and b = 5, by the product rule."""
    z = 5.0 * abs(x)  # the function is odd, its slope even
    s, one_minus_s = 1.0 / (1.0 + math.exp(-z)), math.exp(-z) / (1.0 + math.exp(-z))
    return 5.0 * 2.0 * s * one_minus_s * (2.0 + z * (one_minus_s - s))


SLOPES: dict[str, Callable[[float], float]] = {
    "identity": lambda x: 1.0,
    "clipped": lambda x: 1.0 if -1.0 <= x <= 1.0 else 0.0,
    "approx_sign": lambda x: 2.0 - 2.0 * abs(x) if -1.0 <= x <= 1.0 else 0.0,
    "swish_sign": swish_slope,
}


def sign_swish(x: float) -> float:
    s = 1.0 / (1.0 + math.exp(-5.0 * x))
    return 2.0 * s * (1.0 + 5.0 * x * (1.0 - s)) - 1.0


# The functions that stand in for the sign in the backward pass, as their papers define them.
STANDS_IN: dict[str, Callable[[float], float]] = {
    "identity": lambda x: x,
    "clipped": lambda x: max(-1.0, min(1.0, x)),
    "approx_sign": lambda x: math.copysign(min(2.0 * abs(x) - x * x, 1.0) if abs(x) < 1.0 else 1.0, x),
    "swish_sign": sign_swish,
}


def value_and_slope(name: str, x: Tensor, gradient: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    value = PSEUDO_GRADIENTS[name](x)
    value.backward(torch.ones_like(x) if gradient is None else gradient)
    assert x.grad is not None
    return value.detach(), x.grad


def test_every_pseudo_gradient_has_its_formula_here() -> None:
    assert list(PSEUDO_GRADIENTS) == list(SLOPES) == list(STANDS_IN)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sign_of_both_zeros_is_plus_one(dtype: torch.dtype) -> None:
    x = torch.tensor([0.0, -0.0, 1e-7, -1e-7, 3.0, -3.0, math.inf, -math.inf], dtype=dtype)
    assert sign(x).tolist() == [1.0, 1.0, 1.0, -1.0, 1.0, -1.0, 1.0, -1.0]
    assert sign(x).dtype == dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_sign_of_any_bits_equals_the_plain_choice(dtype: torch.dtype) -> None:
    bits = torch.randint(-(2**15), 2**15, (20_000,), generator=torch.Generator().manual_seed(0))
    x = (bits.to(torch.int16).view(torch.float16).double() * 2.0**-5).to(dtype)
    x = torch.cat([x[~x.isnan()], torch.zeros(7, dtype=dtype), -torch.zeros(7, dtype=dtype)])
    plain = torch.where(x >= 0, torch.ones_like(x), -torch.ones_like(x))
    assert torch.equal(sign(x), plain)
    assert torch.equal(sign(x[::3]), plain[::3])
    square = x[:10_000].view(2, 50, 10, 10).contiguous(memory_format=torch.channels_last)
    assert torch.equal(sign(square), plain[:10_000].view(2, 50, 10, 10))
    assert sign(square).stride() == square.stride()


def test_the_ways_to_read_that_always_give_signs() -> None:
    x = sign(torch.tensor([0.3, -0.0, -7.0]))
    for read in ALWAYS_SIGNS:
        assert torch.equal(read(x), x)
    for name, read in PSEUDO_GRADIENTS.items():
        assert read in ALWAYS_SIGNS, name
        assert read(torch.tensor(GRID)).abs().tolist() == [1.0] * len(GRID)


@given(st.lists(finite, min_size=1, max_size=20))
def test_sign_is_minus_one_exactly_below_zero(values: list[float]) -> None:
    x = torch.tensor(values)
    assert sign(x).tolist() == [-1.0 if value < 0.0 else 1.0 for value in values]
    assert torch.equal(x, torch.tensor(values))  # and its argument is left alone


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
def test_value_and_slope_on_a_grid(name: str) -> None:
    value, slope = value_and_slope(name, torch.tensor(GRID, dtype=torch.float64))
    assert value.tolist() == [-1.0 if x < 0.0 else 1.0 for x in GRID]
    assert slope.tolist() == pytest.approx([SLOPES[name](x) for x in GRID], rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
def test_slope_is_the_derivative_of_the_function_that_stands_in(name: str) -> None:
    between = [x / 16 + 1e-3 for x in range(-40, 40)]  # off the kinks
    h = 1e-6
    differences = [(STANDS_IN[name](x + h) - STANDS_IN[name](x - h)) / (2 * h) for x in between]
    _, slope = value_and_slope(name, torch.tensor(between, dtype=torch.float64))
    assert slope.tolist() == pytest.approx(differences, abs=1e-8)


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
@given(x=finite, gradient=st.floats(-1e3, 1e3, width=32))
def test_gradient_is_what_comes_in_times_the_slope(name: str, x: float, gradient: float) -> None:
    _, slope = value_and_slope(name, torch.tensor([x]), torch.tensor([gradient]))
    scale = abs(gradient) * 5.0
    assert slope.item() == pytest.approx(gradient * SLOPES[name](min(abs(x), 100.0)), abs=1e-5 * scale)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipped_lets_exactly_one_pass_and_nothing_above(dtype: torch.dtype) -> None:
    one = torch.ones((), dtype=dtype)
    above = torch.nextafter(one, 2 * one) if dtype.itemsize >= 4 else one + torch.finfo(dtype).eps
    _, slope = value_and_slope("clipped", torch.stack([one, -one, above, -above]))
    assert slope.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_clipped_equals_identity_on_weights_of_one() -> None:
    weights = torch.tensor([1.0, -1.0, -1.0])
    assert torch.equal(value_and_slope("clipped", weights)[1], value_and_slope("identity", weights)[1])


@pytest.mark.parametrize("name", PSEUDO_GRADIENTS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_gradient_keep_the_dtype(name: str, dtype: torch.dtype) -> None:
    x = torch.tensor([[-1e4, -0.5, 0.0], [0.25, 1.0, 1e4]], dtype=dtype)
    value, slope = value_and_slope(name, x)
    assert (value.dtype, slope.dtype) == (dtype, dtype)
    assert (value.shape, slope.shape) == (x.shape, x.shape)
    expected = [SLOPES[name](entry) for entry in x.flatten().tolist()]
    tolerance = 8.0 * torch.finfo(dtype).eps
    assert slope.flatten().tolist() == pytest.approx(expected, rel=tolerance, abs=tolerance)

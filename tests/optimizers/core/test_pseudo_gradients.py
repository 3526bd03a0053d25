"""The sign that is never zero and its slopes, against the functions whose derivatives they are."""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from optimizers.core import (
    BEYOND_ONE,
    PSEUDO_GRADIENTS,
    BadHyper,
    Timed,
    always_signs,
    pseudo_gradient,
    reads_the_sign,
    sign,
    stored_signs,
)
from optimizers.core.pseudo_gradients import DSQ, ede_sharpness, reste_power

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


def sign_swish(x: float) -> float:
    s = 1.0 / (1.0 + math.exp(-5.0 * x))
    return 2.0 * s * (1.0 + 5.0 * x * (1.0 - s)) - 1.0


def reste(x: float, o: float) -> float:
    """ReSTE's root of |x|, a straight line up to 0.1 and flat beyond 1.5."""
    size = min(abs(x), 1.5)
    return math.copysign(size * 0.1 ** (1.0 / o) / 0.1 if size <= 0.1 else size ** (1.0 / o), x)


def reste_slope(x: float, o: float) -> float:
    if abs(x) <= 0.1:
        return 10.0 * 10.0 ** (-1.0 / o)
    return 1.0 / (o * abs(x) ** (1.0 - 1.0 / o)) if abs(x) <= 1.5 else 0.0


def sech_squared(x: float) -> float:
    return (2.0 / (math.exp(x) + math.exp(-x))) ** 2 if abs(x) < 300.0 else 0.0


class Case(NamedTuple):
    """A pseudo-gradient at one time of training, with the formulas of its paper."""

    name: str
    slope: Callable[[float], float]
    stands_in: Callable[[float], float]  # the function whose derivative replaces that of the sign
    progress: float = 0.0
    steepest: float = 5.0  # an upper bound of the slope


def ede_case(progress: float, t: float, k: float, name: str = "ede") -> Case:
    return Case(
        name,
        lambda x: k * t * sech_squared(t * x),
        lambda x: k * math.tanh(t * x),
        progress,
        steepest=10.0,
    )


def reste_case(progress: float, o: float) -> Case:
    return Case("reste", lambda x: reste_slope(x, o), lambda x: reste(x, o), progress)


def clip(x: float) -> float:
    return max(-1.0, min(1.0, x))


K = math.atanh(0.8)  # DSQ's sharpness at a = 0.2: tanh(k) / (1 - a) is 1 at the border
CASES = {
    "identity": Case("identity", lambda x: 1.0, lambda x: x),
    "clipped": Case("clipped", lambda x: 1.0 if -1.0 <= x <= 1.0 else 0.0, clip),
    "approx_sign": Case(
        "approx_sign",
        lambda x: 2.0 - 2.0 * abs(x) if -1.0 <= x <= 1.0 else 0.0,
        lambda x: math.copysign(min(2.0 * abs(x) - x * x, 1.0) if abs(x) < 1.0 else 1.0, x),
    ),
    "swish_sign": Case("swish_sign", swish_slope, sign_swish),
    "ede, start": ede_case(0.0, t=0.001, k=1000.0),
    "ede, half": ede_case(0.5, t=0.1, k=10.0),
    "ede, three quarters": ede_case(0.75, t=1.0, k=1.0),
    "ede, end": ede_case(1.0, t=10.0, k=1.0),
    "ede_0.1, start": ede_case(0.0, t=0.1, k=10.0, name="ede_0.1"),
    "ede_0.1, half": ede_case(0.5, t=1.0, k=1.0, name="ede_0.1"),
    "ede_0.1, end": ede_case(1.0, t=10.0, k=1.0, name="ede_0.1"),
    "reste, start": reste_case(0.0, o=1.0),
    "reste, a third": reste_case(1 / 3, o=3.0 - math.sqrt(3.0)),
    "reste, half": reste_case(0.5, o=3.0 - math.sqrt(2.0)),
    "reste, end": reste_case(1.0, o=3.0),
    "dsq": Case(
        "dsq",
        lambda x: K * sech_squared(K * x) / 0.8 if -1.0 < x < 1.0 else 0.0,
        lambda x: math.tanh(K * clip(x)) / 0.8,
    ),
    "stochastic": Case("stochastic", lambda x: 1.0 if -1.0 <= x <= 1.0 else 0.0, clip),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def value_and_slope(case: Case, x: Tensor, gradient: Tensor | None = None) -> tuple[Tensor, Tensor]:
    x = x.clone().requires_grad_()
    binarize = pseudo_gradient(case.name)
    if isinstance(binarize, Timed):
        binarize.progress = case.progress
    if isinstance(binarize, DSQ) and x.dtype == torch.float64:
        binarize.a.data = torch.tensor(0.2, dtype=torch.float64)  # it starts as a float32
    value = binarize(x)
    value.backward(torch.ones_like(x) if gradient is None else gradient)
    assert x.grad is not None
    return value.detach(), x.grad


def test_every_pseudo_gradient_has_its_formula_here() -> None:
    assert set(PSEUDO_GRADIENTS) == {case.name for case in CASES.values()}


def test_the_slopes_that_reach_beyond_one_are_known() -> None:
    assert {case.name for case in CASES.values() if case.slope(1.2) != 0.0} == BEYOND_ONE


def test_an_unknown_pseudo_gradient_is_named_with_the_choices() -> None:
    with pytest.raises(BadHyper, match=r"pseudo_gradient must be one of .*'clipped'.*, not 'relu'"):
        pseudo_gradient("relu")


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
    x, grid = sign(torch.tensor([0.3, -0.0, -7.0])), torch.tensor(GRID)
    for read in (sign, stored_signs):
        assert reads_the_sign(read)
        assert always_signs(read)
        assert torch.equal(read(x), x)
    for name in PSEUDO_GRADIENTS:
        read = pseudo_gradient(name)
        assert always_signs(read), name
        assert read(grid).abs().tolist() == [1.0] * len(GRID)
        if reads_the_sign(read):
            assert torch.equal(read(grid), sign(grid)), name
    assert not reads_the_sign(pseudo_gradient("stochastic"))
    assert not always_signs(torch.tanh)


def test_binarizations_that_change_learn_or_draw_are_new_objects_in_every_place() -> None:
    for name in PSEUDO_GRADIENTS:
        one, other = pseudo_gradient(name), pseudo_gradient(name)
        assert (one is other) == (not isinstance(one, torch.nn.Module)), name


@given(st.lists(finite, min_size=1, max_size=20))
def test_sign_is_minus_one_exactly_below_zero(values: list[float]) -> None:
    x = torch.tensor(values)
    assert sign(x).tolist() == [-1.0 if value < 0.0 else 1.0 for value in values]
    assert torch.equal(x, torch.tensor(values))  # its argument does not change


@every_case
def test_value_and_slope_on_a_grid(case: Case) -> None:
    value, slope = value_and_slope(case, torch.tensor(GRID, dtype=torch.float64))
    if case.name != "stochastic":
        assert value.tolist() == [-1.0 if x < 0.0 else 1.0 for x in GRID]
    assert slope.tolist() == pytest.approx([case.slope(x) for x in GRID], rel=1e-12, abs=1e-14)


@every_case
def test_slope_is_the_derivative_of_the_replacement_function(case: Case) -> None:
    between = [x / 16 + 1e-3 for x in range(-40, 40)]  # off the kinks
    h = 1e-6
    differences = [(case.stands_in(x + h) - case.stands_in(x - h)) / (2 * h) for x in between]
    _, slope = value_and_slope(case, torch.tensor(between, dtype=torch.float64))
    assert slope.tolist() == pytest.approx(differences, abs=1e-8)


@every_case
@given(x=finite, gradient=st.floats(-1e3, 1e3, width=32))
def test_gradient_is_the_incoming_gradient_times_the_slope(case: Case, x: float, gradient: float) -> None:
    assume(abs(x) != torch.tensor(0.1).item())  # a little above 0.1, where the slope of ReSTE jumps
    _, slope = value_and_slope(case, torch.tensor([x]), torch.tensor([gradient]))
    scale = abs(gradient) * case.steepest
    assert slope.item() == pytest.approx(gradient * case.slope(x), abs=1e-5 * scale + 1e-40)


@pytest.mark.parametrize("dtype", DTYPES)
def test_clipped_includes_exactly_one_and_nothing_above(dtype: torch.dtype) -> None:
    one = torch.ones((), dtype=dtype)
    above = torch.nextafter(one, 2 * one) if dtype.itemsize >= 4 else one + torch.finfo(dtype).eps
    _, slope = value_and_slope(CASES["clipped"], torch.stack([one, -one, above, -above]))
    assert slope.tolist() == [1.0, 1.0, 0.0, 0.0]


def test_clipped_equals_identity_on_weights_of_one() -> None:
    weights = torch.tensor([1.0, -1.0, -1.0])
    assert torch.equal(
        value_and_slope(CASES["clipped"], weights)[1], value_and_slope(CASES["identity"], weights)[1]
    )


@every_case
@pytest.mark.parametrize("dtype", DTYPES)
def test_value_and_gradient_keep_the_dtype(case: Case, dtype: torch.dtype) -> None:
    x = torch.tensor([[-1e4, -0.5, 0.0], [0.25, 1.0, 1e4]], dtype=dtype)
    value, slope = value_and_slope(case, x)
    assert (value.dtype, slope.dtype) == (dtype, dtype)
    assert (value.shape, slope.shape) == (x.shape, x.shape)
    expected = [case.slope(entry) for entry in x.flatten().tolist()]
    tolerance = 2.0 * case.steepest * torch.finfo(dtype).eps
    assert slope.flatten().tolist() == pytest.approx(expected, rel=tolerance, abs=tolerance)


# --- pseudo-gradients that change during training ---


def test_the_sharpness_of_ede_grows_by_the_same_factor_in_every_step() -> None:
    t = [ede_sharpness(step / 8) for step in range(9)]
    assert t[0] == pytest.approx(1e-3, rel=1e-12)
    assert t[-1] == pytest.approx(10.0, rel=1e-12)
    assert [b / a for a, b in itertools.pairwise(t)] == pytest.approx([10.0**0.5] * 8, rel=1e-12)


def test_the_power_of_reste_grows_slowly_at_first() -> None:
    o = [reste_power(step / 8) for step in range(9)]
    assert (o[0], o[-1]) == (1.0, pytest.approx(3.0, rel=1e-12))
    growth = [b - a for a, b in itertools.pairwise(o)]
    assert growth == sorted(growth)


def test_ede_starts_as_the_identity_and_ends_as_a_spike() -> None:
    x = torch.linspace(-2.5, 2.5, 101)
    assert value_and_slope(CASES["ede, start"], x)[1].tolist() == pytest.approx([1.0] * 101, abs=1e-5)
    end = value_and_slope(CASES["ede, end"], x)[1]
    assert end.max().item() == pytest.approx(10.0, abs=1e-6)
    assert bool((end[x.abs() > 1.0] < 1e-6).all())


def test_reste_starts_as_the_identity_within_one_and_a_half_exactly() -> None:
    x = torch.tensor([0.0, -0.0, 0.05, 0.1, -0.1, 0.11, 1.0, 1.5, -1.5, 1.5000001, -2.0])
    assert value_and_slope(CASES["reste, start"], x)[1].tolist() == [1.0] * 9 + [0.0] * 2


@pytest.mark.parametrize("name", ["ede", "ede_0.1", "reste"])
def test_the_slope_follows_the_progress_of_the_training(name: str) -> None:
    x, binarize = torch.linspace(-1.4, 1.4, 30, requires_grad=True), pseudo_gradient(name)
    assert isinstance(binarize, Timed)
    slopes = []
    for progress in (0.0, 0.9, 0.0):
        binarize.progress = progress
        (slope,) = torch.autograd.grad(binarize(x).sum(), x)
        slopes.append(slope)
    assert torch.equal(slopes[0], slopes[2])
    assert not torch.allclose(slopes[0], slopes[1], atol=0.1)


# --- dsq, which learns ---


def soft_quantization(x: float, a: float) -> float:
    k = 0.5 * math.log(2.0 / a - 1.0)
    return math.tanh(k * clip(x)) / (1.0 - a)


@pytest.mark.parametrize("a", [0.01, 0.2, 0.45])
def test_dsq_learns_by_the_derivatives_of_its_curve(a: float) -> None:
    random = torch.Generator().manual_seed(0)
    x = (2.0 * torch.rand(200, generator=random, dtype=torch.float64) - 1.0) * 1.5
    gradient = torch.randn(200, generator=random, dtype=torch.float64)
    binarize, h = DSQ().double(), 1e-6
    binarize.a.data.fill_(a)
    x.requires_grad_()
    binarize(x).backward(gradient)
    assert x.grad is not None
    assert binarize.a.grad is not None
    to_x, to_a = [], 0.0
    for value, g in zip(x.tolist(), gradient.tolist(), strict=True):
        to_x.append(g * (soft_quantization(value + h, a) - soft_quantization(value - h, a)) / (2 * h))
        to_a += g * (soft_quantization(value, a + h) - soft_quantization(value, a - h)) / (2 * h)
    assert x.grad.tolist() == pytest.approx(to_x, abs=1e-8)
    assert binarize.a.grad.item() == pytest.approx(to_a, rel=1e-6)


def test_the_curve_of_dsq_ends_in_minus_one_and_one_and_is_nearly_the_sign_for_a_small_a() -> None:
    for a in (0.001, 0.2, 0.5):
        assert soft_quantization(1.0, a) == pytest.approx(1.0, rel=1e-12)
        assert soft_quantization(-3.0, a) == pytest.approx(-1.0, rel=1e-12)
    assert soft_quantization(0.5, 0.001) > 0.95


@pytest.mark.parametrize(("outside", "border"), [(0.7, 0.5), (-0.3, 0.001), (1.0, 0.5)])
def test_the_parameter_of_dsq_stays_in_its_range_and_can_return_from_its_ends(
    outside: float, border: float
) -> None:
    binarize = DSQ()
    binarize.a.data.fill_(outside)
    binarize(torch.linspace(-1.0, 0.4, 10)).sum().backward()
    assert binarize.a.item() == pytest.approx(border)
    assert binarize.a.grad is not None
    assert binarize.a.grad.item() != 0.0


# --- stochastic, which draws ---


@pytest.mark.parametrize("x", [-0.9, -0.5, -0.01, 0.0, 0.3, 0.75, 0.99])
def test_the_stochastic_sign_has_the_mean_and_the_variance_of_its_distribution(x: float) -> None:
    torch.manual_seed(0)
    count = 100_000
    drawn = pseudo_gradient("stochastic")(torch.full((count,), x, dtype=torch.float64))
    ups = int((drawn > 0.0).sum())
    probability = (1.0 + x) / 2.0
    error = math.sqrt(count * probability * (1.0 - probability))
    assert abs(ups - count * probability) < 4.0 * error
    assert drawn.var().item() == pytest.approx(1.0 - x * x, abs=4.0 * 4.0 * error / count)


def test_the_stochastic_sign_draws_every_entry_by_itself() -> None:
    torch.manual_seed(0)
    drawn = pseudo_gradient("stochastic")(torch.zeros(2, 100_000))
    assert abs((drawn[0] * drawn[1]).mean().item()) < 4.0 / math.sqrt(100_000)


@pytest.mark.parametrize("uniform", [0.0, 1.0 - 2.0**-24])
def test_the_stochastic_sign_is_certain_from_one_on(uniform: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "rand_like", lambda x: torch.full_like(x, uniform))
    x = torch.tensor([-1e30, -7.0, -1.0, 1.0, 2.0, 1e30])
    assert pseudo_gradient("stochastic")(x).tolist() == [-1.0] * 3 + [1.0] * 3


def test_the_same_seed_draws_the_same_and_the_next_draw_another() -> None:
    x, binarize, drawn = torch.zeros(200), pseudo_gradient("stochastic"), []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn += [binarize(x), binarize(x)]
    assert torch.equal(drawn[0], drawn[2])
    assert torch.equal(drawn[1], drawn[3])
    assert not torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[4])


def test_evaluation_takes_the_sign_and_draws_nothing() -> None:
    binarize = pseudo_gradient("stochastic")
    assert isinstance(binarize, torch.nn.Module)
    binarize.eval()
    state = torch.get_rng_state()
    x = torch.tensor(GRID)
    assert torch.equal(binarize(x), sign(x))
    assert torch.equal(torch.get_rng_state(), state)

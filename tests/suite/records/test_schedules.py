"""Schedules against closed forms, and their way into an optimizer's groups."""

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizers.core import BadHyper
from suite.experiment.build import apply_schedules
from suite.records.schedules import (
    Linear,
    ScheduleError,
    Step,
    as_json,
    parse_decay,
    parse_schedule,
    start_of,
    value_at,
)


def value(written: Any, progress: float) -> Any:
    """The value of a hyperparameter as an experiment writes it."""
    return value_at(parse_schedule(written) if isinstance(written, dict) else written, progress)


STEP = {"step": {"start": 8.0, "factor": 0.5, "at": [0.25, 0.5]}}


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ({"linear": [4.0, 1.0]}, {0.0: 4.0, 0.5: 2.5, 1.0: 1.0, 0.25: 3.25}),
        ({"cosine": [4.0, 1.0]}, {0.0: 4.0, 0.5: 2.5, 1.0: 1.0, 1 / 3: 1.0 + 3.0 * 0.75}),
        ({"exponential": [4.0, 1.0]}, {0.0: 4.0, 0.5: 2.0, 1.0: 1.0, 0.25: 4.0 / math.sqrt(2)}),
        (STEP, {0.0: 8.0, 0.2499: 8.0, 0.25: 4.0, 0.4999: 4.0, 0.5: 2.0, 1.0: 2.0}),
        ({"linear": [1.0, 3.0]}, {0.0: 1.0, 0.5: 2.0, 1.0: 3.0}),
        (0.3, {0.0: 0.3, 1.0: 0.3}),
        (
            {"restart": {"of": {"linear": [4.0, 0.0]}, "at": [0.5, 0.75]}},
            {0.0: 4.0, 0.25: 2.0, 0.4999999: 8e-7, 0.5: 4.0, 0.625: 2.0, 0.75: 4.0, 0.875: 2.0, 1.0: 0.0},
        ),
        (
            {"restart": {"of": STEP, "at": [0.5]}},
            {0.0: 8.0, 0.1249: 8.0, 0.125: 4.0, 0.25: 2.0, 0.5: 8.0, 0.625: 4.0, 0.75: 2.0},
        ),
    ],
)
def test_closed_forms(schedule: Any, expected: dict[float, Any]):
    found = {progress: value(schedule, progress) for progress in expected}
    assert found == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("value", ["clipped", None, False, 0.1])
def test_what_is_no_schedule_stays_as_it_is(value: Any):
    assert value_at(value, 0.5) is value


numbers = st.floats(1e-6, 1e3)
progresses = st.floats(0.0, 1.0)


@settings(deadline=None, database=None)
@given(st.sampled_from(["linear", "cosine", "exponential"]), numbers, numbers, progresses, progresses)
def test_between_its_ends_a_schedule_is_monotonic(
    shape: str, start: float, end: float, one: float, other: float
):
    first, last = sorted((one, other))
    before, after = (value({shape: [start, end]}, progress) for progress in (first, last))
    slack = 1e-9 * max(start, end)  # rounding
    assert before <= after + slack if start <= end else before >= after - slack
    assert min(start, end) - slack <= before <= max(start, end) + slack


def test_a_constant_ratio_per_step():
    values = [value({"exponential": [1e-3, 3e-7]}, step / 10) for step in range(11)]
    ratios = [after / before for before, after in pairwise(values)]
    assert ratios == pytest.approx([(3e-7 / 1e-3) ** 0.1] * 10)


def test_an_unknown_shape_names_those_there_are():
    with pytest.raises(
        ScheduleError, match=r"no schedule 'sine'.*linear.*cosine.*exponential.*step"
    ) as error:
        parse_schedule({"sine": [1.0, 0.0]})
    assert error.value.at == ("sine",)


@pytest.mark.parametrize(
    ("decay", "schedule"),
    [
        ({"linear": 0.01}, {"linear": [0.2, 0.002]}),
        ({"cosine": 0.0}, {"cosine": [0.2, 0.0]}),
        ({"exponential": 0.5}, {"exponential": [0.2, 0.1]}),
        ({"step": {"factor": 0.1, "at": [0.5]}}, {"step": {"start": 0.2, "factor": 0.1, "at": [0.5]}}),
        (
            {"restart": {"of": {"linear": 0.0}, "at": [0.5]}},
            {"restart": {"of": {"linear": [0.2, 0.0]}, "at": [0.5]}},
        ),
    ],
)
def test_a_decay_starts_at_the_drawn_value(decay: dict[str, Any], schedule: dict[str, Any]):
    found = parse_decay(decay).scaled(0.2)
    assert found.as_json() == schedule and found == parse_schedule(schedule)
    assert found.start == start_of(found) == found.value(0.0) == 0.2


def test_a_whole_number_is_the_same_decay():
    """Also for what is hashed of it."""
    assert repr(parse_decay({"cosine": 0})) == repr(parse_decay({"cosine": 0.0}))


def test_nothing_decays_to_nothing():
    assert parse_decay({"exponential": 0.1}).scaled(0.0).value(0.7) == 0.0


def test_values_go_into_every_group():
    groups = [{"params": [torch.zeros(2, requires_grad=True)], "lr": 9.0} for _ in range(3)]
    optimizer = torch.optim.SGD(groups, lr=9.0)
    apply_schedules(optimizer, {"lr": Linear(1.0, 0.0), "momentum": Step(0.5, 0.1, (0.9,))}, 0.25)
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == [(0.75, 0.5)] * 3


def test_a_scheduled_rate_is_the_rate_of_the_step():
    weight = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    for step in range(4):
        weight.grad = torch.ones(1)
        apply_schedules(optimizer, {"lr": Linear(1.0, 0.0)}, step / 4)
        optimizer.step()
    assert weight.item() == pytest.approx(-(1.0 + 0.75 + 0.5 + 0.25))


def test_a_name_that_the_groups_have_not_is_refused():
    optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=1.0)
    with pytest.raises(BadHyper, match=r"gamma cannot follow a schedule.*'lr'.*'momentum'") as error:
        apply_schedules(optimizer, {"gamma": Linear(1.0, 0.0)}, 0.0)
    assert error.value.name == "gamma" and "params" not in str(error.value)


@pytest.mark.parametrize(
    "written",
    [
        {"linear": [4.0, 1.0]},
        {"cosine": [4.0, 1.0]},
        {"exponential": [4.0, 1.0]},
        STEP,
        {"restart": {"of": STEP, "at": [0.5]}},
    ],
)
def test_a_schedule_is_written_as_it_is_read(written: dict[str, Any]):
    assert as_json(parse_schedule(written)) == written


def test_the_place_of_a_mistake_leads_into_a_restart():
    with pytest.raises(ScheduleError) as error:
        parse_schedule({"restart": {"of": {"restart": {"of": {"linear": [1]}, "at": [0.5]}}, "at": [0.5]}})
    assert error.value.at == ("restart", "of", "restart", "of", "linear")

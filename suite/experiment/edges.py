"""Each method, tried at the edges of its search ranges: a draw that breaks it fails before anything runs."""

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence

import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optimizers import METHODS
from optimizers.core import BadHyper, run_step
from suite.experiment.build import apply_schedules, binary_shapes, rule_at, schedules_of
from suite.experiment.cell import FIRST_SEED, Cell
from suite.experiment.spec import Problem
from suite.machine.errors import described, shown
from suite.records.trial import HyperSetting

INSIDE = 0.382  # of the way from one end to the other: no whole number between whole ends
Draw = dict[str, HyperSetting]


def edge_problems(cells: Sequence[Cell]) -> Iterator[Problem]:
    """The problem of each method that fails at an edge of its ranges, tried with the first of its cells."""
    first = {cell.method_label: cell for cell in reversed(cells)}
    labels = list(dict.fromkeys(cell.method_label for cell in cells))
    for number, label in enumerate(labels):
        cell = first[label]
        shape = min(binary_shapes(cell.trial(cell.published, FIRST_SEED, "final"), cell.sizes), key=math.prod)
        for draw in _edges(cell.space):
            if error := _failure(cell, draw, shape):
                yield Problem(("methods", number), _explained(cell, draw, shape, error))
                break


def _edges(space: Mapping[str, BaseDistribution]) -> Iterator[Draw]:
    """All numbers at one end, at the other, and inside; then each word of each choice."""
    numbers = {name: each for name, each in space.items() if not isinstance(each, CategoricalDistribution)}
    if numbers:
        for part in (0.0, 1.0, INSIDE):
            yield {name: _at(each, part) for name, each in numbers.items()}
    for name, each in space.items():
        if isinstance(each, CategoricalDistribution):
            yield from ({name: value} for value in each.choices)


def _at(range_: BaseDistribution, part: float) -> float | int:
    """The number at this part of a range."""
    if isinstance(range_, IntDistribution):
        return round(range_.low + part * (range_.high - range_.low))
    assert isinstance(range_, FloatDistribution)
    if part in (0.0, 1.0):
        return range_.high if part else range_.low
    if range_.log:
        return range_.low * (range_.high / range_.low) ** part
    return range_.low + part * (range_.high - range_.low)


def _failure(cell: Cell, draw: Draw, shape: Sequence[int]) -> Exception | None:
    """What one step of training raises with these values, the others as published."""
    trial = cell.trial({**cell.published, **draw}, FIRST_SEED, "final")
    try:
        rule = rule_at(trial, 0.0)
        real = torch.linspace(-0.1, 0.1, math.prod(shape)).reshape(*shape)
        weight = rule.start(real).detach().requires_grad_()
        optimizer = rule.optimizer([weight])
        apply_schedules(optimizer, schedules_of(trial), 0.0)
        read = rule.read(weight)
        read.backward(torch.full_like(read, 1e-3))
        run_step(optimizer)
        if rule.deploy is not None:
            rule.deploy(weight.detach())
    except Exception as error:  # a plugin's method is a user's code: it may raise anything
        return error
    return None


def _explained(cell: Cell, draw: Draw, shape: Sequence[int], error: Exception) -> str:
    """The error with the file of the method and the values to blame: one alone, if it fails alone."""
    alone = {name: value for name, value in draw.items() if _failure(cell, {name: value}, shape)}
    to_blame = alone or draw
    values = ", ".join(f"{name} {shown(value)}" for name, value in to_blame.items())
    whole = [
        name
        for name in to_blame
        if isinstance(cell.space[name], FloatDistribution) and float(cell.published[name] or 0.5).is_integer()  # type: ignore[arg-type]
    ]
    hint = f"; a whole number is declared with integer(), as in {whole[0]}=integer(...)" if whole else ""
    text = str(error) if isinstance(error, BadHyper) else described(error)
    file = inspect.getfile(METHODS[cell.method].rule)
    first_line = (text.splitlines() or [""])[0]
    return f"{file}: {cell.method} fails inside its own ranges, at {values}: {first_line}{hint}"

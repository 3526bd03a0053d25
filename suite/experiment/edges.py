"""Each method, tried at the edges of its search ranges: a draw that breaks it fails before anything runs."""

import contextlib
import inspect
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from optimizers import METHODS
from optimizers.core import BadHyper, HyperValue, run_step
from suite.experiment.build import apply_schedules, rule_at, schedules_of
from suite.experiment.cell import Cell
from suite.experiment.spec import Problem
from suite.machine.environment import memory_bytes
from suite.machine.errors import described, shown

COPIES = 4  # of a layer, at least, that its training holds: weights, gradient, and the step's own
INSIDE = 0.382  # of the way from one end to the other: no whole number between whole ends
Draw = dict[str, HyperValue]


def edge_problems(cells: Sequence[Cell]) -> list[Problem]:
    """The problem of each method that fails at an edge of its ranges, tried with the first of its cells."""
    if problems := list(_too_large(cells)):
        return problems
    first = {cell.method_label: cell for cell in reversed(cells)}
    labels = dict.fromkeys(cell.method_label for cell in cells)
    with _one_thread():
        return [
            Problem(("methods", number), text)
            for number, label in enumerate(labels)
            if (text := _problem(first[label]))
        ]


def _too_large(cells: Sequence[Cell]) -> Iterator[Problem]:
    """Models of which this machine cannot hold the smallest layer, so that no method can be tried."""
    memory = memory_bytes()
    for model, cell in {cell.model_label: cell for cell in cells}.items():
        weights = math.prod(_smallest(cell))
        if 4 * COPIES * weights > memory:
            text = f"model {model}: its smallest binary layer has {weights:,} weights, and this machine "
            yield Problem(("tasks",), f"{text}has {memory / 1e9:.0f} GB of memory")


def _smallest(cell: Cell) -> Sequence[int]:
    return min(cell.network.shapes, key=math.prod)


def _problem(cell: Cell) -> str:
    smallest = _smallest(cell)
    for draw in edges(cell.space):
        if error := _failure(cell, draw, smallest):
            return _explained(cell, draw, error, smallest)
    return ""


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Compute in one thread: the layer is small, and to wake another takes longer than the step."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def edges(space: Mapping[str, BaseDistribution]) -> Iterator[Draw]:
    """The method's own numbers: at one end, at the other, inside; then each word of each choice."""
    own = {name: range_ for name, range_ in space.items() if name != "real.lr"}
    words = {name: each.choices for name, each in own.items() if isinstance(each, CategoricalDistribution)}
    numbers = {name: range_ for name, range_ in own.items() if name not in words}
    if numbers:
        for part in (0.0, 1.0, INSIDE):
            yield {name: number_at(range_, part) for name, range_ in numbers.items()}
    for name, choices in words.items():
        yield from ({name: value} for value in choices)


def number_at(range_: BaseDistribution, part: float) -> float | int:
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
    trial = cell.trial({**cell.published, **draw}, cell.first.seed, "final")
    try:
        rule = rule_at(trial, 0.0)
        real = torch.linspace(-0.1, 0.1, math.prod(shape)).reshape(*shape)
        weight = rule.start(real).detach().requires_grad_()
        optimizer = rule.optimizer([weight])
        apply_schedules(optimizer, schedules_of(trial), 0.0)
        (1e-3 * rule.read(weight)).sum().backward()
        run_step(optimizer)
        if rule.deploy is not None:
            rule.deploy(weight.detach())
    except Exception as error:  # a plugin's method is a user's code: it may raise anything
        return error
    return None


def _explained(cell: Cell, draw: Draw, error: Exception, shape: Sequence[int]) -> str:
    """The error with the method's file and the values to blame: those that fail alone, if there are any."""
    alone = {name: value for name, value in draw.items() if _failure(cell, {name: value}, shape)}
    to_blame = alone or draw
    values = ", ".join(f"{name} {shown(value)}" for name, value in to_blame.items())
    text = (str(error) if isinstance(error, BadHyper) else described(error)).splitlines()[0]
    hint = _hint(cell, to_blame) if isinstance(error, TypeError) else ""
    file = inspect.getfile(METHODS[cell.method].rule)
    return f"{file}: {cell.method} fails inside its own ranges, at {values}: {text}{hint}"


def _hint(cell: Cell, to_blame: Iterable[str]) -> str:
    """How to declare a whole number, if one of these has a range of fractions and a whole default."""
    for name in to_blame:
        default, range_ = cell.published[name], cell.space[name]
        if isinstance(range_, FloatDistribution) and default in range(10**6):
            whole = f"integer({default:g}, {range_.low:g}, {range_.high:g})"
            return f"; if {name} is a whole number: {name}={whole}"
    return ""

"""An architecture: a function from image shape, number of classes and a method's rule to a network."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from optimizers.core import BadValue, WeightRule
from suite.machine.random_keys import random_key
from suite.machine.signature import signature_of

Shape = tuple[int, int, int]  # channels, height, width


class BadOption(BadValue):
    """An option of a model has an impossible value."""


@dataclass(frozen=True)
class Model:
    """A registered architecture with its options (name -> default).

    revised: the values of options that gave other networks at first under this protocol; a trial says so.
    """

    name: str
    summary: str
    options: dict[str, Any]
    build: Callable[..., nn.Module]
    revised: Mapping[str, Collection[Any]]

    def __call__(self, shape: Shape, classes: int, rule: WeightRule, seed: int, **options: Any) -> nn.Module:
        """The network; its start is drawn from `seed` alone and leaves the global generator unchanged.

        Raises BadOption if an option has an impossible value, and ValueError if the images are too small.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(random_key(seed, "init"))
            return self.build(shape, classes, rule, **{**self.options, **options})


def model(function: Callable[..., nn.Module]) -> Model:
    """Register `function(shape, classes, rule, *, option=default, ...)` under its name, with dashes.

    The first line of its docstring is the caption in lists and tables. Raises TypeError as `signature_of`.
    """
    return Model(
        *signature_of(function, ("shape", "classes", "rule")), function, getattr(function, "revised", {})
    )


def revised(**options: Collection[Any]) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Under `@model`: with these values of its options the function once built another network."""

    def mark(function: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        function.revised = options  # type: ignore[attr-defined]
        return function

    return mark


def check_size(name: str, shape: Shape, least: int) -> None:
    """Raises ValueError unless the images are at least this high and wide, in pixels."""
    if min(shape[1:]) < least:
        raise ValueError(
            f"images of {shape[1]}x{shape[2]} are too small: {name} needs {least}x{least} or more"
        )


def scaled(width: float, *channels: int) -> list[int]:
    """These numbers of channels times `width`, rounded, at least 1. Raises BadOption unless width > 0."""
    if not width > 0.0:
        raise BadOption("width", f"width must be > 0, not {width}")
    return [max(1, round(width * n)) for n in channels]

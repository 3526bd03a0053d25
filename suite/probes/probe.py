"""A probe: a function that measures something on the trained network of a final run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from optimizers.core import WeightRule
from suite.data import Batch, ImageSet, Splits
from suite.machine.signature import signature_of
from suite.records.schema import DataSizes

STATISTICS = ("kept", "reestimated")  # of batch norm: as training leaves them, and measured again
Found = dict[str, float | str]  # what a probe leaves in the record: finite numbers and texts, by key


class Scored(NamedTuple):
    """Mean loss in nats, and top-1 as a fraction, of a network on some images."""

    loss: float
    top1: float


@dataclass(frozen=True)
class Trained:
    """A network at the end of a final run, and what it takes to measure it.

    network: a new copy of it at each call, so that no probe changes what follows.
    data: the images of the run, those of test included.
    flips: int32 (steps, layers).
    seed: of the run; a probe draws from generators that are keyed by it.
    batches: the training batches of the epoch after the last one, the same at each call.
    score: how a network does on images. It leaves the network in evaluation mode, its tensors as they are.
        AssertionError unless every layer that is `binary` computes with -1 and +1, times a scale.
    reestimate: measures the statistics of its batch norms again, as plain averages over `batches`.
    """

    network: Callable[[], nn.Module]
    data: Splits
    flips: Tensor
    seed: int
    precision: str
    batches: Callable[[], Iterator[Batch]]
    score: Callable[[nn.Module, ImageSet], Scored]
    reestimate: Callable[[nn.Module], None]


@dataclass(frozen=True)
class Probe:
    """A registered probe with its options (name -> default).

    images: how many images it computes at most, from the sizes of the data and its options.
    numbers: the keys of all numbers that it may leave; a claim can test each.
    check: raises BadValue for an impossible option.
    needs_latents: whether it has a meaning only where layers store other numbers than they compute with.
    """

    name: str
    summary: str
    options: Mapping[str, Any]
    measure: Callable[..., Found]
    images: Callable[..., int]
    numbers: Sequence[str]
    check: Callable[..., None]
    needs_latents: bool

    def __call__(self, trained: Trained, **options: Any) -> Found:
        return self.measure(trained, **{**self.options, **options})


def probe(
    *,
    images: Callable[..., int],
    numbers: Sequence[str],
    check: Callable[..., None] = lambda **options: None,
    needs_latents: bool = False,
) -> Callable[[Callable[..., Found]], Probe]:
    """Register `function(trained, *, option=default, ...)` as a probe under its name, with dashes.

    The first line of its docstring is the caption in lists. The other arguments are those of Probe.
    """

    def register(function: Callable[..., Found]) -> Probe:
        name, summary, options = signature_of(function, ["trained"])
        return Probe(name, summary, options, function, images, numbers, check, needs_latents)

    return register


def has_latents(rule: WeightRule) -> bool:
    """Whether layers store other numbers than they compute with: measured, not declared."""
    stored = rule.start(torch.linspace(-1.0, 1.0, 8).reshape(2, 4))
    return not torch.equal((rule.deploy or rule.read)(stored), stored)


def scored_images(sizes: DataSizes) -> int:
    """The images of one validation and one test."""
    return sizes.val + sizes.test

"""The one interface: a method is a torch optimizer plus a way to read its tensors.

Every binary layer stores one real tensor. A method decides three things about it and nothing else: how it
starts, how the forward pass reads a weight from it, and which optimizer updates it.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from optimizers.core.hyper import Hyper, HyperValue


@dataclass(frozen=True)
class WeightRule:
    """How a method treats the stored tensors of the binary layers.

    start: the freshly initialised real tensor (Glorot uniform) -> the tensor that the layer stores.
    read: the stored tensor -> the weight of the forward pass in training; its autograd is the
        pseudo-gradient. It may draw from torch's global generator: the training loop seeds it in every step.
    optimizer: the stored tensors -> their torch optimizer. Hyperparameters that may follow a schedule are
        entries of its parameter groups. The training loop sets an entry `progress` or `epoch` in every step.
    deploy: the stored tensor -> the weight in evaluation and in the flip counter: -1 or +1, times at most
        one positive scale for each output. None: the same as `read`.
    binary: False only for a control that does not binarize at all.
    """

    start: Callable[[Tensor], Tensor]
    read: Callable[[Tensor], Tensor]
    optimizer: Callable[[Iterable[Tensor]], Optimizer]
    deploy: Callable[[Tensor], Tensor] | None = None
    binary: bool = True


class Timed(nn.Module):
    """A module whose function changes during training.

    The training loop sets `progress` before every step: 0 at the first, just below 1 at the last.
    """

    progress: float = 0.0


@dataclass(frozen=True)
class Method:
    """A registered method: its paper, its hyperparameters, and the function from values to a WeightRule."""

    name: str
    paper: str
    summary: str
    hypers: Mapping[str, Hyper]
    rule: Callable[..., WeightRule]
    control: bool = False  # a floor or a ceiling to compare the methods with, no competitor
    presets: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # published settings, by name

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9_+-]{1,60}", self.name):  # a part of file names
            raise ValueError(
                f"the method {self.name!r} needs a name of letters, digits, '_', '+' and '-', up to 60"
            )

    @property
    def family(self) -> str | None:
        """What the method's file calls its FAMILY: reports group and colour by it. None without a text."""
        found = self.rule.__globals__.get("FAMILY")
        return found if isinstance(found, str) else None

    @property
    def defaults(self) -> dict[str, HyperValue]:
        """The published setting, with all optional hyperparameters off."""
        return {name: hyper.unless_set for name, hyper in self.hypers.items()}

    def __call__(self, **overrides: HyperValue) -> WeightRule:
        """The rule at the defaults, changed by `overrides`.

        Raises TypeError for an unknown name and BadHyper for an impossible value.
        """
        unknown = [name for name in overrides if name not in self.hypers]
        if unknown:
            raise TypeError(f"{self.name} has no hyperparameter {unknown}; it has {list(self.hypers)}")
        return self.rule(**{**self.defaults, **overrides})


def method(
    paper: str,
    *,
    control: bool = False,
    presets: Mapping[str, Mapping[str, Any]] | None = None,
    **hypers: Hyper,
) -> Callable[[Callable[..., WeightRule]], Method]:
    """Register a function from hyperparameters to a WeightRule as a method.

    The function's name, with dashes, is the method's name; the first line of its docstring is the caption in
    every table. `hypers` gives each of its parameters a default and a range; hyperparameters that a family
    shares may arrive in a **parameter. The function raises BadHyper for an impossible value (see
    optimizers.core.checks). `presets` are settings of a paper or of released code: values and schedules.
    """

    def register(rule: Callable[..., WeightRule]) -> Method:
        parameters = inspect.signature(rule).parameters.values()
        named = [p.name for p in parameters if p.kind is not p.VAR_KEYWORD]
        takes_more = len(named) < len(parameters)
        if named != list(hypers)[: len(named)] or (len(hypers) > len(named) and not takes_more):
            raise TypeError(f"{rule.__name__} takes {named}, but @method describes {list(hypers)}")
        summary = (inspect.getdoc(rule) or "").split("\n", 1)[0]
        if not summary:
            raise TypeError(
                f"{rule.__name__} needs a docstring: its first line is the caption in every table"
            )
        name = rule.__name__.replace("_", "-")
        for preset, values in (presets or {}).items():
            if unknown := [hyper for hyper in values if hyper not in hypers]:
                raise TypeError(f"{name}: the preset {preset!r} sets {unknown}; there are {list(hypers)}")
        return Method(name, paper, summary, hypers, rule, control, presets or {})

    return register

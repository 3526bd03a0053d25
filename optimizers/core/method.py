"""The one interface: a method is a torch optimizer plus a way to read its tensors.

Every binary layer stores one real tensor. A method decides three things about it and nothing else: how it
starts, how the forward pass reads -1/+1 from it, and which optimizer moves it.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from torch import Tensor
from torch.optim import Optimizer

from optimizers.core.hyper import Hyper, HyperValue


@dataclass(frozen=True)
class WeightRule:
    """What one method does with the tensors of the binary layers.

    start: the freshly initialised real tensor (Glorot uniform) -> the tensor that the layer stores.
    read: the stored tensor -> the weight of the forward pass, -1 or +1 in evaluation; its autograd is the
        pseudo-gradient. A torch Module if it must know training from evaluation.
    optimizer: the stored tensors -> their torch optimizer. Hyperparameters that may follow a schedule are
        entries of its parameter groups.
    """

    start: Callable[[Tensor], Tensor]
    read: Callable[[Tensor], Tensor]
    optimizer: Callable[[Iterable[Tensor]], Optimizer]


@dataclass(frozen=True)
class Method:
    """A registered method: its paper, its hyperparameters, and the function from values to a WeightRule."""

    name: str
    paper: str
    summary: str
    hypers: Mapping[str, Hyper]
    rule: Callable[..., WeightRule]

    @property
    def defaults(self) -> dict[str, HyperValue]:
        """The published setting."""
        return {name: hyper.default for name, hyper in self.hypers.items()}

    def __call__(self, **overrides: HyperValue) -> WeightRule:
        """The rule at the defaults, changed by `overrides`; TypeError for a name that the method has not."""
        unknown = [name for name in overrides if name not in self.hypers]
        if unknown:
            raise TypeError(f"{self.name} has no hyperparameter {unknown}; it has {list(self.hypers)}")
        return self.rule(**{**self.defaults, **overrides})


def method(paper: str, **hypers: Hyper) -> Callable[[Callable[..., WeightRule]], Method]:
    """Register a function from hyperparameters to a WeightRule as a method.

    The function's name, with dashes, is the method's name; the first line of its docstring is the caption in
    every table. `hypers` gives each of its parameters a default and a range.
    """

    def register(rule: Callable[..., WeightRule]) -> Method:
        parameters = list(inspect.signature(rule).parameters)
        if parameters != list(hypers):
            raise TypeError(f"{rule.__name__} takes {parameters}, but @method describes {list(hypers)}")
        summary = (inspect.getdoc(rule) or "").split("\n", 1)[0]
        if not summary:
            raise TypeError(
                f"{rule.__name__} needs a docstring: its first line is the caption in every table"
            )
        return Method(rule.__name__.replace("_", "-"), paper, summary, hypers, rule)

    return register

"""An optimizer made from a pure update rule: it keeps the state of the rule and applies it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

BLOCK = 1 << 16  # elements: tensors of this size stay in a core's cache between the passes of a rule


def scalar_zero(weight: Tensor) -> Tensor:
    """The initial state zero, one number for the whole tensor."""
    return weight.new_zeros(())


class Flipper(Optimizer):
    """Applies `update` to every tensor that has a gradient.

    Args:
        params: the stored tensors of the binary layers.
        update: (weight, *state, gradient, **hypers) -> (weight, *state), a pure function over tensors.
        state: the tensors kept for each stored tensor, in the order in which `update` takes them: name ->
            function from the stored tensor before its first step to the initial state, which may be scalar.
        elementwise: whether `update` treats every weight by itself and draws no random numbers. Then it
            gets large tensors in blocks that fit into a CPU's cache; the result has the same bits.
        hypers: entries of the parameter groups, passed to `update` by name in every step.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        update: Callable[..., tuple[Tensor, ...]],
        state: Mapping[str, Callable[[Tensor], Tensor]],
        *,
        elementwise: bool = True,
        **hypers: Any,
    ) -> None:
        self.update, self.starts, self.elementwise = update, state, elementwise
        self.names = tuple(hypers)
        super().__init__(params, hypers)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step of the rule. A tensor without a gradient does not change."""
        assert closure is None
        for group in self.param_groups:
            hypers = {name: group[name] for name in self.names}
            for weight in group["params"]:
                if weight.grad is not None:
                    kept = (weight, *self._state(weight))
                    for *tensors, gradient in self._blocks(*kept, weight.grad):
                        for old, new in zip(tensors, self.update(*tensors, gradient, **hypers), strict=True):
                            old.copy_(new)

    def _state(self, weight: Tensor) -> list[Tensor]:
        state = self.state[weight]
        if not state:
            state.update({name: start(weight.detach()) for name, start in self.starts.items()})
        return [state[name] for name in self.starts]

    def _blocks(self, *tensors: Tensor) -> Iterable[tuple[Tensor, ...]]:
        """The same rows of each tensor; on a CPU in blocks that fit into its cache."""
        weight = tensors[0]
        whole = not self.elementwise or any(tensor.dim() == 0 for tensor in tensors)
        if whole or weight.numel() <= BLOCK or weight.device.type != "cpu":
            return [tensors]
        rows = max(1, BLOCK * len(weight) // weight.numel())
        return zip(*(tensor.split(rows) for tensor in tensors), strict=True)

"""The optimizer of all real parameters: torch's Adam, bit for bit, in less time for a few small tensors."""

# pyright: reportPrivateImportUsage=false
# Torch's functions over lists of tensors have an underscore in their names.

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Adam


class RealAdam(Adam):
    """torch.optim.Adam with `foreach=True` and neither weight decay nor another of its options.

    The same operations in the same order on the same state, without the choices that torch's own step makes
    before them. A small network trains only the few short vectors of its batch norms: there they count.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, eps: float) -> None:
        # A group may be empty, a list may not: without batch norm a network may have no real parameter.
        super().__init__([{"params": list(params)}], lr=lr, eps=eps, foreach=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """One step (Kingma and Ba 2015, Algorithm 1). A tensor without a gradient does not change."""
        assert closure is None
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            if params:
                beta1, beta2 = group["betas"]
                self._move(params, group["lr"], beta1, beta2, group["eps"])

    def _move(self, params: list[Tensor], lr: float, beta1: float, beta2: float, eps: float) -> None:
        gradients: list[Any] = [param.grad for param in params]
        states = [self._state_of(param) for param in params]
        averages, squares = ([state[name] for state in states] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_add_([state["step"] for state in states], 1)
        counts = [state["step"].item() for state in states]

        torch._foreach_lerp_(averages, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        divisors = torch._foreach_sqrt(squares)
        torch._foreach_div_(divisors, [(1 - beta2**count) ** 0.5 for count in counts])
        torch._foreach_add_(divisors, eps)
        torch._foreach_addcdiv_(params, averages, divisors, [-(lr / (1 - beta1**count)) for count in counts])

    def _state_of(self, param: Tensor) -> dict[str, Any]:
        """As torch's Adam keeps it, so that a checkpoint of either resumes with the other."""
        state = self.state[param]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32)
            for name in ("exp_avg", "exp_avg_sq"):
                state[name] = torch.zeros_like(param, memory_format=torch.preserve_format)
        return state

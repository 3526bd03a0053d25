"""Bop, the binary optimizer: no latent weights (Helwegen et al., NeurIPS 2019)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from optimizers.core import WeightRule, log, method, sign


def bop_update(
    weight: Tensor, average: Tensor, gradient: Tensor, gamma: float, threshold: float
) -> tuple[Tensor, Tensor]:
    """One step of Algorithm 2 for one tensor: the new weight in {-1, +1} and the new average.

    The average is of gradients, not of updates: w = +1 with m > 0 means that the loss falls as w falls, so
    the weight flips when w·m exceeds the threshold. The comparison is strict, as in Algorithm 2 and the
    released code (Eq. 6 of the same paper has >=); at equality, for example a dead gradient at threshold 0,
    the weight stays.
    """
    average = torch.lerp(average, gradient, gamma)  # Eq. 5; starts at zero, no bias correction
    return torch.where(weight * average > threshold, -weight, weight), average


class Bop(torch.optim.Optimizer):
    """Flips weights of -1/+1 in place when the moving average of their gradient argues against them.

    Args:
        params: tensors that hold only -1 and +1.
        gamma: adaptivity rate of the average, in (0, 1].
        threshold: how strong the average must be, >= 0, in units of the gradient of the mean loss: a sum
            instead of a mean, loss scaling or gradient clipping all change its meaning.

    State: one float per weight, `average`.

    References: K. Helwegen et al., Latent Weights Do Not Exist, Algorithm 2, https://arxiv.org/abs/1906.02107
    """

    def __init__(self, params: Iterable[Tensor], gamma: float = 1e-4, threshold: float = 1e-8) -> None:
        if not 0.0 < gamma <= 1.0:
            raise ValueError(f"gamma must lie in (0, 1], not {gamma}")
        if not threshold >= 0.0:
            raise ValueError(f"threshold must be >= 0, not {threshold}")
        super().__init__(params, dict(gamma=gamma, threshold=threshold))
        for weight in self._weights():
            if not bool((weight.detach().abs() == 1).all()):
                raise ValueError("Bop needs weights of -1 and +1: start from sign(initial weights)")

    def _weights(self) -> list[Tensor]:
        return [weight for group in self.param_groups for weight in group["params"]]

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        """Update the averages, then flip. A weight without a gradient is left alone."""
        assert closure is None
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            gradients = [weight.grad for weight in weights]
            averages = [self._average(weight) for weight in weights]
            torch._foreach_lerp_(averages, gradients, group["gamma"])  # type: ignore[reportPrivateImportUsage]
            for weight, average in zip(weights, averages, strict=True):
                # w·m > threshold without a mask: the slack is negative exactly where the weight flips.
                slack = group["threshold"] - weight * average
                weight.mul_(sign(slack))

    def _average(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["average"] = torch.zeros_like(weight)
        return state["average"]


@method(
    paper="Helwegen et al., Latent Weights Do Not Exist, NeurIPS 2019, https://arxiv.org/abs/1906.02107",
    gamma=log(1e-4, 1e-6, 1e-1),
    threshold=log(1e-8, 1e-10, 1e-4),
)
def bop(gamma: float, threshold: float) -> WeightRule:
    """Flip a weight when a moving average of its gradient argues against it strongly enough."""
    return WeightRule(start=sign, read=_as_it_is, optimizer=lambda params: Bop(params, gamma, threshold))


def _as_it_is(weight: Tensor) -> Tensor:
    return weight
